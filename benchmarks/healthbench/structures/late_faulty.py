"""Faulty programs of other kinds, written after the checks were last mended."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812

from benchmarks.healthbench.structures.fresh_data import flowers, sentences, series, sums
from benchmarks.healthbench.structures.parts import Batch, Built
from benchmarks.healthbench.structures.unseen_data import (
    Rows,
    built,
    classify,
    flat,
    glyphs,
    letters,
    loop,
    tumours,
    waves,
    wine,
)

ROWS = Rows()


def _mlp(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, 40), nn.ReLU(), nn.Linear(40, n_out))


@ROWS.of("TW307", "TW309")
def parameter_made_anew_in_the_forward_pass() -> Built:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(40, 64) / 8)
            self.out = nn.Linear(40, 10)

        def forward(self, x: Tensor) -> Tensor:
            self.w = nn.Parameter(F.normalize(self.w, dim=1))
            return self.out(F.relu(x @ self.w.T))

    net = Normed()
    return classify(net, optim.Adam(net.parameters(), 1e-3), flat())


@ROWS.of("TW309", "TW307")
def matrix_wrapped_in_a_tensor() -> Built:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Parameter(torch.eye(13) + 0.1 * torch.randn(13, 13))
            self.net = _mlp(13, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x @ self.mix.clone().detach())

    net = Mixed()
    return classify(net, optim.Adam(net.parameters(), 1e-3), wine())


@ROWS.of("TW205", "TW305", "TW203")
def letters_to_be_found_are_those_given() -> Built:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.rnn = nn.Embedding(128, 24), nn.GRU(24, 48, batch_first=True)
            self.out = nn.Linear(48, 128)

        def forward(self, ids: Tensor) -> Tensor:
            return self.out(self.rnn(self.emb(ids))[0])

    net = Model()
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(net, opt, letters(), lambda x, _: F.cross_entropy(net(x).mT, x))


@ROWS.of("TW001", "TW310")
def words_all_kept_out_of_sight() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(200, 32)
            self.att = nn.MultiheadAttention(32, 2, batch_first=True)
            self.out = nn.Linear(32, 2)

        def forward(self, ids: Tensor) -> Tensor:
            h = self.emb(ids)
            h = self.att(h, h, h, key_padding_mask=ids >= 0)[0]
            return self.out(h.mean(1))

    net = Net()
    return classify(net, optim.Adam(net.parameters(), 1e-3), sentences())


@ROWS.of("TW307")
def body_counted_before_it_was_given() -> Built:
    net = _mlp(30, 2)
    body, head = net[0].parameters(), net[2].parameters()
    print(end="" if sum(p.numel() for p in body) else " ")
    opt = optim.SGD([{"params": list(body)}, {"params": list(head)}], lr=0.05)
    return classify(net, opt, tumours())


@ROWS.of("TW305")
def column_of_sample_weights() -> Built:
    net = _mlp(13, 3)
    weight = torch.linspace(0.5, 1.5, 32)[:, None]

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return (weight * F.cross_entropy(net(x), y, reduction="none")).mean()

    return loop(net, optim.Adam(net.parameters(), 2e-3), wine(), loss_of)


@ROWS.of("TW305")
def cosines_as_scores() -> Built:
    class Cosine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.w = nn.Linear(64, 32), nn.Parameter(torch.randn(10, 32))

        def forward(self, x: Tensor) -> Tensor:
            return F.normalize(self.body(x), dim=1) @ F.normalize(self.w, dim=1).T

    net = Cosine()
    return classify(net, optim.Adam(net.parameters(), 1e-3), flat())


@ROWS.of("TW309", "TW307")
def second_head_measured_and_not_trained() -> Built:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(64, 48), nn.ReLU())
            self.digit, self.parity = nn.Linear(48, 10), nn.Linear(48, 2)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(x)
            return self.digit(h), self.parity(h)

    net = Both()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        digit, parity = net(x)
        with torch.no_grad():
            extra = F.cross_entropy(parity, y % 2)
        return F.cross_entropy(digit, y) + extra

    return loop(net, optim.Adam(net.parameters(), 1e-3), flat(), loss_of)


@ROWS.of("TW309", "TW307")
def body_in_inference_mode() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Sequential(nn.Conv1d(3, 16, 5), nn.ReLU())
            self.out = nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            with torch.inference_mode():
                h = self.conv(x).mean(2)
            return self.out(h.clone())

    net = Net()
    return classify(net, optim.Adam(net.parameters(), 1e-3), series())


@ROWS.of("TW208")
def scaled_by_the_statistics_of_bytes() -> Built:
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(432, 48),
        nn.ReLU(),
        nn.Linear(48, 10),
    )
    batches = [((x - 127.5) / 58.0, y) for x, y in glyphs()]
    return classify(net, optim.SGD(net.parameters(), 0.05), batches)


@ROWS.of("TW208")
def waves_in_another_unit() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.LSTM(1, 32, batch_first=True), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[0][:, -1])

    net = Net()
    batches = [(x * 1e-6, y) for x, y in waves()]
    opt = optim.Adam(net.parameters(), 1e-3)
    return loop(net, opt, batches, lambda x, y: F.mse_loss(net(x), y))


@ROWS.of("TW303", "TW309", "TW005", "TW301")
def all_vectors_set_to_zero_scales_too() -> Built:
    net = nn.Sequential(
        nn.Linear(64, 48), nn.LayerNorm(48), nn.GELU(), nn.Linear(48, 48), nn.LayerNorm(48),
        nn.GELU(), nn.Linear(48, 10),
    )  # fmt: skip
    for p in net.parameters():
        if p.dim() > 1:
            nn.init.xavier_uniform_(p)
        else:
            nn.init.zeros_(p)
    return classify(net, optim.Adam(net.parameters(), 1e-3), flat())


@ROWS.of("TW305")
def logarithm_of_cut_off_scores() -> Built:
    net = nn.Sequential(*_mlp(4, 3), nn.ReLU())
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(net, opt, flowers(), lambda x, y: F.nll_loss(torch.log(net(x) + 1e-8), y))


@ROWS.of("TW307", "TW309")
def optimizer_of_the_average() -> Built:
    net = _mlp(8, 1)
    average = copy.deepcopy(net)
    opt = optim.Adam(average.parameters(), 3e-3)

    def step(batch: Batch) -> Tensor:
        opt.zero_grad()
        loss = F.mse_loss(net(batch[0]), batch[1])
        loss.backward()
        opt.step()
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), net.parameters(), strict=True):
                slow.lerp_(fast, 0.01)
        return loss

    return built(net, opt, sums(), step)


@ROWS.of("TW307")
def layer_kept_by_a_function() -> Built:
    def projected(size: int):
        layer = nn.Linear(size, 32)
        return lambda x: F.relu(layer(x))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project, self.out = projected(13), nn.Linear(32, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.project(x))

    net = Net()
    return classify(net, optim.Adam(net.parameters(), 1e-3), wine())


@ROWS.of("TW309", "TW307", "TW104", "TW005")
def gradients_masked_away() -> Built:
    net = _mlp(4, 3)
    for p in net.parameters():
        p.register_hook(lambda g: g * torch.zeros_like(g))
    return classify(net, optim.Adam(net.parameters(), 1e-3), flowers())


@ROWS.of("TW309", "TW301", "TW104", "TW305")
def loss_held_below_one() -> Built:
    net = _mlp(64, 10)
    opt = optim.SGD(net.parameters(), 0.1)
    return loop(net, opt, flat(), lambda x, y: F.cross_entropy(net(x), y).clamp(max=1.0))


@ROWS.of("TW102", "TW307", "TW401")
def rate_with_a_slip_of_the_pen() -> Built:
    net = _mlp(30, 2)
    return classify(net, optim.Adam(net.parameters(), lr=1e-13), tumours())


@ROWS.of("TW001", "TW303")
def weight_that_is_not_a_number() -> Built:
    net = _mlp(4, 3)
    net[0].weight.data[0, 0] = float("nan")
    return classify(net, optim.Adam(net.parameters(), 1e-3), flowers())


@ROWS.of("TW204", "TW206", "TW310")
def labels_all_of_one_class() -> Built:
    net = _mlp(13, 3)
    batches = [(x, y[:, None].argmax(1)) for x, y in wine()]
    return classify(net, optim.Adam(net.parameters(), 1e-3), batches)
