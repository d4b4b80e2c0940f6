"""Blind exam, sound programs: fine-tuning, steps of one's own."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from benchmarks.healthbench.structures.parts import Batch, Built
from benchmarks.healthbench.structures.unseen_data import (
    Rows,
    built,
    classify,
    convnet,
    flat,
    glyphs,
    letters,
    loop,
    progress,
    small,
    tumours,
    waves,
    wine,
)

ROWS = Rows()


# ------------------------------------------------------------------ fine-tuning


@ROWS.of()
def frozen_features_in_evaluation_mode() -> Built:
    features, head = convnet()[:-1].requires_grad_(False), nn.Linear(384, 10)
    net = nn.Sequential(features, head)
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        net.train()
        features.eval()
        return functional.cross_entropy(net(x), y)

    return loop(net, optimizer, glyphs(), loss_of)


@ROWS.of()
def low_rank_adapters() -> Built:
    class Adapted(nn.Module):
        def __init__(self, layer: nn.Linear) -> None:
            super().__init__()
            self.layer = layer.requires_grad_(False)
            self.down = nn.Parameter(torch.randn(4, layer.in_features) / 8)
            self.up = nn.Parameter(torch.zeros(layer.out_features, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) + 2 * x @ self.down.T @ self.up.T

    net = nn.Sequential(Adapted(nn.Linear(64, 48)), nn.ReLU(), Adapted(nn.Linear(48, 10)))
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-3)
    return classify(net, optimizer, flat())


@ROWS.of()
def discriminative_learning_rates() -> Built:
    net = convnet()
    head = list(net[-1].parameters())
    groups = [{"params": net[:4].parameters(), "lr": 1e-5}, {"params": net[4].parameters()}]
    optimizer = torch.optim.AdamW([*groups, {"params": head, "lr": 2e-3}], lr=2e-4)
    return classify(net, optimizer, glyphs())


@ROWS.of()
def new_head_of_zeros() -> Built:
    net = convnet()
    nn.init.zeros_(net[-1].weight)
    nn.init.zeros_(net[-1].bias)
    return classify(net, torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9), glyphs())


@ROWS.of()
def frozen_word_vectors() -> Built:
    net = nn.Sequential(nn.Embedding(128, 24), nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 128))
    net[0].weight.requires_grad = False
    optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, net.parameters()), lr=2e-3)
    return loop(
        net, optimizer, letters(), lambda x, y: functional.cross_entropy(net(x).transpose(1, 2), y)
    )


# ------------------------------------------------------------------ steps of one's own


@ROWS.of()
def four_micro_batches_a_step() -> Built:
    net = small(64, 10)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def step(batch: Batch) -> Tensor:
        losses = []
        for x, y in zip(batch[0].chunk(4), batch[1].chunk(4), strict=True):
            losses.append(functional.cross_entropy(net(x), y))
            (losses[-1] / 4).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return torch.stack(losses).mean().detach()

    return built(net, optimizer, flat(), step)


@ROWS.of()
def a_step_every_fourth_batch() -> Built:
    net = small(13, 3)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    seen = [0]

    def step(batch: Batch) -> Tensor:
        loss = functional.cross_entropy(net(batch[0]), batch[1]) / 4
        loss.backward()
        seen[0] += 1
        if seen[0] % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    return built(net, optimizer, wine(size=16), step)


@ROWS.of()
def warmup_from_almost_nothing() -> Built:
    net = convnet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1e-3, total_iters=500)

    def step(batch: Batch) -> Tensor:
        loss = functional.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        schedule.step()
        net.zero_grad()
        return loss

    return built(net, optimizer, glyphs(), step)


@ROWS.of()
def closure_of_a_quasi_newton_method() -> Built:
    net = nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 1), nn.Flatten(0))
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=4)

    def step(batch: Batch) -> Tensor:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = functional.mse_loss(net(batch[0]), batch[1])
            loss.backward()
            return loss

        return optimizer.step(closure)

    return built(net, optimizer, progress(size=64), step)


@ROWS.of()
def adversarial_inputs() -> Built:
    net = nn.Sequential(nn.Flatten(), small(64, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)

    def step(batch: Batch) -> Tensor:
        x, y = batch[0].clone().requires_grad_(), batch[1]
        functional.cross_entropy(net(x), y).backward()
        moved = (x + 0.05 * x.grad.sign()).detach().clamp(0, 1)
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(moved), y)
        loss.backward()
        optimizer.step()
        return loss

    return built(net, optimizer, glyphs(), step)


@ROWS.of()
def sharpness_aware_steps() -> Built:
    net = small(30, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)

    def step(batch: Batch) -> Tensor:
        loss = functional.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        with torch.no_grad():
            norm = torch.stack([p.grad.norm() for p in net.parameters()]).norm()
            moves = [0.05 * p.grad / (norm + 1e-12) for p in net.parameters()]
            for p, move in zip(net.parameters(), moves, strict=True):
                p.add_(move)
        optimizer.zero_grad()
        functional.cross_entropy(net(batch[0]), batch[1]).backward()
        with torch.no_grad():
            for p, move in zip(net.parameters(), moves, strict=True):
                p.sub_(move)
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return built(net, optimizer, tumours(), step)


@ROWS.of()
def summed_loss_and_small_lr() -> Built:
    net = nn.Sequential(small(10, 1), nn.Flatten(0))
    optimizer = torch.optim.SGD(net.parameters(), lr=3e-4)
    return loop(
        net, optimizer, progress(), lambda x, y: functional.mse_loss(net(x), y, reduction="sum")
    )


@ROWS.of()
def state_carried_and_detached() -> Built:
    net = nn.ModuleDict({"rnn": nn.LSTM(1, 24, batch_first=True), "out": nn.Linear(24, 1)})
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    state: list[tuple[Tensor, Tensor] | None] = [None]

    def step(batch: Batch) -> Iterator[Tensor]:
        hidden, after = net["rnn"](batch[0], state[0])
        state[0] = (after[0].detach(), after[1].detach())
        loss = functional.mse_loss(net["out"](hidden[:, -1]), batch[1])
        yield loss
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(net.parameters(), 0.5)
        optimizer.step()

    return built(net, optimizer, waves(), step)


@ROWS.of()
def recomputed_activations() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(64, 48), small(48, 48)
            self.head = nn.Linear(48, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(
                checkpoint(self.second, functional.relu(self.first(x)), use_reentrant=False)
            )

    net = Net()
    return classify(net, torch.optim.Adam(net.parameters(), lr=1e-3), flat())
