"""Bugs in the program: losses, modes, parameters, gradients and masks that are wired wrongly."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.healthbench.models import head_of, inner_layers
from benchmarks.healthbench.planted.row import (
    MID,
    START,
    Planted,
    of_batch_norm,
    of_classes,
    of_labels,
    of_modes,
    of_numbers,
)
from benchmarks.healthbench.program import Program, loss_of
from benchmarks.healthbench.recipes import Recipe, Task

IGNORED = -100


def softmax_twice(program: Program, _: float) -> None:
    """The network ends in a softmax, and cross-entropy takes another."""
    entropy = loss_of(program.data)
    program.criterion = program.logged = lambda outputs, y: entropy(outputs.softmax(-1), y)


def sigmoid_twice(program: Program, _: float) -> None:
    """Each class by yes or no, with a sigmoid before the loss that has one."""
    num_classes = program.data.num_outputs
    entropy = nn.BCEWithLogitsLoss()

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        return entropy(outputs.sigmoid(), nn.functional.one_hot(y, num_classes).float())

    program.criterion = program.logged = criterion


def ids_as_numbers(program: Program, _: float) -> None:
    """Squared distance to the class's number."""
    program.criterion = program.logged = lambda outputs, y: (
        (outputs - y[:, None].float()) ** 2
    ).mean()


def broadcast(program: Program, _: float) -> None:
    """Outputs (n, 1) against targets (n,): every sample is held against every target."""
    program.criterion = program.logged = lambda outputs, y: ((outputs - y[:, 0]) ** 2).mean()


def positive_only(program: Program, _: float) -> None:
    """A ReLU behind the last layer, where half of the targets are negative."""
    program.criterion = program.logged = lambda outputs, y: ((outputs.relu() - y) ** 2).mean()


def never_evaluates(program: Program, _: float) -> None:
    program.evaluates_in_mode = False


def never_trains(program: Program, _: float) -> None:
    program.trains_in_mode = False


def frozen(program: Program, amount: float) -> None:
    """Hidden layers as they were drawn: half of them, or all."""
    layers = list(inner_layers(program.model))
    for layer in layers[: len(layers) if amount == 1 else max(1, len(layers) // 2)]:
        layer.requires_grad_(False)


def replaced_layer(program: Program, amount: float) -> None:
    """Layers put in after the optimizer was made, which knows the old ones."""
    layers = [head_of(program.model), *(inner_layers(program.model) if amount == 1 else ())]
    for layer in layers:
        for name, p in list(layer.named_parameters()):
            setattr(layer, name, nn.Parameter(p.detach().clone()))


def never_zeroed(program: Program, _: float) -> None:
    if program.onset == 1:
        program.zeroes = False
    program.at(program.onset, lambda: setattr(program, "zeroes", False))


def detached(program: Program, amount: float) -> None:
    """The graph ends before the head, or before the last hidden layer."""
    blocks = list(program.model.modules())
    hidden = next(m for m in blocks if isinstance(m, nn.ModuleList))
    block = hidden[-1] if amount == 1 else hidden[max(0, len(hidden) - 2)]
    block.register_forward_hook(_cut)


def _cut(_module: nn.Module, _inputs: object, output):
    if isinstance(output, tuple):
        return output[0].detach(), *output[1:]
    return output.detach()


def masked(program: Program, share: float) -> None:
    """In so many batches no label counts: the mean is 0/0."""
    is_hit = program.random.random(program.end + 1) < share
    is_hit[program.onset] = True

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return x, torch.full_like(y, IGNORED) if is_hit[step % len(is_hit)] else y

    program.from_onset(change)


def masked_to_zero(program: Program, share: float) -> None:
    """The same with a count of at least one: the loss of these batches is 0, and nothing moves."""
    masked(program, share)
    usual = program.criterion
    program.criterion = lambda outputs, y: (
        outputs.sum() * 0.0 if bool((y == IGNORED).all()) else usual(outputs, y)
    )


def _two_layers(task: Task, recipe: Recipe) -> bool:
    return recipe.shape.depth > 1 and task.family != "language"


CLASH = ("TW305",)
ACCUMULATED = ("TW308", "TW101", "TW002", "TW004")

FAULTS = (
    Planted("softmax-twice", CLASH, plant=softmax_twice, needs=of_labels, rule="definition"),
    Planted("sigmoid-twice", CLASH, plant=sigmoid_twice, needs=of_classes, rule="definition"),
    Planted("ids-as-numbers", CLASH, plant=ids_as_numbers, needs=of_classes, rule="definition"),
    Planted(
        *("broadcast", ("TW305", "TW104")), plant=broadcast, needs=of_numbers, rule="definition"
    ),
    Planted("positive-only", CLASH, plant=positive_only, needs=of_numbers, rule="definition"),
    Planted(
        *("trains-while-evaluated", ("TW306",), (0.2,), (0.5,)),
        recipe=lambda recipe, share: recipe.shaped(dropout=share),
        plant=never_evaluates,
        needs=of_modes,
        rule="definition",
    ),
    Planted(
        *("evaluates-while-trained", ("TW306",)),
        plant=never_trains,
        needs=of_batch_norm,
        rule="definition",
    ),
    Planted(
        *("frozen", ("TW307",), (0.5,), (1.0,)),
        plant=frozen,
        needs=_two_layers,
        rule="definition",
    ),
    Planted("replaced", ("TW307",), (0.5,), (1.0,), plant=replaced_layer, rule="definition"),
    Planted(
        *("never-zeroed", ACCUMULATED), plant=never_zeroed, when=(START, MID), rule="definition"
    ),
    Planted(
        *("detached", ("TW309", "TW307"), (0.5,), (1.0,)),
        plant=detached,
        rule="definition",
    ),
    Planted(
        *("masked", ("TW310", "TW001"), (0.01,), (0.1,)),
        plant=masked,
        when=(START, MID),
        needs=of_labels,
        rule="definition",
    ),
    Planted(
        *("masked-to-zero", ("TW310",), (0.1,), (0.5,)),
        plant=masked_to_zero,
        needs=of_labels,
        rule="definition",
    ),
)
