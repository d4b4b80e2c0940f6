"""Faults of the fresh tasks that lie in the program: weights at the start, losses, modes, graphs,
numbers that break, machines.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.healthbench.models import inner_layers
from benchmarks.healthbench.planted.fresh_data import of_family, of_real
from benchmarks.healthbench.planted.fresh_descent import is_told
from benchmarks.healthbench.planted.machine import cut, half, overflow
from benchmarks.healthbench.planted.row import MID, START, Planted, of_modes
from benchmarks.healthbench.planted.wiring import _cut
from benchmarks.healthbench.program import Program
from benchmarks.healthbench.recipes import Recipe, Task, optimizer_of
from benchmarks.healthbench.sets import Data, Part


def drawn(program: Program, draw: Callable[[Tensor], object]) -> None:
    """All matrices drawn anew."""
    for p in program.model.parameters():
        if p.dim() > 1:
            draw(p)


def normal_weights(program: Program, size: float) -> None:
    """By a normal distribution that knows nothing of how many inputs there are."""
    drawn(program, lambda p: nn.init.normal_(p, std=size))


def positive_weights(program: Program, largest: float) -> None:
    """None of them negative."""
    drawn(program, lambda p: nn.init.uniform_(p, 0.0, largest))


@torch.no_grad()
def large_head(program: Program, times: float) -> None:
    """What comes out is so many times too large at first."""
    for name, p in program.model.named_parameters():
        if "head" in name:
            p.mul_(times)


@torch.no_grad()
def asleep(program: Program, share: float) -> None:
    """So many units of each layer have weights below zero, and so has their bias."""
    for layer in inner_layers(program.model):
        is_hit = torch.from_numpy(program.random.random(len(layer.weight)) < share)
        layer.weight[is_hit] = -layer.weight[is_hit].abs()
        if layer.bias is not None:
            layer.bias[is_hit] = -6.0


def of_tanh(recipe: Recipe, _: float) -> Recipe:
    return recipe.shaped(activation="tanh", norm="none", depth=max(2, recipe.shape.depth))


def as_measured(data: Data, size: float, random: object) -> Data:
    """Inputs so many times as large, about a mean that is not zero."""
    return data.changed(lambda part, _: Part(part.x * size + size, part.y))


def deep_and_small(recipe: Recipe, _: float) -> Recipe:
    return recipe.shaped(depth=6, norm="none", activation="tanh", dropout=0.0)


def sigmoids(recipe: Recipe, depth: float) -> Recipe:
    return recipe.shaped(depth=int(depth), norm="none", activation="sigmoid", dropout=0.0)


def narrow(recipe: Recipe, width: float) -> Recipe:
    """A code, a state or a layer that holds next to nothing."""
    return recipe.shaped(width=int(width), dropout=0.0)


def twice(program: Program, _: float) -> None:
    """The network's last layer has the function that the loss has as well, or one too many."""
    usual = program.criterion
    ends: dict[str, Callable[[Tensor], Tensor]] = {
        "forecast": torch.relu,
        "genres": torch.sigmoid,
        "grades": torch.sigmoid,
        "noise": torch.relu,
        "picks": lambda outputs: outputs.softmax(-1),
    }
    end = ends[program.data.kind]
    program.criterion = program.logged = lambda outputs, y: usual(end(outputs), y)


def across_samples(program: Program, _: float) -> None:
    """A softmax over the batch instead of the candidates."""

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        return -outputs.log_softmax(0).gather(1, y[:, None]).mean()

    program.criterion = program.logged = criterion


def without_temperature(program: Program, _: float) -> None:
    """The pairs of a batch are told from each other without a temperature."""
    usual = program.criterion
    program.criterion = program.logged = lambda outputs, y: usual(
        torch.stack([outputs[:, 0] / 10, outputs[:, 1]], 1), y
    )


def centred(program: Program, _: float) -> None:
    """A mean over the samples is taken away, where one over the columns was meant."""
    program.model.register_forward_hook(lambda module, inputs, output: output - output.mean(0))


def never_back(program: Program, _: float) -> None:
    """The first evaluation sets its mode, and nothing sets the other one again."""
    program.onset = program.evaluates_every + 1
    program.at(program.onset, lambda: setattr(program, "trains_in_mode", False))


def children_left_out(program: Program, amount: float) -> None:
    """The optimizer is not given the first part of the network, or only its last."""
    children = list(program.model.children())
    missing = children[:1] if amount < 1 else children[:-1]
    skipped = {id(p) for child in missing for p in child.parameters()}
    given = [p for p in program.model.parameters() if id(p) not in skipped]
    program.optimizer = optimizer_of(program.recipe, given)


def severed(program: Program, _: float) -> None:
    """What the first part of the network gives is detached: it never learns by the loss."""
    first = next(iter(program.model.children()))
    for module in first if isinstance(first, nn.ModuleList) else [first]:
        module.register_forward_hook(_cut)


def without_weight(program: Program, share: float) -> None:
    """In so many batches no sample has a weight; a mean over at least one of them is taken."""
    usual = program.criterion
    is_hit = program.random.random(program.end * program.recipe.accumulate + 2) < share
    is_hit[program.onset] = True
    count = iter(range(1, len(is_hit)))

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        weight = 0.0 if is_hit[next(count, 0)] else 1.0
        return usual(outputs, y) * weight

    program.criterion = criterion


def seldom_zeroed(program: Program, every: float) -> None:
    """Gradients are zeroed at every so many steps, as if they were accumulated in between."""
    for step in range(1, program.end + 1):
        is_zeroed = step % int(every) == 1 or step < program.onset
        program.at(step, lambda is_zeroed=is_zeroed: setattr(program, "zeroes", is_zeroed))


def root_of_zero(program: Program, _: float) -> None:
    """A root whose argument has become zero: its value is finite, its gradient is not."""
    usual, at = program.criterion, [False]

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        more = (outputs * 0.0).sum().sqrt() if at[0] else 0.0
        return usual(outputs, y) + more

    program.criterion = criterion
    program.at(program.onset, lambda: at.__setitem__(0, True))


def constant_batch(program: Program, _: float) -> None:
    """Each batch is divided by its own spread, and in one batch a column has none."""

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if step != program.onset:
            return x, y
        x = x.clone()
        x[..., 0] = (x[..., 0] * 0) / 0.0
        return x, y

    program.changes.append(change)


def starved(program: Program, times: float) -> None:
    """What loads the data keeps up ever less, or stops for long at each shard."""
    start, length = program.onset, program.end - program.onset
    is_by_shard = bool(program.random.random() < 0.5)

    def slowness(step: int) -> float:
        if step < start:
            return 1.0
        if is_by_shard:
            return 1 + 15 * (times - 1) if (step - start) % 15 == 0 else 1.0
        return 1 + 2 * (times - 1) * (step - start) / length

    program.slowness = slowness


def _plain(task: Task, recipe: Recipe) -> bool:
    return recipe.shape.norm == "none"


def _asleep(task: Task, recipe: Recipe) -> bool:
    return _plain(task, recipe) and recipe.shape.activation == "relu" and is_told(task, recipe)


def _stacked(task: Task, recipe: Recipe) -> bool:
    return task.family not in ("denoiser", "matcher")


def _told_mode(task: Task, recipe: Recipe) -> bool:
    return of_modes(task, recipe) and is_told(task, recipe)


START_WEIGHTS = ("TW303", "TW004", "TW002", "TW302", "TW101", "TW103")
CLASH = ("TW305", "TW104", "TW103", "TW202")

FAULTS = (
    Planted("normal-weights", (*START_WEIGHTS, "TW001"), (0.5,), (1.5,), plant=normal_weights),
    Planted(
        *("positive-weights", (*START_WEIGHTS, "TW104"), (0.1,), (0.5,)), plant=positive_weights
    ),
    Planted(
        *("large-head", (*START_WEIGHTS, "TW102"), (30.0,), (300.0,)),
        plant=large_head,
        needs=of_family("forecaster", "titles", "code", "layers", "denoiser"),
    ),
    Planted(
        *("tiny-weights", ("TW303", "TW005", "TW104", "TW304", "TW102"), (0.02,), (1e-3,)),
        recipe=deep_and_small,
        plant=normal_weights,
        needs=_stacked,
    ),
    Planted("asleep", ("TW301", "TW104", "TW303"), (0.95,), (1.0,), plant=asleep, needs=_asleep),
    Planted(
        *("tanh-of-raw", ("TW302", "TW208", "TW303", "TW005"), (30.0,), (300.0,)),
        recipe=of_tanh,
        data=as_measured,
        needs=of_family("forecaster", "towers", "layers"),
    ),
    Planted(
        *("sigmoid-stack", ("TW005", "TW104", "TW304", "TW302"), (5.0,), (9.0,)),
        recipe=sigmoids,
        needs=_stacked,
    ),
    Planted("bottleneck", ("TW202", "TW103", "TW104"), (2.0,), (1.0,), recipe=narrow),
    Planted(
        *("twice", CLASH),
        plant=twice,
        needs=of_family("forecaster", "titles", "layers", "denoiser", "matcher"),
        rule="definition",
        num=2,
    ),
    Planted(
        *("across-samples", CLASH),
        plant=across_samples,
        needs=of_family("matcher"),
        rule="error",
        num=4,
    ),
    Planted(
        *("no-temperature", ("TW305", "TW103", "TW202", "TW102", "TW104")),
        plant=without_temperature,
        needs=of_family("towers"),
        rule="error",
        num=4,
    ),
    Planted(
        *("centred", ("TW305", "TW306", "TW202", "TW104", "TW103", "TW107")),
        plant=centred,
        needs=of_family("columns", "titles", "layers", "forecaster"),
        rule="error",
        num=2,
    ),
    Planted(
        *("never-back", ("TW306", "TW201"), (0.2,), (0.5,)),
        recipe=lambda recipe, share: recipe.shaped(dropout=share),
        plant=never_back,
        needs=_told_mode,
        rule="definition",
    ),
    Planted(
        *("children-left-out", ("TW307", "TW309", "TW202", "TW103"), (0.5,), (1.0,)),
        plant=children_left_out,
        needs=lambda task, recipe: task.family != "layers" and is_told(task, recipe),
        rule="definition",
    ),
    Planted(
        *("severed", ("TW309", "TW307", "TW202", "TW103")),
        plant=severed,
        needs=lambda task, recipe: task.family not in ("layers", "code") and is_told(task, recipe),
        rule="definition",
    ),
    Planted(
        *("without-weight", ("TW310",), (0.1,), (0.5,)),
        plant=without_weight,
        rule="definition",
    ),
    Planted(
        *("seldom-zeroed", ("TW308", "TW101", "TW002", "TW004"), (5.0,), (40.0,)),
        plant=seldom_zeroed,
        needs=is_told,
        rule="definition",
    ),
    Planted("root-of-zero", ("TW001",), plant=root_of_zero, when=(MID,), rule="nonfinite"),
    Planted(
        *("constant-batch", ("TW001",)),
        plant=constant_batch,
        when=(MID,),
        needs=of_real,
        rule="nonfinite",
    ),
    Planted(
        *("starved", ("TW404",), (4.0,), (15.0,)), plant=starved, when=(MID,), rule="definition"
    ),
    Planted("out-of-time", ("TW403",), (0.8,), (0.3,), plant=cut, rule="definition"),
    Planted(
        *("half-for-nothing", ("TW402",), (0.75,), (1.0,)),
        recipe=half,
        plant=overflow,
        when=(START, MID),
        needs=is_told,
        rule="definition",
    ),
)
