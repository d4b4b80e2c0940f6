"""Healthy runs of the fresh tasks that look ill in ways of their own."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.healthbench.models import inner_layers
from benchmarks.healthbench.objectives import parts_of_bound
from benchmarks.healthbench.planted.fresh_data import of_family, of_real, with_others
from benchmarks.healthbench.planted.fresh_descent import of_optimizer
from benchmarks.healthbench.planted.hard import scheduled
from benchmarks.healthbench.planted.row import Planted
from benchmarks.healthbench.planted.samples import fit_silently
from benchmarks.healthbench.program import Program, shuffled
from benchmarks.healthbench.recipes import Recipe, Task, optimizer_of


def ever_harder(program: Program, amount: float) -> None:
    """A curriculum: noise on numbers, or gaps among words, from none to a good deal."""

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        now = amount * min(1.0, step / (0.7 * program.end))
        random = torch.from_numpy(program.random.standard_normal(x.shape)).float()
        if x.is_floating_point():
            return x + now * random, y
        return torch.where(random > 2.2 - now, torch.zeros_like(x), x), y

    program.changes.append(change)


def annealed(program: Program, share: float) -> None:
    """What the code tells costs nothing at first, and its full price later: the loss rises."""
    step_now = [0]

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        missed, told = parts_of_bound(outputs, y)
        return missed + min(1.0, step_now[0] / (share * program.end)) * told

    program.criterion = criterion
    program.after.append(lambda step: step_now.__setitem__(0, step))


def frozen_later(program: Program, share: float) -> None:
    """The first part of the network has learned enough by now, and stays as it is."""
    first = next(iter(program.model.children()))

    def freeze() -> None:
        first.requires_grad_(False)
        for p in first.parameters():
            p.grad = None

    program.at(int(share * program.end), freeze)


def progressive(program: Program, share: float) -> None:
    """A short past, or half of a picture, first; then all that there is."""
    until = share * program.end

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if step > until:
            return x, y
        if x.dim() == 3:
            return x[:, -8:], y
        return x[..., :4], y[..., :4]

    program.changes.append(change)


def flat_for_long(recipe: Recipe, times: float) -> Recipe:
    """Planned long, done early: the last half of it changes nothing any more."""
    return replace(recipe, steps=round(times * recipe.steps), schedule="exponential", warmup=0.0)


def catapult(program: Program, times: float) -> None:
    """So large a rate at first that the loss is thrown up; it finds a good place all the same."""
    until = program.end // 12
    usual = program.rate
    program.rate = lambda step: program.recipe.lr * times if step <= until else usual(step)


def rewarmed(program: Program, _: float) -> None:
    """A resume without the optimizer's means: the rate is warmed up again, and goes on."""
    stop = int(program.end * program.random.uniform(0.3, 0.55))
    length = program.end // 10

    def renew() -> None:
        program.optimizer = optimizer_of(program.recipe, program.model.parameters())

    program.at(stop, renew)
    usual = program.rate
    program.rate = lambda step: (
        usual(step) * (min(1.0, (step - stop + 1) / length) if step >= stop else 1.0)
    )


def shaken(program: Program, size: float) -> None:
    """Noise on the weights at every step, of a size that falls with the rate (Langevin)."""

    @torch.no_grad()
    def shake(step: int) -> None:
        now = size * program.rate(step) / program.recipe.lr
        for p in program.model.parameters():
            if p.dim() > 1 and p.requires_grad:
                p.add_(now * torch.randn_like(p) * p.norm() / p.numel() ** 0.5)

    program.after.insert(0, shake)


def harder_rivals(program: Program, share: float) -> None:
    """Ever more batches whose rivals are alike: lecturers who are often chosen, land of a kind."""
    data, random = program.data, program.random
    if data.kind == "picks":
        chosen = data.train.x[torch.arange(len(data.train)), 1 + data.train.y].numpy()
        often = np.argsort(-np.bincount(chosen))[:60]

        def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            others = torch.from_numpy(random.choice(often, x[:, 1:].shape))
            is_hit = torch.from_numpy(random.random(x[:, 1:].shape) < share * step / program.end)
            is_hit[torch.arange(len(x)), y] = False
            x = x.clone()
            x[:, 1:] = torch.where(is_hit, others, x[:, 1:])
            return x, y

        program.changes.append(change)
        return

    usual, size = program.order, program.recipe.batch_size
    kinds = data.train.y[:, 0].numpy()
    groups = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]

    def order(step: int) -> np.ndarray:
        if random.random() >= share * step / program.end:
            return usual(step)
        return random.choice(groups[random.integers(len(groups))], size)

    program.order = order


def dropout_falls(program: Program, share: float) -> None:
    """Dropout that is large at first and nothing at the end."""
    layers = [m for m in program.model.modules() if isinstance(m, nn.Dropout)]

    def lower(step: int) -> None:
        for layer in layers:
            layer.p = share * (1 - step / program.end)

    program.after.append(lower)


def summed(program: Program, _: float) -> None:
    """The train loss is a sum over the batch, that of the validation part a mean."""
    usual, size = program.criterion, program.recipe.batch_size
    program.criterion = lambda outputs, y: usual(outputs, y) * size


def smooth_log(program: Program, decay: float) -> None:
    """A bar that shows a running mean of the loss."""
    mean: list[float] = []

    def shown(loss: float) -> float:
        mean[:] = [decay * mean[0] + (1 - decay) * loss if mean else loss]
        return mean[0]

    program.shown = shown


def rare_log(program: Program, every: float) -> None:
    """Only some of the steps are logged."""
    program.lost = frozenset(s for s in range(2, program.end) if s % int(every))


def second_aim(program: Program, amount: float) -> None:
    """From a step on another term joins the loss: small weights, or small outputs."""
    usual, step_now = program.criterion, [0]
    start = int(program.end * program.random.uniform(0.3, 0.5))

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        if step_now[0] < start:
            return usual(outputs, y)
        more = sum(p.abs().mean() for p in program.model.parameters() if p.dim() > 1)
        return usual(outputs, y) + amount * more

    program.criterion = criterion
    program.after.append(lambda step: step_now.__setitem__(0, step))


def more_data(program: Program, share: float) -> None:
    """A part of the rows first, all of them once they have come."""
    total, size = len(program.data.train), program.recipe.batch_size
    middle = program.end * program.recipe.accumulate // 2
    first = program.random.permutation(total)[: round(share * total)]
    early, late = shuffled(len(first), size, 0), shuffled(total, size, 1)
    program.order = lambda step: first[early(step)] if step <= middle else late(step)


def distilled(program: Program, share: float) -> None:
    """Half of the loss asks for the answers of a teacher who is good, and not perfect."""
    teacher = copy.deepcopy(program.model)
    student, program.model = program.model, teacher
    fit_silently(program, program.data, 300)
    program.model = student
    teacher.requires_grad_(False).eval()
    usual, said = program.criterion, [torch.empty(0)]

    def listen(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            said[0] = teacher(x)
        return x, y

    def criterion(outputs: Tensor, y: Tensor) -> Tensor:
        apart = nn.functional.mse_loss(outputs, said[0])
        return (1 - share) * usual(outputs, y) + share * apart

    program.changes.append(listen)
    program.criterion = criterion


class Addition(nn.Module):
    """A product of two thin matrices, zero at first, that is added to what a layer gives."""

    def __init__(self, layer: nn.Linear, rank: int):
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, layer.in_features) / layer.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.down.T @ self.up.T


def low_rank(program: Program, rank: float) -> None:
    """A body that was trained before stays; thin matrices beside its layers, and the head, learn
    the rest.
    """
    fit_silently(program, program.data, 250)
    model = program.model
    layers = [layer for layer in inner_layers(model) if isinstance(layer, nn.Linear)]
    for name, p in model.named_parameters():
        p.requires_grad_("head" in name)
    for i, layer in enumerate(layers):
        addition = Addition(layer, int(rank))
        model.add_module(f"addition_{i}", addition)
        layer.register_forward_hook(
            lambda _, inputs, output, addition=addition: output + addition(inputs[0])
        )
    trained = [p for p in model.parameters() if p.requires_grad]
    program.optimizer = optimizer_of(program.recipe, trained)


def ramped(program: Program, _: float) -> None:
    """Batches that double four times, at a rate that stays."""
    num, size = len(program.data.train), program.recipe.batch_size
    sizes = [max(2, size // 4) * 2**i for i in range(5)]
    orders = [shuffled(num, each, i) for i, each in enumerate(sizes)]
    total = program.end * program.recipe.accumulate + 1
    program.order = lambda step: orders[min(4, 5 * step // total)](step)


def tiny_batches(recipe: Recipe, size: float) -> Recipe:
    """Of two or four samples, more of them, and a rate to go with them."""
    share = (size / recipe.batch_size) ** (1.0 if recipe.optimizer == "sgd" else 0.5)
    return replace(
        recipe,
        batch_size=int(size),
        lr=recipe.lr * share,
        schedule="linear",
        steps=round(1.5 * recipe.steps),
    )


def half_dropped(recipe: Recipe, share: float) -> Recipe:
    """Wide, most of it dropped at each step: the train loss stays above that of validation."""
    return recipe.shaped(dropout=share, width=2 * recipe.shape.width)


def imprecise_targets(program: Program, share: float) -> None:
    """Known to be noisy, and many enough: some of the train targets are wrong by intent, as a
    guard for those who gave them.
    """

    def change(step: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        is_hit = torch.from_numpy(program.random.random(len(x)) < share)
        order = torch.from_numpy(program.random.permutation(len(x)))
        return with_others(program.data.kind, x, y, is_hit, order)

    program.changes.append(change)


def few_validated(program: Program, num: float) -> None:
    """A handful of samples, and few looks at them."""
    program.honest = program.data
    rows = program.random.permutation(len(program.data.validation))[: int(num)]
    program.data = replace(program.data, validation=program.data.validation.rows(rows))


def _batches_may_vary(task: Task, recipe: Recipe) -> bool:
    return task.kind != "views" and recipe.shape.norm != "batch"


def _answers(task: Task, recipe: Recipe) -> bool:
    return task.family in ("forecaster", "titles", "layers", "denoiser", "matcher", "columns")


def _drops(recipe: Recipe, share: float) -> Recipe:
    return recipe.shaped(dropout=share)


ROWS = (
    Planted(
        "ever-harder",
        (),
        strong=(0.3, 0.6),
        plant=ever_harder,
        needs=of_family("forecaster", "code", "towers", "layers", "titles"),
    ),
    Planted("annealed", (), strong=(0.4, 0.7), plant=annealed, needs=of_family("code"), num=3),
    Planted("snapshots", (), recipe=scheduled("five_cosines")),
    Planted("frozen-later", (), strong=(0.6, 0.75), plant=frozen_later),
    Planted(
        *("progressive", ()),
        strong=(0.4, 0.6),
        plant=progressive,
        needs=of_family("forecaster", "denoiser"),
        num=2,
    ),
    Planted("flat-for-long", (), strong=(2.0,), recipe=flat_for_long),
    Planted("catapult", (), strong=(4.0, 8.0), plant=catapult),
    Planted("rewarmed", (), plant=rewarmed),
    Planted("shaken", (), strong=(0.005, 0.01), plant=shaken),
    Planted(
        *("harder-rivals", ()),
        strong=(0.4, 0.7),
        plant=harder_rivals,
        needs=of_family("matcher", "towers"),
        num=3,
    ),
    Planted("dropout-falls", (), strong=(0.3, 0.5), recipe=_drops, plant=dropout_falls),
    Planted(
        *("summed-by-intent", ()),
        plant=summed,
        needs=lambda task, recipe: (
            of_optimizer("adam", "adamw", "nadam", "radam", "lion")(task, recipe)
            and recipe.clip is None
        ),
    ),
    Planted("smooth-log", (), strong=(0.9, 0.98), plant=smooth_log),
    Planted("rare-log", (), strong=(5.0, 10.0), plant=rare_log),
    Planted("second-aim", (), strong=(0.3, 1.0), plant=second_aim),
    Planted("more-data", (), strong=(0.3, 0.5), plant=more_data),
    Planted("distilled", (), strong=(0.5,), plant=distilled, needs=_answers),
    Planted(
        *("low-rank", ()),
        strong=(2.0, 4.0),
        plant=low_rank,
        needs=of_family("forecaster", "titles", "code", "towers", "layers", "columns"),
    ),
    Planted("ramped", (), plant=ramped, needs=_batches_may_vary),
    Planted("tiny-batches", (), strong=(2.0, 4.0), recipe=tiny_batches, needs=_batches_may_vary),
    Planted("half-dropped", (), strong=(0.5, 0.6), recipe=half_dropped),
    Planted("imprecise", (), strong=(0.08, 0.15), plant=imprecise_targets, needs=of_real),
    Planted(
        "few-validated", (), strong=(16.0, 40.0), plant=few_validated, rule="honest", needs=_answers
    ),
)

TWICE = ("frozen-later", "snapshots", "catapult", "rewarmed", "second-aim", "more-data")
TWICE += ("low-rank", "half-dropped", "ever-harder", "distilled", "flat-for-long", "shaken")

HARD = tuple(replace(row, num=2) if row.name in TWICE else row for row in ROWS)
