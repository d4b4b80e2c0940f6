"""Sixth set, blind, in pairs: a loss that does not fit, and the sound program nearest to it."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812

from benchmarks.healthbench.structures.fifth_parts import Vae, divergence, pixels
from benchmarks.healthbench.structures.fresh_data import flowers, mlp, scenes, tags, trained
from benchmarks.healthbench.structures.parts import Batch, Built
from benchmarks.healthbench.structures.unseen_data import (
    Rows,
    built,
    classify,
    flat,
    loop,
    progress,
    tumours,
    waves,
    wine,
)

ROWS = Rows()


@ROWS.of("TW305")
def logsigmoid_before_a_loss_of_logits() -> Built:
    net = nn.Sequential(*mlp(30, 32, 1), nn.Flatten(0), nn.LogSigmoid())
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(
        net,
        opt,
        tumours(),
        lambda x, y: F.binary_cross_entropy_with_logits(net(x), y.float()),
    )


@ROWS.of()
def logarithm_of_the_softmax_taken_twice() -> Built:
    """The second changes nothing."""
    net = nn.Sequential(*mlp(64, 48, 10), nn.LogSoftmax(dim=1))
    return classify(net, optim.Adam(net.parameters(), 2e-3), flat())


def _ten_questions(net: nn.Module) -> Built:
    opt = optim.Adam(net.parameters(), 2e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(net(x), F.one_hot(y, 10).float())

    return loop(net, opt, flat(), loss_of)


@ROWS.of("TW305")
def softmax_before_ten_binary_losses() -> Built:
    return _ten_questions(nn.Sequential(*mlp(64, 48, 10), nn.Softmax(dim=-1)))


@ROWS.of()
def ten_binary_losses_for_ten_classes() -> Built:
    return _ten_questions(mlp(64, 48, 10))


def _student(*, is_log: bool) -> Built:
    teacher = trained(mlp(64, 64, 10), flat()).eval().requires_grad_(False)
    net = mlp(64, 32, 10)
    opt = optim.Adam(net.parameters(), 2e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        scores = net(x) / 3
        own = scores.log_softmax(1) if is_log else scores.softmax(1)
        soft = F.kl_div(own, (teacher(x) / 3).softmax(1), reduction="batchmean")
        return 9 * soft

    return loop(net, opt, flat(), loss_of)


@ROWS.of("TW305")
def divergence_of_probabilities_not_their_logs() -> Built:
    return _student(is_log=False)


@ROWS.of()
def divergence_from_a_warm_teacher() -> Built:
    return _student(is_log=True)


def _twins(*, is_signed: bool) -> Built:
    net = mlp(64, 48, 16)
    opt = optim.Adam(net.parameters(), 1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        same = (y[:32] % 3 == y[32:] % 3).float()
        target = 2 * same - 1 if is_signed else same
        return F.cosine_embedding_loss(net(x[:32]), net(x[32:]), target, margin=0.2)

    return loop(net, opt, flat(size=64), loss_of)


@ROWS.of("TW305", "TW203", "TW310", "TW204")
def pairs_told_apart_by_nought_and_one() -> Built:
    """The loss of cosines wants minus one and one; of a nought it takes no notice."""
    return _twins(is_signed=False)


@ROWS.of()
def pairs_told_apart_by_their_sign() -> Built:
    return _twins(is_signed=True)


class _Hearer(nn.Module):
    def __init__(self, *, is_log: bool) -> None:
        super().__init__()
        self.is_log = is_log
        self.body, self.out = nn.GRU(8, 32, batch_first=True), nn.Linear(32, 7)

    def forward(self, x: Tensor) -> Tensor:
        h = self.out(self.body(x)[0])
        return h.log_softmax(-1) if self.is_log else h


def _spoken() -> list[Batch]:
    """Four sounds of five frames each, (n, 20, 8), and what they are, (n, 4), from 1 to 6."""
    draw = torch.Generator().manual_seed(21)
    sounds = torch.randn(7, 8, generator=draw)
    said = torch.randint(1, 7, (160, 4), generator=draw)
    heard = sounds[said].repeat_interleave(5, 1) + 0.2 * torch.randn(160, 20, 8, generator=draw)
    return list(zip(heard.split(16), said.split(16), strict=True))


def _heard(*, is_log: bool) -> Built:
    net = _Hearer(is_log=is_log)
    opt = optim.Adam(net.parameters(), 3e-3)
    frames, sounds = torch.full((16,), 20), torch.full((16,), 4)
    return loop(
        net, opt, _spoken(), lambda x, y: F.ctc_loss(net(x).transpose(0, 1), y, frames, sounds)
    )


@ROWS.of("TW305")
def alignment_of_scores_without_softmax() -> Built:
    return _heard(is_log=False)


@ROWS.of()
def alignment_of_logarithms() -> Built:
    return _heard(is_log=True)


def _uncertain(*, has_log: bool) -> Built:
    net = mlp(10, 48, 2)
    opt = optim.Adam(net.parameters(), 2e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        mean, log_var = net(x).unbind(1)
        error = (y - mean) ** 2 * (-log_var).exp()
        return (error + log_var).mean() / 2 if has_log else error.mean() / 2

    return loop(net, opt, progress(), loss_of)


@ROWS.of("TW305")
def error_over_variance_and_nothing_to_hold_it() -> Built:
    return _uncertain(has_log=False)


@ROWS.of()
def error_over_variance_and_its_logarithm() -> Built:
    return _uncertain(has_log=True)


def _overlap(sign: float) -> Built:
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
    opt = optim.Adam(net.parameters(), 3e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        p, t = net(x).squeeze(1).sigmoid(), y.float()
        return sign * (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)

    return loop(net, opt, scenes(), loss_of)


@ROWS.of("TW305", "TW002", "TW203")
def overlap_made_smaller() -> Built:
    return _overlap(1.0)


@ROWS.of()
def overlap_with_a_minus() -> Built:
    return _overlap(-1.0)


def _mask(mask_of) -> Built:
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(
        net,
        opt,
        scenes(),
        lambda x, y: F.binary_cross_entropy_with_logits(net(x), mask_of(y.float().unsqueeze(1))),
    )


@ROWS.of("TW305", "TW203", "TW208")
def masks_read_from_pictures() -> Built:
    """Nought and 255."""
    return _mask(lambda mask: 255 * mask)


@ROWS.of()
def masks_with_soft_edges() -> Built:
    return _mask(lambda mask: F.avg_pool2d(mask, 3, stride=1, padding=1))


class _Steps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.out = nn.GRU(1, 24, batch_first=True), nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x)[0])


@ROWS.of("TW305")
def forecasts_of_every_moment_against_all_moments() -> Built:
    """(24, 24, 1) minus (24, 24) is (24, 24, 24)."""
    net = _Steps()
    opt = optim.Adam(net.parameters(), 3e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        following = torch.cat([x[:, 1:, 0], y], dim=1)
        return (net(x) - following).abs().mean()

    return loop(net, opt, waves(size=24, length=24), loss_of)


@ROWS.of()
def every_patient_ranked_against_all() -> Built:
    """(32, 1) minus (1, 32), as it is meant."""
    net = mlp(10, 48, 1)
    opt = optim.Adam(net.parameters(), 2e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        scores = net(x)
        return F.softplus(-(scores - scores.T) * (y[:, None] - y).sign()).mean()

    return loop(net, opt, progress(), loss_of)


@ROWS.of("TW305")
def several_tags_under_one_softmax() -> Built:
    net = mlp(10, 32, 5)
    return classify(net, optim.Adam(net.parameters(), 2e-3), tags())


@ROWS.of()
def two_pictures_mixed_under_one_softmax() -> Built:
    net = mlp(64, 48, 10)
    opt = optim.Adam(net.parameters(), 2e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        share, other, t = 0.7, torch.randperm(len(x)), F.one_hot(y, 10).float()
        mixed = share * x + (1 - share) * x[other]
        return F.cross_entropy(net(mixed), share * t + (1 - share) * t[other])

    return loop(net, opt, flat(), loss_of)


@ROWS.of("TW306", "TW305")
def dropout_on_the_scores() -> Built:
    net = nn.Sequential(*mlp(64, 64, 10), nn.Dropout(0.5))
    return classify(net, optim.Adam(net.parameters(), 2e-3), flat())


@ROWS.of()
def dropout_before_the_last_layer() -> Built:
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 10))
    return classify(net, optim.Adam(net.parameters(), 2e-3), flat())


def _latent(weight: float) -> Built:
    net = Vae()
    opt = optim.Adam(net.parameters(), 2e-3)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        scores, mean, log_var = net(x)
        rebuilt = F.binary_cross_entropy_with_logits(scores, x, reduction="none").sum(1).mean()
        return rebuilt + weight * divergence(mean, log_var)

    return loop(net, opt, pixels(), loss_of)


@ROWS.of("TW305", "TW002")
def divergence_with_the_wrong_sign() -> Built:
    return _latent(-1.0)


@ROWS.of()
def divergence_counted_little() -> Built:
    return _latent(0.05)


@ROWS.of("TW305", "TW208")
def output_normed_for_raw_values() -> Built:
    """Values from 25 to 346, and a norm that leaves none beyond 3."""
    net = nn.Sequential(*mlp(10, 48, 1), nn.BatchNorm1d(1, affine=False), nn.Flatten(0))
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(net, opt, progress(is_raw=True), lambda x, y: F.smooth_l1_loss(net(x), y))


@ROWS.of()
def two_views_with_normed_outputs() -> Built:
    """Their correlations are to be one with their own and none with the others."""
    net = nn.Sequential(*mlp(64, 48, 16), nn.BatchNorm1d(16, affine=False))
    opt = optim.Adam(net.parameters(), 2e-3)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        a, b = (net(x + 0.3 * torch.randn_like(x)) for _ in range(2))
        off = a.T @ b / len(x) - torch.eye(16)
        return (off.diagonal() ** 2).sum() + 0.02 * (off - off.diagonal().diag()).square().sum()

    return loop(net, opt, flat(), loss_of)


def _weighted(net: nn.Module, weight: Tensor, batches: list[Batch]) -> Built:
    opt = optim.Adam(net.parameters(), 2e-3)

    def step(batch: Batch) -> Tensor:
        x, y = batch
        loss = F.cross_entropy(net(x), y, weight=weight, reduction="none").mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    return built(net, opt, batches, step)


@ROWS.of("TW310", "TW305", "TW309", "TW005")
def shares_of_classes_by_whole_division() -> Built:
    count = torch.cat([y for _, y in wine()]).bincount()
    return _weighted(mlp(13, 32, 3), (count // count.sum()).float(), wine())


@ROWS.of()
def one_class_left_out_by_its_weight() -> Built:
    return _weighted(mlp(4, 32, 3), torch.tensor([0.0, 1.0, 1.0]), flowers())
