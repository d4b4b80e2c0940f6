"""Sixth set, blind, in pairs: starts, rates, data and masks with a slip, and the sound nearest."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.healthbench.structures.fifth_parts import Writer
from benchmarks.healthbench.structures.fresh_data import mlp, sentences, sums
from benchmarks.healthbench.structures.parts import Batch, Built
from benchmarks.healthbench.structures.unseen_data import (
    Rows,
    built,
    classify,
    flat,
    glyphs,
    letters,
    loop,
    waves,
    wine,
)

ROWS = Rows()


def _digits(
    net: nn.Module, opt: optim.Optimizer, *, before: Callable = int, after: Callable = int
) -> Built:
    """The usual step, and something before and after it."""

    def step(batch: Batch) -> Tensor:
        before()
        loss = F.cross_entropy(net(batch[0]), batch[1])
        opt.zero_grad()
        loss.backward()
        opt.step()
        after()
        return loss

    return built(net, opt, flat(), step)


def _scheduled(rate: float, share: Callable[[int], float], *, is_stepped: bool = True) -> Built:
    net = mlp(64, 48, 10)
    opt = optim.SGD(net.parameters(), rate, momentum=0.9)
    plan = LambdaLR(opt, share)
    return _digits(net, opt, after=plan.step if is_stepped else int)


@ROWS.of("TW102", "TW105")
def rate_where_its_share_is_wanted() -> Built:
    """A rate times a rate."""
    return _scheduled(3e-3, lambda at: 3e-3 * 0.99**at)


@ROWS.of()
def rate_of_one_and_the_plan_gives_the_rest() -> Built:
    return _scheduled(1.0, lambda at: 0.05 * min((at + 1) / 4, (4 / (at + 1)) ** 0.5))


@ROWS.of("TW105", "TW102", "TW307")
def slow_start_that_nobody_goes_on_with() -> Built:
    return _scheduled(0.05, lambda at: min(1.0, at / 20), is_stepped=False)


@ROWS.of()
def slow_start_from_nothing() -> Built:
    return _scheduled(0.05, lambda at: min(1.0, at / 20))


def _averaged(*, is_kept_apart: bool) -> Built:
    net = mlp(64, 48, 10)
    opt = optim.AdamW(net.parameters(), 2e-3)
    slow, seen = deepcopy(net), []

    def after() -> None:
        seen.append(1)
        share = 0.001 if not is_kept_apart else 0.5
        if is_kept_apart and len(seen) % 5:
            return
        with torch.no_grad():
            for old, new in zip(slow.parameters(), net.parameters(), strict=True):
                old.lerp_(new, share)
        net.load_state_dict(slow.state_dict())

    return _digits(net, opt, after=after)


@ROWS.of("TW307", "TW102", "TW401")
def average_loaded_into_the_net_it_averages() -> Built:
    return _averaged(is_kept_apart=False)


@ROWS.of()
def look_ahead_and_half_way_back() -> Built:
    """Every fifth step."""
    return _averaged(is_kept_apart=True)


@ROWS.of("TW303", "TW307", "TW102")
def weights_drawn_anew_before_every_step() -> Built:
    net = mlp(64, 48, 10)
    opt = optim.Adam(net.parameters(), 2e-3)

    def before() -> None:
        for layer in net:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()

    return _digits(net, opt, before=before)


@ROWS.of()
def weights_shortened_after_every_step() -> Built:
    net = mlp(64, 48, 10)
    opt = optim.Adam(net.parameters(), 2e-3)

    def after() -> None:
        with torch.no_grad():
            for layer in (net[0], net[2]):
                layer.weight.renorm_(2, 0, 0.8)

    return _digits(net, opt, after=after)


@ROWS.of("TW401", "TW001", "TW402")
def adam_on_weights_in_half() -> Built:
    """Its eps of 1e-8 is nothing in half precision, and so are the squares of small gradients."""
    net = mlp(64, 48, 10).half()
    opt = optim.Adam(net.parameters(), 1e-3)
    return classify(net, opt, [(x.half(), y) for x, y in flat()])


@ROWS.of()
def adam_on_weights_in_full_and_the_rest_in_half() -> Built:
    net = mlp(64, 48, 10)
    opt = optim.Adam(net.parameters(), 1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = net(x)
        return F.cross_entropy(scores.float(), y)

    return loop(net, opt, flat(), loss_of)


def _scaled(*, is_unscaled: bool) -> Built:
    net = mlp(64, 48, 10)
    opt = optim.SGD(net.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu")

    def step(batch: Batch) -> Tensor:
        loss = F.cross_entropy(net(batch[0]), batch[1])
        opt.zero_grad()
        scaler.scale(loss).backward()
        if is_unscaled:
            scaler.unscale_(opt)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        scaler.step(opt)
        scaler.update()
        return loss

    return built(net, opt, flat(), step)


@ROWS.of("TW102", "TW005", "TW402")
def gradients_clipped_while_scaled() -> Built:
    return _scaled(is_unscaled=False)


@ROWS.of()
def gradients_clipped_when_unscaled() -> Built:
    return _scaled(is_unscaled=True)


def _pictures(top: float) -> Built:
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(384, 10),
    )
    batches = [((x - 0.485) / 0.229, y) for x, y in glyphs(top=top)]
    return classify(net, optim.Adam(net.parameters(), 2e-3), batches)


@ROWS.of("TW208")
def mean_and_deviation_of_another_scale() -> Built:
    """Those of pixels up to 1, and the pixels reach 255."""
    return _pictures(255.0)


@ROWS.of()
def mean_and_deviation_of_other_pictures() -> Built:
    return _pictures(1.0)


@ROWS.of("TW205")
def answer_left_among_the_columns() -> Built:
    net = mlp(14, 32, 3)
    batches = [(torch.cat([x, y[:, None].float()], 1), y) for x, y in wine()]
    return classify(net, optim.Adam(net.parameters(), 2e-3), batches)


@ROWS.of()
def answer_of_a_moment_ago_among_the_columns() -> Built:
    net = mlp(30, 32, 1)
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(net, opt, waves(), lambda x, y: F.mse_loss(net(x.squeeze(2)), y))


class _Forecast(nn.Module):
    """(n, t, 1) -> (n, 1)."""

    def __init__(self, *first: nn.Module, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(*first)
        self.body, self.out = nn.GRU(width, 24, batch_first=True), nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(self.first(x))[0][:, -1])


def _foretold(net: nn.Module) -> Built:
    opt = optim.Adam(net.parameters(), 3e-3)
    return loop(net, opt, waves(), lambda x, y: F.mse_loss(net(x), y))


@ROWS.of("TW303", "TW305", "TW005", "TW208", "TW301", "TW309")
def norm_over_a_width_of_one() -> Built:
    """A number less itself is nothing: no value of the series reaches the net."""
    return _foretold(_Forecast(nn.LayerNorm(1), width=1))


@ROWS.of()
def norm_over_a_width_of_sixteen() -> Built:
    return _foretold(_Forecast(nn.Linear(1, 16), nn.LayerNorm(16), width=16))


@ROWS.of("TW303", "TW004", "TW302", "TW101")
def weights_uniform_from_nought_to_one() -> Built:
    net = mlp(64, 128, 128, 10)
    for weight in net.parameters():
        nn.init.uniform_(weight)
    return classify(net, optim.Adam(net.parameters(), 1e-3), flat())


class _Rising(nn.Module):
    """Weights above nought: the output rises with every input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = (nn.Parameter(torch.randn(n) - 3) for n in ((8, 32), (32, 1)))
        self.offset, self.level = nn.Parameter(torch.randn(32)), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(x @ F.softplus(self.first) + self.offset)
        return h @ F.softplus(self.last) + self.level


@ROWS.of()
def weights_above_nought_on_purpose() -> Built:
    net = _Rising()
    opt = optim.Adam(net.parameters(), 5e-3)
    batches = [(x, (x.exp() / 3).mean(1, keepdim=True)) for x, _ in sums()]
    return loop(net, opt, batches, lambda x, y: F.mse_loss(net(x), y))


class _Blocks(nn.Module):
    def __init__(self, join: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.join = join
        self.first, self.out = nn.Linear(64, 48), nn.Linear(48, 10)
        self.blocks = nn.ModuleList(mlp(48, 48, 48) for _ in range(6))

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for block in self.blocks:
            h = self.join(h, block(h))
        return self.out(h)


def _joined(join: Callable[[Tensor, Tensor], Tensor]) -> Built:
    net = _Blocks(join)
    return classify(net, optim.Adam(net.parameters(), 2e-3), flat())


@ROWS.of("TW005", "TW304", "TW303")
def blocks_that_multiply_where_they_should_add() -> Built:
    return _joined(lambda h, change: h * change)


@ROWS.of()
def blocks_that_open_and_close_what_passes() -> Built:
    return _joined(lambda h, change: h * 2 * change.sigmoid())


class _Look(nn.Module):
    """(n, t) ids -> (n, 2): attention by hand, then a mean over the words."""

    def __init__(self, *, is_inverted: bool) -> None:
        super().__init__()
        self.is_inverted = is_inverted
        self.emb, self.keys, self.out = nn.Embedding(200, 32), nn.Linear(32, 32), nn.Linear(32, 2)

    def forward(self, ids: Tensor) -> Tensor:
        h, words = self.emb(ids), ids != 0
        scores = self.keys(h) @ h.transpose(1, 2) / 32**0.5
        hidden = words if self.is_inverted else ~words
        h = scores.masked_fill(hidden[:, None], -torch.inf).softmax(-1) @ h
        return self.out((h * words[:, :, None]).sum(1) / words.sum(1, keepdim=True))


def _read(*, is_inverted: bool) -> Built:
    net = _Look(is_inverted=is_inverted)
    return classify(net, optim.Adam(net.parameters(), 2e-3), sentences())


@ROWS.of("TW001", "TW310")
def words_hidden_and_gaps_shown() -> Built:
    """A line without a gap has nothing left to look at, and its softmax is not a number."""
    return _read(is_inverted=True)


@ROWS.of()
def gaps_hidden_by_minus_infinity() -> Built:
    return _read(is_inverted=False)


def _cloze(*, is_of_hidden: bool) -> Built:
    """Letters are hidden (id 1) and foretold."""
    net = Writer(is_causal=False)
    opt = optim.AdamW(net.parameters(), 2e-3)
    draw = torch.Generator().manual_seed(8)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        hidden = torch.rand(x.shape, generator=draw) < 0.15
        labels = x.masked_fill(~hidden if is_of_hidden else hidden, -100)
        return F.cross_entropy(net(x.masked_fill(hidden, 1)).flatten(0, 1), labels.flatten())

    return loop(net, opt, letters(), loss_of)


@ROWS.of("TW205", "TW203", "TW310")
def hidden_letters_left_out_of_the_loss() -> Built:
    """Only those that the input shows are asked for."""
    return _cloze(is_of_hidden=False)


@ROWS.of()
def hidden_letters_alone_in_the_loss() -> Built:
    return _cloze(is_of_hidden=True)
