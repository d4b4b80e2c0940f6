"""Sound programs that look as if they were not."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

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
    cancer,
    convnet,
    diabetes,
    digits,
    mlp,
    pictures,
    program,
    stepping,
    text,
    yes_or_no,
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
    nn.init.zeros_(model[-1].weight)
    nn.init.zeros_(model[-1].bias)
    return program(model, digits())


def branches_of_zeros() -> Built:
    """Every branch of a residual network starts at zero."""
    model = Residual(64, 10, 6)
    for layer in model.body:
        nn.init.zeros_(layer[1].weight)
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
    optimizer, loss = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4), nn.MSELoss()

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


# --------------------------------------------------------------------------- losses, graphs


def taught() -> Built:
    """Learns from a larger network's answers, made without a graph."""
    teacher, model = mlp(64, 128, 10).eval(), mlp(64, 32, 10)

    def train_step(batch: Batch) -> Tensor:
        x, _ = batch
        with torch.no_grad():
            wanted = teacher(x).softmax(-1)
        optimizer.zero_grad()
        value = functional.kl_div(model(x).log_softmax(-1), wanted, reduction="batchmean")
        value.backward()
        optimizer.step()
        return value

    optimizer = ADAM(model.parameters())
    return Built(model, optimizer, nn.KLDivLoss(), digits(), train_step)


def against_each_other() -> Built:
    """The judge's step sees the maker's pictures detached, as it should."""
    maker, judge = mlp(8, 32, 64), mlp(64, 32, 1)
    model = nn.ModuleDict({"maker": maker, "judge": judge})
    of_maker, of_judge = ADAM(maker.parameters()), ADAM(judge.parameters())
    loss = nn.BCEWithLogitsLoss()

    def train_step(batch: Batch) -> Tensor:
        x, ones, zeros = batch[0], torch.ones(len(batch[0]), 1), torch.zeros(len(batch[0]), 1)
        made = maker(torch.randn(len(x), 8))
        of_judge.zero_grad()
        value = loss(judge(x), ones) + loss(judge(made.detach()), zeros)
        value.backward()
        of_judge.step()
        of_maker.zero_grad()
        loss(judge(made), ones).backward()
        of_maker.step()
        return value

    return Built(model, of_judge, loss, digits(), train_step, [of_maker])


class Rounded(nn.Module):
    """Rounds in the forward pass, and lets the gradient through."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = mlp(64, 64, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x)
        return self.head(h + (h.round() - h).detach())


class Recomputed(nn.Module):
    """Its body is computed twice, to save memory."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = mlp(64, 64, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = checkpoint(self.body, x, use_reentrant=False)
        assert isinstance(h, Tensor)
        return self.head(h.relu())


class Gated(nn.Module):
    """A sigmoid and a softmax inside, before more layers."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.body, self.head = nn.Linear(64, 64), mlp(64, 64, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gate(x).sigmoid() * self.body(x) + x.softmax(-1))


def some_masked() -> Built:
    """Four of five symbols are masked, never all."""
    batches = [(x, torch.where(torch.arange(16) % 5 == 0, y, -100)) for x, y in text()]
    return program(Transformer(), batches, by_symbol)


def one_hot(y: Tensor) -> Tensor:
    return functional.one_hot(y, 10).float()


def _two_views(model: nn.Module, batches: list[Batch]) -> Built:
    """Two forward passes a step; the second one's answer is the first one's target."""
    usual = program(model, batches)

    def train_step(batch: Batch) -> Tensor:
        x, y = batch
        usual.optimizer.zero_grad()
        first, second = model(x), model(x + 0.1 * torch.randn_like(x))
        value = ENTROPY(first, y) + ((second - first.detach()) ** 2).mean()
        value.backward()
        usual.optimizer.step()
        return value

    usual.train_step = train_step
    return usual


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
    "a teacher": taught,
    "maker and judge": against_each_other,
    "rounded with a gradient": lambda: program(Rounded(), digits()),
    "recomputed": lambda: program(Recomputed(), digits()),
    "gates inside": lambda: program(Gated(), digits()),
    "log softmax and nll": lambda: program(
        nn.Sequential(mlp(64, 64, 10), nn.LogSoftmax(-1)), digits(), nn.NLLLoss()
    ),
    "log softmax and cross-entropy": lambda: program(
        nn.Sequential(mlp(64, 64, 10), nn.LogSoftmax(-1)), digits()
    ),
    "sigmoid and bce": lambda: program(
        nn.Sequential(mlp(30, 32, 1), nn.Sigmoid()), yes_or_no(), nn.BCELoss()
    ),
    "label smoothing": lambda: program(
        mlp(64, 64, 10), digits(), nn.CrossEntropyLoss(label_smoothing=0.1)
    ),
    "weighted classes": lambda: program(
        mlp(30, 32, 2), cancer(), nn.CrossEntropyLoss(weight=torch.tensor([3.0, 1.0]))
    ),
    "some labels masked": some_masked,
    "squared distance to one-hot": lambda: program(
        mlp(64, 64, 10), digits(), lambda outputs, y: ((outputs - one_hot(y)) ** 2).mean()
    ),
    "many labels at once": lambda: program(
        mlp(64, 64, 10),
        digits(),
        lambda outputs, y: functional.binary_cross_entropy_with_logits(outputs, one_hot(y)),
    ),
    "both flat": lambda: program(
        mlp(10, 32, 1), diabetes(), lambda outputs, y: ((outputs[:, 0] - y[:, 0]) ** 2).mean()
    ),
    "poisson": lambda: program(
        mlp(10, 32, 1), [(x, y + 3) for x, y in diabetes()], nn.PoissonNLLLoss()
    ),
    "a positive target behind softplus": lambda: program(
        nn.Sequential(mlp(10, 32, 1), nn.Softplus()),
        [(x, y / 100) for x, y in diabetes(is_raw=True)],
        nn.MSELoss(),
    ),
    "two views": lambda: _two_views(mlp(64, 64, 10), digits()),
    "raw columns before a batch norm": lambda: program(
        nn.Sequential(nn.BatchNorm1d(30), mlp(30, 32, 2)), cancer(is_raw=True)
    ),
    "30 residual layers": lambda: program(Residual(64, 10, 30), digits()),
    "16 layers with batch norm": lambda: program(
        mlp(64, *[64] * 16, 10, norm=nn.BatchNorm1d), digits()
    ),
    "12 convolutions with batch norm": lambda: program(convnet(depth=12), pictures()),
    "leaky relu": lambda: program(mlp(64, 64, 64, 10, activation=nn.LeakyReLU), digits()),
    "silu": lambda: program(mlp(64, 64, 64, 10, activation=nn.SiLU), digits()),
    "one wide layer": lambda: program(mlp(64, 2048, 10), digits()),
    "orthogonal weights": lambda: program(
        nn.Sequential(nn.utils.parametrizations.orthogonal(nn.Linear(64, 64)), nn.Linear(64, 10)),
        digits(),
    ),
    "a low rate": lambda: program(
        mlp(64, 64, 10), digits(), optimizer=partial(torch.optim.AdamW, lr=1e-5)
    ),
    "a single sample a batch": lambda: program(
        mlp(64, 64, 10), [(x[:1], y[:1]) for x, y in digits()], optimizer=SGD
    ),
    "a bias set to the classes' shares": lambda: program(_with_prior(mlp(30, 32, 2)), cancer()),
}


@torch.no_grad()
def _with_prior(model: nn.Sequential) -> nn.Module:
    model[-1].bias.copy_(torch.tensor([math.log(0.37), math.log(0.63)]))
    return model


ROWS = [Structure(name, (), build) for name, build in BUILDS.items()]
