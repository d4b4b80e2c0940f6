"""Sound programs whose parameters or steps look as if they were wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.healthbench.structures.parts import (
    ADAM,
    ADAMW,
    ENTROPY,
    SGD,
    Batch,
    Built,
    Recurrent,
    Residual,
    Structure,
    Transformer,
    by_symbol,
    convnet,
    diabetes,
    digits,
    mlp,
    pictures,
    program,
    stepping,
    text,
)

# ---------------------------------------------- parameters that stay, or have no gradient


def backbone(*, is_given: bool) -> Built:
    """Frozen on purpose; the optimizer gets what is trained, or everything."""
    model = mlp(64, 64, 64, 10)
    for layer in list(model)[:-1]:
        layer.requires_grad_(False)
    parameters = [p for p in model.parameters() if is_given or p.requires_grad]
    return stepping(model, ADAM(parameters), digits())


def frozen_batch_norm() -> Built:
    """A frozen backbone whose batch norm stays in evaluation mode, as in fine-tuning."""
    body, head = convnet()[:-1], nn.Linear(8 * 64, 10)
    body.requires_grad_(False)
    model = nn.Sequential(body, head)
    return stepping(model, ADAM(head.parameters()), pictures(), before=body.eval)


class Aided(nn.Module):
    """A second head that is not used in this phase."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.aid = mlp(64, 64, 32), nn.Linear(32, 10), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).relu())


class Adapted(nn.Module):
    """A frozen layer and a small pair of matrices beside it, the second of which starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(64, 64).requires_grad_(False)
        self.down, self.up = nn.Linear(64, 4, bias=False), nn.Linear(4, 64, bias=False)
        self.head = nn.Linear(64, 10)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.base(x) + self.up(self.down(x))).relu())


class Skipping(nn.Module):
    """Every other layer is left out at random: it then has no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(64, 32), nn.Linear(32, 10)
        self.body = nn.ModuleList(nn.Linear(32, 32) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for i, layer in enumerate(self.body):
            if i % 2 == 0 or torch.rand(()) < 0.5:
                h = h + layer(h).relu()
        return self.head(h)


class Averaged(nn.Module):
    """A network and, inside the same module, the mean of its past weights."""

    def __init__(self) -> None:
        super().__init__()
        self.online = mlp(64, 64, 10)
        self.mean = copy.deepcopy(self.online).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.online(x)

    @torch.no_grad()
    def follow(self) -> None:
        """The mean moves a little towards the network."""
        for old, new in zip(self.mean.parameters(), self.online.parameters(), strict=True):
            old.lerp_(new, 0.01)


def averaged() -> Built:
    model = Averaged()
    return stepping(model, ADAM(model.online.parameters()), digits(), after=model.follow)


class Embedded(nn.Module):
    """Vectors that came from elsewhere and stay, before layers that learn."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(torch.randn(128, 16), freeze=True)
        self.body = mlp(16, 32, 128)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.embedding(x))


def head_of_zeros() -> Built:
    """The last layer starts at zero: in the first step nothing reaches the others."""
    model = mlp(64, 64, 10)
    for p in model[-1].parameters():
        nn.init.zeros_(p)
    return program(model, digits())


def branches_of_zeros() -> Built:
    """Every branch of a residual network starts at zero."""
    model = Residual(64, 10, 6)
    for name, p in model.named_parameters():
        if name.startswith("body") and p.dim() > 1:
            nn.init.zeros_(p)
    return program(model, digits())


# ------------------------------------------------------------------ steps of another shape


def accumulating(num: int) -> Built:
    """Gradients of some batches are added on purpose."""
    model, count = mlp(64, 64, 10), [0]
    optimizer = ADAM(model.parameters())

    def train_step(batch: Batch) -> Tensor:
        value = ENTROPY(model(batch[0]), batch[1])
        (value / num).backward()
        count[0] += 1
        if count[0] % num == 0:
            optimizer.step()
            optimizer.zero_grad()
        return value

    return Built(model, optimizer, ENTROPY, digits(), train_step)


def two_optimizers() -> Built:
    """One for the body, one for the head; both step."""
    model = mlp(64, 64, 10)
    body, head = ADAM(model[0].parameters()), SGD(model[-1].parameters())
    built = stepping(model, body, digits(), before=head.zero_grad, after=head.step)
    built.others.append(head)
    return built


def closed() -> Built:
    """L-BFGS calls the loss itself, several times a step."""
    model = mlp(10, 16, 1)
    optimizer, loss = (
        torch.optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe"),
        nn.MSELoss(),
    )

    def train_step(batch: Batch) -> Tensor:
        def closure() -> Tensor:
            optimizer.zero_grad()
            value = loss(model(batch[0]), batch[1])
            value.backward()
            return value

        return torch.as_tensor(optimizer.step(closure))

    return Built(model, optimizer, loss, diabetes(), train_step)


def warming() -> Built:
    """The rate of the first step is zero."""
    model = Transformer()
    optimizer = ADAMW(model.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 10))
    return stepping(model, optimizer, text(), by_symbol, after=schedule.step)


def clipped(limit: float) -> Built:
    model = mlp(64, 64, 10)
    optimizer = SGD(model.parameters())

    def train_step(batch: Batch) -> Tensor:
        optimizer.zero_grad()
        value = ENTROPY(model(batch[0]), batch[1])
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), limit)
        optimizer.step()
        return value

    return Built(model, optimizer, ENTROPY, digits(), train_step)


def zeroed_at_the_end(*, is_none: bool) -> Built:
    model = mlp(64, 64, 10)
    optimizer = ADAM(model.parameters())
    zero = partial(optimizer.zero_grad, set_to_none=is_none)
    return stepping(model, optimizer, digits(), after=zero, is_zeroed=False)


def zeroed_by_model() -> Built:
    model = mlp(64, 64, 10)
    return stepping(
        *(model, ADAM(model.parameters()), digits()), before=model.zero_grad, is_zeroed=False
    )


def evaluated(model: nn.Module, batches: list[Batch]) -> Built:
    """Evaluation mode for the evaluation, and training mode for the steps."""

    @torch.no_grad()
    def evaluate() -> None:
        model.eval()
        model(batches[-1][0])
        model.train()

    return stepping(model, ADAM(model.parameters()), batches, after=evaluate)


def decayed_groups() -> Built:
    """Weights decay, biases do not."""
    model = mlp(64, 64, 10)
    weights, biases = (
        [p for p in model.parameters() if (p.dim() > 1) == is_it] for is_it in (1, 0)
    )
    groups = [{"params": weights, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}]
    return stepping(model, ADAMW(groups), digits())


def mixed_precision() -> Built:
    """bfloat16 in the forward pass, weights in float32."""
    model = mlp(64, 64, 10)

    def loss(outputs: Tensor, y: Tensor) -> Tensor:
        return ENTROPY(outputs.float(), y)

    built = program(model, digits(), loss)
    usual = built.train_step

    def train_step(batch: Batch) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return usual(batch)

    built.train_step = train_step
    return built


BUILDS: dict[str, Callable[[], Built]] = {
    "frozen backbone, head alone given": partial(backbone, is_given=False),
    "frozen backbone, all given": partial(backbone, is_given=True),
    "frozen backbone with batch norm in evaluation mode": frozen_batch_norm,
    "tied weights": lambda: program(Recurrent(is_tied=True), text(), by_symbol),
    "an unused second head": lambda: program(Aided(), digits()),
    "low-rank adapters": lambda: stepping(
        model := Adapted(), ADAM([p for p in model.parameters() if p.requires_grad]), digits()
    ),
    "layers left out at random": lambda: program(Skipping(), digits()),
    "an averaged copy inside": averaged,
    "a frozen embedding": lambda: program(Embedded(), text(), by_symbol),
    "a head of zeros": head_of_zeros,
    "branches of zeros": branches_of_zeros,
    "accumulated over 2": partial(accumulating, 2),
    "accumulated over 4": partial(accumulating, 4),
    "two optimizers": two_optimizers,
    "l-bfgs": closed,
    "warm-up from zero": warming,
    "clipped": partial(clipped, 1.0),
    "clipped low": partial(clipped, 0.01),
    "zeroed at the end": partial(zeroed_at_the_end, is_none=True),
    "zeroed at the end, in place": partial(zeroed_at_the_end, is_none=False),
    "zeroed by the model": zeroed_by_model,
    "dropout, evaluated": lambda: evaluated(mlp(64, 64, 10, dropout=0.5), digits()),
    "batch norm, evaluated": lambda: evaluated(convnet(), pictures()),
    "no decay for biases": decayed_groups,
    "mixed precision": mixed_precision,
}

ROWS = [Structure(name, (), build) for name, build in BUILDS.items()]
