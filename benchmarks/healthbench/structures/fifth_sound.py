"""Sound programs, fourth blind set: losses and outputs that only look like mistakes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812

from benchmarks.healthbench.structures.fifth_parts import UNet, Vae, divergence, pixels
from benchmarks.healthbench.structures.fresh_data import (
    counts,
    flowers,
    mlp,
    scenes,
    sentences,
    series,
    sums,
    tags,
)
from benchmarks.healthbench.structures.parts import Built
from benchmarks.healthbench.structures.unseen_data import (
    Rows,
    convnet,
    flat,
    glyphs,
    loop,
    progress,
    tumours,
    waves,
    wine,
)

ROWS = Rows()


@ROWS.of()
def counts_behind_a_softplus() -> Built:
    net = nn.Sequential(*mlp(6, 32, 1), nn.Softplus())
    opt = optim.Adam(net.parameters(), 3e-3)
    return loop(net, opt, counts(), lambda x, y: F.poisson_nll_loss(net(x), y, log_input=False))


@ROWS.of()
def logarithm_taken_after_the_softmax() -> Built:
    net = nn.Sequential(*mlp(13, 48, 3), nn.Softmax(dim=1))
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(net, opt, wine(), lambda x, y: F.nll_loss(torch.log(net(x) + 1e-8), y))


@ROWS.of()
def two_maps_of_softmax_and_dice() -> Built:
    net = UNet(2)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        scores = net(x)
        p = scores.softmax(1)[:, 1].flatten(1)
        t = y.flatten(1).float()
        dice = 1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)
        return F.cross_entropy(scores, y) + dice.mean()

    return loop(net, optim.Adam(net.parameters(), 1e-3), scenes(), loss_of)


@ROWS.of()
def focal_loss_of_many_labels() -> Built:
    net = mlp(10, 48, 5)
    nn.init.constant_(net[-1].bias, -2.0)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        z = net(x)
        each = F.binary_cross_entropy_with_logits(z, y, reduction="none")
        p = torch.sigmoid(z)
        return ((1 - (p * y + (1 - p) * (1 - y))) ** 2 * each).sum() / len(x)

    return loop(net, optim.Adam(net.parameters(), 1e-3), tags(), loss_of)


@ROWS.of()
def three_quantiles_of_one_number() -> Built:
    net, quantiles = mlp(8, 48, 3), torch.tensor([0.1, 0.5, 0.9])

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        off = y - net(x)
        return torch.maximum(quantiles * off, (quantiles - 1) * off).mean()

    return loop(net, optim.Adam(net.parameters(), 2e-3), sums(), loss_of)


@ROWS.of()
def mixture_of_normals() -> Built:
    net = mlp(10, 48, 15)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        weight, mean, log_std = net(x).chunk(3, dim=1)
        each = -0.5 * ((y[:, None] - mean) / log_std.exp()) ** 2 - log_std
        return -(F.log_softmax(weight, 1) + each).logsumexp(1).mean()

    return loop(net, optim.Adam(net.parameters(), 1e-3), progress(), loss_of)


@ROWS.of()
def taught_by_a_softened_teacher() -> Built:
    teacher, student = convnet().eval().requires_grad_(False), convnet()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            soft = F.softmax(teacher(x) / 4, dim=1)
        z = student(x)
        apart = F.kl_div(F.log_softmax(z / 4, dim=1), soft, reduction="batchmean")
        return 0.5 * F.cross_entropy(z, y) + 8 * apart

    return loop(student, optim.AdamW(student.parameters(), 1e-3), glyphs(), loss_of)


@ROWS.of()
def labels_mixed_with_other_rows() -> Built:
    net = convnet()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        share = torch.distributions.Beta(0.4, 0.4).sample()
        other = torch.randperm(len(x))
        z = net(share * x + (1 - share) * x[other])
        return share * F.cross_entropy(z, y) + (1 - share) * F.cross_entropy(z, y[other])

    return loop(net, optim.SGD(net.parameters(), 0.05, momentum=0.9), glyphs(), loss_of)


@ROWS.of()
def rare_class_weighted() -> Built:
    net = mlp(13, 48, 3)
    criterion = nn.CrossEntropyLoss(torch.tensor([0.5, 0.4, 2.1]), label_smoothing=0.1)
    opt = optim.Adam(net.parameters(), 1e-3)
    return loop(net, opt, wine(), lambda x, y: criterion(net(x), y))


@ROWS.of()
def reconstruction_and_divergence_summed() -> Built:
    net = Vae()

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        logits, mean, log_var = net(x)
        shown = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        return shown + 0.5 * divergence(mean, log_var)

    return loop(net, optim.Adam(net.parameters(), 1e-3), pixels(), loss_of)


@ROWS.of()
def digits_cleaned_of_noise() -> Built:
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 1, 3, padding=1), nn.Sigmoid(),
    )  # fmt: skip

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        return F.mse_loss(net((x + 0.2 * torch.randn_like(x)).clamp(0, 1)), x)

    return loop(net, optim.Adam(net.parameters(), 2e-3), glyphs(), loss_of)


@ROWS.of()
def two_views_told_from_the_others() -> Built:
    net = mlp(64, 64, 16)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        one, two = (F.normalize(net(x + 0.3 * torch.randn_like(x)), dim=1) for _ in range(2))
        return F.cross_entropy(one @ two.T / 0.1, torch.arange(len(x)))

    return loop(net, optim.Adam(net.parameters(), 1e-3), flat(), loss_of)


@ROWS.of()
def distances_kept_off_zero() -> Built:
    net = mlp(13, 32, 8)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        apart = F.pairwise_distance(net(x[::2]), net(x[1::2]))
        same = (y[::2] == y[1::2]).float()
        return (same * apart**2 + (1 - same) * F.relu(2 - apart) ** 2).mean()

    return loop(net, optim.Adam(net.parameters(), 1e-3), wine(), loss_of)


@ROWS.of()
def scaled_cosines_with_a_margin() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.w = mlp(64, 64, 32), nn.Parameter(torch.randn(10, 32))

        def forward(self, x: Tensor) -> Tensor:
            return F.normalize(self.body(x)) @ F.normalize(self.w).T

    net = Net()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(24.0 * (net(x) - 0.2 * F.one_hot(y, 10)), y)

    return loop(net, optim.SGD(net.parameters(), 0.01, momentum=0.9), flat(), loss_of)


@ROWS.of()
def grades_by_thresholds_passed() -> Built:
    class Grades(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.score = mlp(4, 24, 1)
            self.cuts = nn.Parameter(torch.tensor([-0.5, 0.5]))

        def forward(self, x: Tensor) -> Tensor:
            return self.score(x) - self.cuts

    net = Grades()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        passed = (y[:, None] > torch.arange(2)).float()
        return F.binary_cross_entropy_with_logits(net(x), passed)

    return loop(net, optim.Adam(net.parameters(), 1e-2), flowers(), loss_of)


@ROWS.of()
def risk_by_who_fell_ill_first() -> Built:
    net = nn.Linear(10, 1, bias=False)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        risk = net(x[y.argsort(descending=True)]).squeeze(1)
        return -(risk - risk.logcumsumexp(0)).mean()

    return loop(net, optim.Adam(net.parameters(), 1e-2), progress(), loss_of)


@ROWS.of()
def words_spelled_without_alignment() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(3, 32, batch_first=True, bidirectional=True)
            self.out = nn.Linear(64, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x.mT)[0]).log_softmax(2)

    net, criterion = Net(), nn.CTCLoss(zero_infinity=True)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        n = len(x)
        targets = torch.stack([y + 1, (y + 1) % 4 + 1], dim=1)
        times, lengths = torch.full((n,), 40), torch.full((n,), 2)
        return criterion(net(x).transpose(0, 1), targets, times, lengths)

    return loop(net, optim.Adam(net.parameters(), 2e-3), series(), loss_of)


@ROWS.of()
def width_of_the_error_learned_too() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.LSTM(1, 24, batch_first=True), nn.Linear(24, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            mean, log_var = self.out(self.rnn(x)[1][0][-1]).chunk(2, dim=1)
            return mean, log_var.clamp(-6, 6)

    net = Net()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        mean, log_var = net(x)
        return 0.5 * ((y - mean) ** 2 / log_var.exp() + log_var + math.log(6.283)).mean()

    return loop(net, optim.Adam(net.parameters(), 3e-3), waves(), loss_of)


@ROWS.of()
def hinge_of_signs() -> Built:
    net = nn.Linear(30, 1)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        sign = 2 * y.float() - 1
        return F.relu(1 - sign * net(x)[:, 0]).mean() + 1e-3 * net.weight.square().sum()

    return loop(net, optim.SGD(net.parameters(), 0.02), tumours(), loss_of)


@ROWS.of()
def two_tasks_and_a_label_that_is_often_missing() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(64, 48), nn.GELU(), nn.Dropout(0.1))
            self.digit, self.parity = nn.Linear(48, 10), nn.Linear(48, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(x)
            return self.digit(h), self.parity(h)[:, 0]

    net = Net()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        digit, parity = net(x)
        known = torch.arange(len(y)) % 4 == 0
        label = torch.where(known, y, -100)
        even = F.binary_cross_entropy_with_logits(parity, (y % 2).float())
        return F.cross_entropy(digit, label) + 0.3 * even

    return loop(net, optim.AdamW(net.parameters(), 1e-3), flat(), loss_of)


@ROWS.of()
def long_and_short_lines_as_one_probability() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.EmbeddingBag(200, 16, mode="mean", padding_idx=0)
            self.out = nn.Sequential(nn.Linear(16, 1), nn.Sigmoid())

        def forward(self, ids: Tensor) -> Tensor:
            return self.out(self.words(ids)).squeeze(-1)

    net, criterion = Net(), nn.BCELoss()
    opt = optim.Adam(net.parameters(), 5e-3)
    return loop(net, opt, sentences(), lambda x, y: criterion(net(x), y.float()))
