"""Sixth set, blind, in pairs: a graph or a loop with a slip, and the sound one nearest to it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import parametrizations

from benchmarks.healthbench.structures.fresh_data import mlp, ratings, sums
from benchmarks.healthbench.structures.parts import Batch, Built
from benchmarks.healthbench.structures.unseen_data import Rows, built, classify, flat, loop
from benchmarks.healthbench.structures.unseen_data import letters as lines
from benchmarks.healthbench.structures.unseen_data import waves as series

ROWS = Rows()


class _TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, 48), nn.ReLU())
        self.digit, self.ink = nn.Linear(48, 10), nn.Linear(48, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.digit(h), self.ink(h).squeeze(1)

    def losses(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        digit, ink = self(x)
        return F.cross_entropy(digit, y), F.mse_loss(ink, x.mean(1))


@ROWS.of("TW309", "TW307")
def second_loss_added_as_a_number() -> Built:
    net = _TwoHeads()
    opt = optim.Adam(net.parameters(), 2e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        digit, ink = net.losses(x, y)
        return digit + 0.5 * ink.item()

    return loop(net, opt, flat(), loss_of)


@ROWS.of()
def second_loss_balanced_by_numbers() -> Built:
    """Both count alike: each is divided by its own size, which is only a number."""
    net = _TwoHeads()
    opt = optim.Adam(net.parameters(), 2e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        digit, ink = net.losses(x, y)
        return digit + ink * (digit.item() / (ink.item() + 1e-6))

    return loop(net, opt, flat(), loss_of)


@ROWS.of("TW307", "TW308", "TW309")
def gradients_of_the_first_loss_zeroed() -> Built:
    net = _TwoHeads()
    opt = optim.Adam(net.parameters(), 2e-3)

    def step(batch: Batch) -> Tensor:
        digit = net.losses(*batch)[0]
        opt.zero_grad()
        digit.backward()
        ink = net.losses(*batch)[1]
        opt.zero_grad()
        ink.backward()
        opt.step()
        return digit.detach() + ink

    return built(net, opt, flat(), step)


@ROWS.of()
def gradients_taken_uphill_and_zeroed() -> Built:
    """Sharpness-aware: the first gradient only says where the second is to be taken."""
    net = mlp(64, 48, 10)
    opt = optim.SGD(net.parameters(), 0.1)

    def step(batch: Batch) -> Tensor:
        x, y = batch
        loss = F.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        moves = [0.05 * p.grad / (p.grad.norm() + 1e-9) for p in net.parameters()]
        with torch.no_grad():
            torch._foreach_add_(list(net.parameters()), moves)
        opt.zero_grad()
        F.cross_entropy(net(x), y).backward()
        with torch.no_grad():
            torch._foreach_sub_(list(net.parameters()), moves)
        opt.step()
        return loss

    return built(net, opt, flat(), step)


def _forger(*, is_cut: bool) -> Built:
    maker, critic = mlp(8, 32, 64), mlp(64, 32, 1, act=nn.LeakyReLU)
    opt, other = (optim.Adam(m.parameters(), 1e-3, (0.5, 0.999)) for m in (maker, critic))
    judge = F.binary_cross_entropy_with_logits

    def step(batch: Batch) -> Tensor:
        ones, noughts = torch.ones(len(batch[0]), 1), torch.zeros(len(batch[0]), 1)
        fake = maker(torch.randn(len(batch[0]), 8))
        other.zero_grad()
        (judge(critic(batch[0]), ones) + judge(critic(fake.detach()), noughts)).backward()
        other.step()
        critic.requires_grad_(is_cut)
        loss = judge(critic(fake.detach() if is_cut else fake), ones)
        opt.zero_grad()
        loss.backward()
        opt.step()
        critic.requires_grad_(True)
        return loss

    return Built(maker, opt, judge, flat(), step, [other])


@ROWS.of("TW309", "TW307")
def forgeries_detached_for_the_forger_too() -> Built:
    return _forger(is_cut=True)


@ROWS.of()
def critic_held_still_for_the_forger() -> Built:
    return _forger(is_cut=False)


@ROWS.of("TW309", "TW307")
def share_of_errors_told_to_need_a_gradient() -> Built:
    net = mlp(64, 48, 10)
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(
        net, opt, flat(), lambda x, y: (net(x).argmax(1) != y).float().mean().requires_grad_()
    )


@ROWS.of()
def share_of_errors_as_a_reward() -> Built:
    net = mlp(64, 48, 10)
    opt = optim.Adam(net.parameters(), 2e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        choice = torch.distributions.Categorical(logits=net(x))
        picked = choice.sample()
        reward = (picked == y).float()
        return -((reward - reward.mean()) * choice.log_prob(picked)).mean()

    return loop(net, opt, flat(), loss_of)


class _Taste(nn.Module):
    def __init__(self, *, is_data: bool) -> None:
        super().__init__()
        self.is_data = is_data
        self.users, self.films = nn.Embedding(50, 8), nn.Embedding(80, 8)
        self.out = mlp(16, 16, 1)

    def forward(self, pairs: Tensor) -> Tensor:
        tables = (self.users.weight, self.films.weight)
        users, films = (t.data for t in tables) if self.is_data else tables
        return self.out(torch.cat([users[pairs[:, 0]], films[pairs[:, 1]]], 1)).squeeze(1)


def _rated(*, is_data: bool) -> Built:
    net = _Taste(is_data=is_data)
    opt = optim.Adam(net.parameters(), 5e-3)
    return loop(net, opt, ratings(), lambda x, y: F.mse_loss(net(x), y))


@ROWS.of("TW309", "TW307")
def vectors_looked_up_in_the_data() -> Built:
    return _rated(is_data=True)


@ROWS.of()
def vectors_looked_up_in_the_weight() -> Built:
    return _rated(is_data=False)


class _Experts(nn.Module):
    def __init__(self, *, is_weighted: bool) -> None:
        super().__init__()
        self.is_weighted = is_weighted
        self.gate = nn.Linear(8, 3)
        self.experts = nn.ModuleList(mlp(8, 24, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        share, at = self.gate(x).softmax(1).max(1, keepdim=True)
        every = torch.cat([expert(x) for expert in self.experts], 1)
        picked = every.gather(1, at)
        return picked * share if self.is_weighted else picked


def _mixture(*, is_weighted: bool) -> Built:
    net = _Experts(is_weighted=is_weighted)
    opt = optim.Adam(net.parameters(), 3e-3)
    return loop(net, opt, sums(size=80), lambda x, y: F.mse_loss(net(x), y))


@ROWS.of("TW309", "TW307")
def gate_that_only_picks() -> Built:
    return _mixture(is_weighted=False)


@ROWS.of()
def gate_that_picks_and_weighs() -> Built:
    return _mixture(is_weighted=True)


def _slope(*, is_kept: bool) -> Built:
    """u' = cos, u(0) = 0."""
    net = mlp(1, 32, 32, 1, act=nn.Tanh)
    opt = optim.Adam(net.parameters(), 3e-3)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        x = x.clone().requires_grad_()
        u = net(x)
        slope = torch.autograd.grad(u.sum(), x, retain_graph=True, create_graph=is_kept)[0]
        return (slope - x.cos()).square().mean() + net(torch.zeros(1, 1)).square().mean()

    points = 4 * torch.rand(8, 40, 1, generator=torch.Generator().manual_seed(4))
    return loop(net, opt, [(x, x) for x in points], loss_of)


@ROWS.of("TW309", "TW307")
def slope_without_a_graph_of_its_own() -> Built:
    return _slope(is_kept=False)


@ROWS.of()
def slope_with_a_graph_of_its_own() -> Built:
    return _slope(is_kept=True)


class _Waves(nn.Module):
    """Features from random sines and cosines, then two layers."""

    def __init__(self, *, is_buffer: bool) -> None:
        super().__init__()
        if is_buffer:
            self.register_buffer("way", 0.1 * torch.randn(64, 32))
        else:
            self.way = (0.1 * torch.randn(64, 32)).requires_grad_()
        self.out = mlp(64, 32, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = x @ self.way
        return self.out(torch.cat([h.sin(), h.cos()], 1))


@ROWS.of("TW307")
def weight_that_wants_a_gradient_and_is_no_parameter() -> Built:
    net = _Waves(is_buffer=False)
    return classify(net, optim.Adam(net.parameters(), 2e-3), flat())


@ROWS.of()
def random_features_kept_as_a_buffer() -> Built:
    net = _Waves(is_buffer=True)
    return classify(net, optim.Adam(net.parameters(), 2e-3), flat())


def _reparametrised(change: Callable[[nn.Module], nn.Module]) -> Built:
    net = mlp(64, 48, 48, 10)
    opt = optim.Adam(net.parameters(), 2e-3)
    for layer in net:
        if isinstance(layer, nn.Linear):
            change(layer)
    return classify(net, opt, flat())


@ROWS.of("TW307")
def length_and_direction_after_the_optimizer() -> Built:
    return _reparametrised(parametrizations.weight_norm)


@ROWS.of()
def largest_stretch_held_after_the_optimizer() -> Built:
    """The parameter is still the one that the optimizer has."""
    return _reparametrised(parametrizations.spectral_norm)


@ROWS.of("TW307")
def parameters_counted_and_gone() -> Built:
    """A generator is empty when it has been gone through, and so is its group."""
    body, head = nn.Sequential(*mlp(64, 48, 48), nn.ReLU()), nn.Linear(48, 10)
    chosen = filter(lambda p: p.requires_grad, body.parameters())
    assert sum(p.numel() for p in chosen)
    opt = optim.Adam([{"params": chosen}, {"params": head.parameters(), "lr": 3e-3}], 1e-3)
    return classify(nn.Sequential(body, head), opt, flat())


@ROWS.of()
def parameters_in_groups_of_two_rates() -> Built:
    body, head = nn.Sequential(*mlp(64, 48, 48), nn.ReLU()), nn.Linear(48, 10)
    opt = optim.Adam([{"params": body.parameters(), "lr": 3e-5}, {"params": head.parameters()}])
    return classify(nn.Sequential(body, head), opt, flat())


@ROWS.of("TW307", "TW102", "TW308")
def step_named_and_not_called() -> Built:
    net = mlp(64, 48, 10)
    opt = optim.Adam(net.parameters(), 2e-3)

    def step(batch: Batch) -> Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        opt.step  # noqa: B018
        return loss

    return built(net, opt, flat(), step)


@ROWS.of()
def step_after_two_halves() -> Built:
    net = mlp(64, 48, 10)
    opt = optim.Adam(net.parameters(), 2e-3)

    def step(batch: Batch) -> Tensor:
        opt.zero_grad()
        total = torch.zeros(())
        for x, y in zip(batch[0].split(24), batch[1].split(24), strict=True):
            loss = F.cross_entropy(net(x), y) / 2
            loss.backward()
            total += loss.detach()
        opt.step()
        return total

    return built(net, opt, flat(), step)


class _Speller(nn.Module):
    """(n, t) ids -> (t, n, ids): time comes first, as the recurrent layer has it."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.body, self.out = nn.Embedding(128, 24), nn.GRU(24, 48), nn.Linear(48, 128)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.body(self.emb(ids.T))[0])


def _spelled(order: Callable[[Tensor], Tensor]) -> Built:
    net = _Speller()
    opt = optim.Adam(net.parameters(), 3e-3)
    return loop(
        net,
        opt,
        lines(),
        lambda x, y: F.cross_entropy(net(x).reshape(-1, 128), order(y).reshape(-1)),
    )


@ROWS.of("TW203", "TW305")
def letters_by_time_and_targets_by_line() -> Built:
    return _spelled(lambda y: y)


@ROWS.of()
def letters_and_targets_by_time() -> Built:
    return _spelled(lambda y: y.T)


class _Ahead(nn.Module):
    """(n, t, 1) -> (n, 1)."""

    def __init__(self, *, is_turned: bool) -> None:
        super().__init__()
        self.is_turned = is_turned
        self.body, self.out = nn.LSTM(1, 24), nn.Linear(24, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.is_turned:
            return self.out(self.body(x.transpose(0, 1))[0][-1])
        return self.out(self.body(x)[0][:, -1])


def _ahead(*, is_turned: bool) -> Built:
    net = _Ahead(is_turned=is_turned)
    opt = optim.Adam(net.parameters(), 3e-3)
    return loop(net, opt, series(), lambda x, y: F.mse_loss(net(x), y))


@ROWS.of("TW305", "TW206", "TW205")
def batch_read_as_if_it_were_time() -> Built:
    return _ahead(is_turned=False)


@ROWS.of()
def batch_and_time_exchanged() -> Built:
    return _ahead(is_turned=True)
