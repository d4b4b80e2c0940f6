"""Faults of the third part that lie in the program: weights, losses, modes, graphs, machines."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.healthbench.models import head_of, inner_layers
from benchmarks.healthbench.planted.fresh_data import of_family
from benchmarks.healthbench.planted.fresh_descent import is_told
from benchmarks.healthbench.planted.row import (
    MID,
    START,
    Planted,
    of_batch_norm,
    of_labels,
    of_relu,
)
from benchmarks.healthbench.program import Program, loss_of
from benchmarks.healthbench.recipes import Recipe, Task, optimizer_of

STALL, EVERY = 30, 60
"""Steps that a machine is too hot for, of so many."""


def unit_normal(program: Program, size: float) -> None:
    """`torch.randn` for all layers' weights, whatever the number of their inputs."""
    for layer in [*inner_layers(program.model), head_of(program.model)]:
        nn.init.normal_(layer.weight, std=size)


def of_tanh(recipe: Recipe, _: float) -> Recipe:
    return recipe.shaped(activation="tanh", norm="none", depth=max(2, recipe.shape.depth))


@torch.no_grad()
def negative_weights(program: Program, share: float) -> None:
    """Drawn with the wrong sign: so many of the units get sums below zero alone."""
    for layer in list(inner_layers(program.model))[1:]:
        is_hit = torch.from_numpy(program.random.random(len(layer.weight)) < share)
        layer.weight[is_hit] = -layer.weight[is_hit].abs()
        if layer.bias is not None:
            layer.bias[is_hit] = -layer.bias[is_hit].abs() - 0.1


def norms_removed(recipe: Recipe, depth: float) -> Recipe:
    """Deep, and the normalisation that made it learn was taken out."""
    return recipe.shaped(depth=int(depth), norm="none", activation="tanh", dropout=0.0)


@torch.no_grad()
def drawn_small(program: Program, std: float) -> None:
    """Weights of a large model's recipe, all of one size, and biases of zero."""
    for layer in inner_layers(program.model):
        nn.init.normal_(layer.weight, std=std)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def nll_of_logits(program: Program, _: float) -> None:
    """`NLLLoss` where `CrossEntropyLoss` was meant: minus the logit itself, without an end."""
    program.criterion = program.logged = lambda outputs, y: -outputs.gather(-1, y[..., None]).mean()


def softmax_over_batch(program: Program, _: float) -> None:
    """`softmax(dim=0)`: shares of the samples, not of the classes."""

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        return -outputs.log_softmax(0).gather(-1, y[..., None]).mean()

    program.criterion = program.logged = criterion


def probabilities_in(program: Program, _: float) -> None:
    """The network ends in a sigmoid, and cross-entropy is given what comes out."""
    entropy = loss_of(program.data)
    program.criterion = program.logged = lambda outputs, y: entropy(outputs.sigmoid(), y)


def kl_of_zero(program: Program, _: float) -> None:
    """The divergence from targets of 0 and 1, written out: nothing times its logarithm."""
    num = program.data.num_outputs

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        shares = nn.functional.one_hot(y, num).float()
        return (shares * (shares.log() - outputs.log_softmax(-1))).sum(-1).mean()

    program.criterion = criterion


def functional_dropout(program: Program, share: float) -> None:
    """`F.dropout(x, p)` in the forward pass, which never hears of the mode."""
    head_of(program.model).register_forward_pre_hook(
        lambda _, inputs: nn.functional.dropout(inputs[0], share, training=True)
    )


def statistics_lost(program: Program, _: float) -> None:
    """What is evaluated was loaded without the running means and variances."""

    def reset(step: int) -> None:
        for module in program.model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.reset_running_stats()

    program.after.append(reset)


def rebuilt_with_head(program: Program, amount: float) -> None:
    """An optimizer made anew is given the head alone; or all but the first part."""

    def renew() -> None:
        first = next(iter(program.model.children()))
        left_out = first.parameters() if amount < 1 else iter(program.model.parameters())
        missing = {id(p) for p in left_out} - {id(p) for p in head_of(program.model).parameters()}
        given = [p for p in program.model.parameters() if id(p) not in missing]
        program.optimizer = optimizer_of(program.recipe, given)

    program.at(program.onset, renew)


def half_zeroed(program: Program, _: float) -> None:
    """`head.zero_grad()`: the gradients of all other layers add up."""
    head = head_of(program.model)

    def zero() -> None:
        program.zeroes = False
        head.zero_grad()

    for step in range(program.onset, program.end + 1):
        program.at(step, zero)


def no_grad_later(program: Program, _: float) -> None:
    """A stage of the training in which what lies before the head runs under `no_grad`."""
    is_on = [False]
    head_of(program.model).register_forward_pre_hook(
        lambda _, inputs: (inputs[0].detach(),) if is_on[0] else None
    )
    program.at(program.onset, lambda: is_on.__setitem__(0, True))


def prompts_too_long(program: Program, share: float) -> None:
    """From the onset on, what is masked as a prompt fills all of so many batches: their loss is a
    sum over nothing, divided by one.
    """
    usual = program.criterion
    is_hit = program.random.random(2 * program.end + 2) < share
    step_now = [1]

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        is_empty = step_now[0] >= program.onset and is_hit[step_now[0]]
        return usual(outputs, y) * (0.0 if is_empty else 1.0)

    program.criterion = criterion
    program.after.append(lambda step: step_now.__setitem__(0, step + 1))


def throttled(program: Program, times: float) -> None:
    """A machine that becomes too hot: it is slow for a while, and again."""
    start = program.onset
    program.slowness = lambda step: (
        times if step >= start and (step - start) % EVERY < STALL else 1.0
    )


def _stacked(task: Task, recipe: Recipe) -> bool:
    return of_relu(task, recipe) and recipe.shape.depth > 1


BAD_START = ("TW303", "TW302", "TW004", "TW002", "TW005", "TW101", "TW103")
DEEP = ("TW304", "TW005", "TW303", "TW104", "TW302")
CLASH = ("TW305",)

FAULTS = (
    Planted("unit-normal", BAD_START, (0.6,), (2.0,), plant=unit_normal),
    Planted(
        *("unit-normal-tanh", BAD_START, (1.0,), (4.0,)),
        recipe=of_tanh,
        plant=unit_normal,
        needs=of_family("layers", "pretrained"),
    ),
    Planted(
        *("negative-weights", ("TW301", "TW303", "TW104"), (0.8,), (1.0,)),
        plant=negative_weights,
        needs=_stacked,
        num=2,
    ),
    Planted(
        *("norms-removed", DEEP, (8.0,), (16.0,)),
        recipe=norms_removed,
        needs=of_family("layers", "pretrained"),
        num=2,
    ),
    Planted(
        *("drawn-small", ("TW303", "TW005", "TW104", "TW102"), (0.01,), (1e-3,)),
        plant=drawn_small,
        needs=of_family("layers", "pretrained", "phrases"),
    ),
    Planted(
        *("nll-of-logits", (*CLASH, "TW002")),
        plant=nll_of_logits,
        needs=of_labels,
        rule="definition",
    ),
    Planted(
        *("softmax-over-batch", (*CLASH, "TW104")),
        plant=softmax_over_batch,
        needs=of_labels,
        rule="definition",
    ),
    Planted("probabilities-in", CLASH, plant=probabilities_in, needs=of_labels, rule="definition"),
    Planted(
        *("kl-of-zero", ("TW001", "TW305")), plant=kl_of_zero, needs=of_labels, rule="nonfinite"
    ),
    Planted(
        *("functional-dropout", ("TW306",), (0.3,), (0.6,)),
        plant=functional_dropout,
        needs=is_told,
        rule="definition",
    ),
    Planted(
        *("statistics-lost", ("TW306",)),
        plant=statistics_lost,
        needs=of_batch_norm,
        rule="definition",
        num=2,
    ),
    Planted(
        *("rebuilt-with-head", ("TW307", "TW309"), (0.5,), (1.0,)),
        plant=rebuilt_with_head,
        when=(START, MID),
        needs=is_told,
    ),
    Planted(
        *("half-zeroed", ("TW308", "TW101", "TW002", "TW004")),
        plant=half_zeroed,
        when=(START, MID),
    ),
    Planted(
        *("no-grad-later", ("TW309", "TW307", "TW103")),
        plant=no_grad_later,
        when=(START, MID),
        needs=is_told,
    ),
    Planted(
        *("prompts-too-long", ("TW310",), (0.2,), (1.0,)),
        plant=prompts_too_long,
        when=(MID,),
        needs=of_labels,
        rule="definition",
    ),
    Planted(
        "throttled", ("TW404",), (2.5,), (8.0,), plant=throttled, when=(MID,), rule="definition"
    ),
)
