"""Second blind set, sound programs: losses and last layers that belong together."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812

from benchmarks.healthbench.structures.fresh_data import (
    counts,
    flowers,
    ratings,
    scenes,
    sentences,
    series,
    sums,
    tags,
)
from benchmarks.healthbench.structures.parts import Built
from benchmarks.healthbench.structures.unseen_data import (
    Rows,
    classify,
    flat,
    glyphs,
    letters,
    loop,
    progress,
    tumours,
    wine,
)

ROWS = Rows()


def _mlp(n_in: int, n_out: int, *last: nn.Module, width: int = 32) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, width), nn.ReLU(), nn.Linear(width, n_out), *last)


# ------------------------------------------------------------------ classes


@ROWS.of()
def cross_entropy_of_log_probabilities() -> Built:
    net = _mlp(13, 3, nn.LogSoftmax(dim=-1))
    return classify(net, optim.Adam(net.parameters(), 2e-3), wine())


@ROWS.of()
def brier_score() -> Built:
    net = _mlp(4, 3, nn.Softmax(dim=1))
    opt = optim.Adam(net.parameters(), 5e-3)
    return loop(net, opt, flowers(), lambda x, y: F.mse_loss(net(x), F.one_hot(y, 3).float()))


@ROWS.of()
def one_against_the_rest() -> Built:
    net = _mlp(64, 10)
    opt = optim.SGD(net.parameters(), 0.1, momentum=0.9, nesterov=True)
    bce = nn.BCEWithLogitsLoss()
    return loop(net, opt, flat(), lambda x, y: bce(net(x), F.one_hot(y, 10).float()))


@ROWS.of()
def focal_loss() -> Built:
    net = _mlp(64, 10)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        ce = F.cross_entropy(net(x), y, reduction="none")
        return ((1 - (-ce).exp()) ** 2 * ce).mean()

    return loop(net, optim.Adam(net.parameters(), 1e-3), flat(), loss_of)


@ROWS.of()
def mixup_with_smoothing() -> Built:
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10)
    )

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        share, order = 0.7, torch.randperm(len(x))
        scores = net(share * x + (1 - share) * x[order])
        first = F.cross_entropy(scores, y, label_smoothing=0.1)
        return share * first + (1 - share) * F.cross_entropy(scores, y[order], label_smoothing=0.1)

    return loop(net, optim.AdamW(net.parameters(), 1e-3), glyphs(), loss_of)


@ROWS.of()
def logistic_regression_from_zeros() -> Built:
    net = nn.Linear(30, 1)
    nn.init.zeros_(net.weight)
    nn.init.zeros_(net.bias)
    opt = optim.SGD(net.parameters(), 0.1)
    bce = nn.BCEWithLogitsLoss()
    return loop(net, opt, tumours(), lambda x, y: bce(net(x).flatten(), y.float()))


@ROWS.of()
def svm_of_plus_and_minus_one() -> Built:
    net = nn.Linear(30, 1)
    opt = optim.SGD(net.parameters(), 0.01, weight_decay=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return F.relu(1 - (2 * y - 1) * net(x)[:, 0]).mean()

    return loop(net, opt, tumours(), loss_of)


@ROWS.of()
def margin_over_classes() -> Built:
    net = _mlp(13, 3)
    opt = optim.Adam(net.parameters(), 3e-3)
    return loop(net, opt, wine(), lambda x, y: F.multi_margin_loss(net(x), y))


@ROWS.of()
def ordered_classes_by_thresholds() -> Built:
    class Ordered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = _mlp(13, 1)
            self.cuts = nn.Parameter(torch.tensor([-0.5, 0.5]))

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x) - self.cuts

    net = Ordered()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        above = (y[:, None] > torch.arange(2)).float()
        return F.binary_cross_entropy_with_logits(net(x), above)

    return loop(net, optim.Adam(net.parameters(), 5e-3), wine(), loss_of)


@ROWS.of()
def tags_by_logits() -> Built:
    net = _mlp(10, 5)
    opt = optim.Adam(net.parameters(), 3e-3)
    criterion = nn.MultiLabelSoftMarginLoss()
    return loop(net, opt, tags(), lambda x, y: criterion(net(x), y))


@ROWS.of()
def tags_by_sigmoid_and_bce() -> Built:
    net = _mlp(10, 5, nn.Sigmoid())
    opt = optim.AdamW(net.parameters(), 3e-3)
    return loop(net, opt, tags(), lambda x, y: F.binary_cross_entropy(net(x), y))


@ROWS.of()
def two_columns_for_yes_and_no() -> Built:
    net = _mlp(30, 2, width=8)
    opt = optim.SGD(net.parameters(), 0.05, momentum=0.9)
    return classify(net, opt, tumours(size=16))


@ROWS.of()
def words_with_most_labels_masked() -> Built:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(201, 32, padding_idx=0)
            self.places = nn.Parameter(torch.randn(12, 32) * 0.02)
            layer = nn.TransformerEncoderLayer(32, 4, 64, 0.1, batch_first=True, norm_first=True)
            self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.out = nn.Linear(32, 201)

        def forward(self, ids: Tensor, pad: Tensor) -> Tensor:
            h = self.emb(ids) + self.places
            return self.out(self.body(h, src_key_padding_mask=pad))

    net = Masked()

    def loss_of(ids: Tensor, _: Tensor) -> Tensor:
        hidden = (torch.rand(ids.shape) < 0.15) & (ids != 0)
        labels = ids.masked_fill(~hidden, -100)
        return F.cross_entropy(
            net(ids.masked_fill(hidden, 200), ids == 0).flatten(0, 1), labels.flatten()
        )

    return loop(net, optim.AdamW(net.parameters(), 1e-3), sentences(), loss_of)


@ROWS.of()
def letters_with_tied_weights() -> Built:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(128, 48)
            nn.init.normal_(self.emb.weight, std=0.02)
            self.att = nn.MultiheadAttention(48, 4, batch_first=True)
            self.ff = nn.Sequential(
                nn.LayerNorm(48), nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 48)
            )
            self.norm, self.out = nn.LayerNorm(48), nn.Linear(48, 128, bias=False)
            self.out.weight = self.emb.weight

        def forward(self, ids: Tensor) -> Tensor:
            h = self.emb(ids)
            late = torch.ones(ids.shape[1], ids.shape[1]).triu(1).bool()
            n = self.norm(h)
            h = h + self.att(n, n, n, attn_mask=late, need_weights=False)[0]
            return self.out(h + self.ff(h))

    net = Tied()
    opt = optim.AdamW(net.parameters(), 1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    return loop(net, opt, letters(), lambda x, y: F.cross_entropy(net(x).mT, y))


@ROWS.of()
def ctc_of_log_probabilities() -> Built:
    rnn, head = nn.GRU(3, 32, batch_first=True, bidirectional=True), nn.Linear(64, 5)
    net = nn.ModuleList([rnn, head])

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        log_p = head(rnn(x.mT)[0]).log_softmax(-1).transpose(0, 1)
        wanted = torch.stack([y + 1, (y + 1) % 3 + 1], dim=1)
        sizes = torch.full((len(y),), 40), torch.full((len(y),), 2)
        return F.ctc_loss(log_p, wanted, *sizes)

    return loop(net, optim.Adam(net.parameters(), 2e-3), series(), loss_of)


@ROWS.of()
def squares_found_with_dice_and_bce() -> Built:
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 1, 1),
    )  # fmt: skip

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        scores, wanted = net(x)[:, 0], y.float()
        p = scores.sigmoid()
        dice = 1 - (2 * (p * wanted).sum() + 1) / (p.sum() + wanted.sum() + 1)
        return F.binary_cross_entropy_with_logits(scores, wanted) + dice

    return loop(net, optim.Adam(net.parameters(), 3e-3), scenes(), loss_of)


@ROWS.of()
def classes_by_distance_to_prototypes() -> Built:
    net = _mlp(64, 16, width=64)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        z, half = net(x), len(x) // 2
        known = F.one_hot(y[:half], 10).float()
        centres = known.T @ z[:half] / known.sum(0).clamp(min=1)[:, None]
        return F.cross_entropy(-(torch.cdist(z[half:], centres) ** 2), y[half:])

    return loop(net, optim.Adam(net.parameters(), 1e-3), flat(), loss_of)


# ------------------------------------------------------------------ numbers


@ROWS.of()
def share_between_zero_and_one() -> Built:
    net = _mlp(10, 1, nn.Sigmoid())
    batches = [(x, (y - 25) / 321) for x, y in progress(is_raw=True)]
    opt = optim.Adam(net.parameters(), 3e-3)
    return loop(net, opt, batches, lambda x, y: F.mse_loss(net(x).squeeze(-1), y))


@ROWS.of()
def positive_number_by_softplus() -> Built:
    net = _mlp(6, 1, nn.Softplus())
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(net, opt, counts(), lambda x, y: F.poisson_nll_loss(net(x), y, log_input=False))


@ROWS.of()
def poisson_of_logarithms() -> Built:
    net = _mlp(6, 1)
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(net, opt, counts(), lambda x, y: F.poisson_nll_loss(net(x), y))


@ROWS.of()
def mean_and_variance() -> Built:
    net = _mlp(8, 2)
    nll = nn.GaussianNLLLoss()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        mean, spread = net(x).split(1, dim=1)
        return nll(mean, y, F.softplus(spread) + 1e-3)

    return loop(net, optim.Adam(net.parameters(), 2e-3), sums(), loss_of)


@ROWS.of()
def three_quantiles() -> Built:
    net = _mlp(8, 3)
    level = torch.tensor([0.1, 0.5, 0.9])

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        gap = y - net(x)
        return torch.maximum(level * gap, (level - 1) * gap).mean()

    return loop(net, optim.Adam(net.parameters(), 2e-3), sums(), loss_of)


@ROWS.of()
def mixture_of_normals() -> Built:
    net = _mlp(8, 9, width=48)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        weight, mean, log_std = net(x).chunk(3, dim=1)
        parts = torch.distributions.Normal(mean, log_std.exp()).log_prob(y)
        return -torch.logsumexp(parts + weight.log_softmax(1), dim=1).mean()

    return loop(net, optim.Adam(net.parameters(), 2e-3), sums(), loss_of)


@ROWS.of()
def scaled_back_inside_the_model() -> Built:
    class Scaled(nn.Module):
        def __init__(self, mean: float, std: float) -> None:
            super().__init__()
            self.net = _mlp(10, 1)
            self.register_buffer("mean", torch.tensor(mean))
            self.register_buffer("std", torch.tensor(std))

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x).squeeze(1) * self.std + self.mean

    net = Scaled(152.0, 77.0)
    opt = optim.Adam(net.parameters(), 3e-3)
    batches = progress(is_raw=True)
    return loop(net, opt, batches, lambda x, y: F.mse_loss(net(x) / 77, y / 77))


@ROWS.of()
def ratings_by_two_tables() -> Built:
    class Factors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.users, self.films = nn.Embedding(50, 8), nn.Embedding(80, 8)
            self.more = nn.Embedding(80, 1)
            for table in (self.users, self.films):
                nn.init.normal_(table.weight, std=0.1)
            nn.init.zeros_(self.more.weight)

        def forward(self, pair: Tensor) -> Tensor:
            u, f = pair.unbind(1)
            return (self.users(u) * self.films(f)).sum(1) + self.more(f)[:, 0]

    net = Factors()
    opt = optim.Adam(net.parameters(), 1e-2)
    return loop(net, opt, ratings(), lambda x, y: F.mse_loss(net(x), y))


@ROWS.of()
def bottleneck_of_one_by_intent() -> Built:
    net = nn.Sequential(
        nn.Linear(13, 16),
        nn.Tanh(),
        nn.Linear(16, 1),
        nn.Linear(1, 16),
        nn.Tanh(),
        nn.Linear(16, 13),
    )
    opt = optim.Adam(net.parameters(), 5e-3)
    return loop(net, opt, wine(), lambda x, _: F.mse_loss(net(x), x))


@ROWS.of()
def pixels_cleaned_by_sigmoid_and_bce() -> Built:
    net = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 64), nn.Sigmoid())

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        x = x.flatten(1)
        return F.binary_cross_entropy(net(x + 0.2 * torch.randn_like(x)), x)

    return loop(net, optim.Adam(net.parameters(), 2e-3), glyphs(), loss_of)
