"""Sound programs, fourth blind set: ways to step, to start and to give data."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812

from benchmarks.healthbench.structures.fifth_parts import Writer, pixels, ring
from benchmarks.healthbench.structures.fresh_data import flowers, mlp
from benchmarks.healthbench.structures.parts import Batch, Built
from benchmarks.healthbench.structures.unseen_data import (
    Rows,
    built,
    classify,
    glyphs,
    letters,
    loop,
    tumours,
    wine,
)

ROWS = Rows()


@ROWS.of()
def four_small_batches_to_a_step() -> Built:
    net = Writer()
    opt = optim.AdamW(net.parameters(), 1e-3)

    def step(batch: Batch) -> Tensor:
        opt.zero_grad()
        total = torch.zeros(())
        for ids, y in zip(batch[0].split(4), batch[1].split(4), strict=True):
            loss = F.cross_entropy(net(ids).mT, y) / 4
            loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        return total

    return built(net, opt, letters(), step)


@ROWS.of()
def one_graph_seen_whole_at_every_step() -> Built:
    x, near, y = ring()
    near = near + torch.eye(len(x))
    near = near / near.sum(1, keepdim=True)
    is_train = torch.arange(len(x)) < 40

    class Gcn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(6, 16), nn.Linear(16, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = F.dropout(F.relu(near @ self.one(x)), 0.5, self.training)
            return near @ self.two(h)

    net = Gcn()
    opt = optim.Adam(net.parameters(), 1e-2, weight_decay=5e-4)
    return loop(net, opt, [(x, y)] * 8, lambda x, y: F.cross_entropy(net(x)[is_train], y[is_train]))


@ROWS.of()
def second_order_steps_on_all_rows() -> Built:
    net = mlp(4, 8, 3, act=nn.Tanh)
    opt = optim.LBFGS(net.parameters(), lr=0.5, max_iter=4)
    x = torch.cat([x for x, _ in flowers()])
    y = torch.cat([y for _, y in flowers()])

    def step(batch: Batch) -> Tensor:
        def closure() -> Tensor:
            opt.zero_grad()
            loss = F.cross_entropy(net(batch[0]), batch[1])
            loss.backward()
            return loss

        return opt.step(closure)

    return built(net, opt, [(x, y)] * 4, step)


@ROWS.of()
def rate_that_climbs_from_next_to_nothing() -> Built:
    net = Writer()
    decayed = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    opt = optim.AdamW(groups, lr=3e-4, betas=(0.9, 0.95))
    warm = optim.lr_scheduler.LambdaLR(opt, lambda step: min(1.0, (step + 1) / 2000))

    def step(batch: Batch) -> Tensor:
        loss = F.cross_entropy(net(batch[0]).mT, batch[1])
        loss.backward()
        opt.step()
        warm.step()
        opt.zero_grad(set_to_none=True)
        return loss

    return built(net, opt, letters(), step)


@ROWS.of()
def half_precision_where_it_is_safe() -> Built:
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU(), nn.Conv2d(16, 16, 3),
        nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    opt = optim.AdamW(net.parameters(), 2e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            z = net(x)
        return F.cross_entropy(z.float(), y)

    return loop(net, opt, glyphs(), loss_of)


@ROWS.of()
def raw_columns_behind_a_batch_norm() -> Built:
    net = nn.Sequential(nn.BatchNorm1d(13), *mlp(13, 32, 3))
    return classify(net, optim.Adam(net.parameters(), 2e-3), wine(is_raw=True))


@ROWS.of()
def noise_to_be_foretold() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.time = nn.Embedding(50, 32)
            self.one, self.two, self.out = nn.Linear(64, 32), nn.Linear(32, 32), nn.Linear(32, 64)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            h = F.silu(self.one(x) + self.time(t))
            return self.out(h + F.silu(self.two(h)))

    net = Net()
    kept = torch.cumprod(1 - torch.linspace(1e-3, 0.1, 50), 0)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        t = torch.randint(0, 50, (len(x),))
        noise, share = torch.randn_like(x), kept[t][:, None]
        return F.mse_loss(net(share.sqrt() * (2 * x - 1) + (1 - share).sqrt() * noise, t), noise)

    return loop(net, optim.AdamW(net.parameters(), 1e-3), pixels(), loss_of)


@ROWS.of()
def equation_of_a_spring() -> Built:
    net = mlp(1, 32, 32, 1, act=nn.Tanh)
    opt = optim.Adam(net.parameters(), 1e-3)

    def loss_of(t: Tensor, start: Tensor) -> Tensor:
        t = t.clone().requires_grad_()
        u = net(t)
        (speed,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        (force,) = torch.autograd.grad(speed.sum(), t, create_graph=True)
        return (force + u).square().mean() + 10 * (net(torch.zeros(1, 1)) - start[0]).square().sum()

    points = torch.rand(8, 64, 1, generator=torch.Generator().manual_seed(4)) * 6
    return loop(net, opt, [(t, torch.ones(64, 1)) for t in points], loss_of)


@ROWS.of()
def deep_and_normalising_itself() -> Built:
    layers: list[nn.Module] = []
    for width in (30, 32, 32, 32, 32, 32, 32):
        layer = nn.Linear(width, 32)
        nn.init.normal_(layer.weight, std=width**-0.5)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.SELU()]
    net = nn.Sequential(*layers, nn.AlphaDropout(0.05), nn.Linear(32, 2))
    return classify(net, optim.Adam(net.parameters(), 1e-3), tumours())


@ROWS.of()
def few_letters_hidden_and_foretold() -> Built:
    net = Writer(is_causal=False)
    opt = optim.AdamW(net.parameters(), 1e-3)

    def loss_of(ids: Tensor, _: Tensor) -> Tensor:
        hidden = torch.rand(ids.shape) < 0.15
        hidden[:, 0] = True
        labels = ids.masked_fill(~hidden, -100)
        return F.cross_entropy(net(ids.masked_fill(hidden, 127)).mT, labels)

    return loop(net, opt, letters(), loss_of)
