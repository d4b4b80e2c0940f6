"""Blind exam, sound programs: several networks, words, precision."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.healthbench.structures.parts import Batch, Built
from benchmarks.healthbench.structures.unseen_data import (
    Rows,
    built,
    convnet,
    flat,
    glyphs,
    letters,
    loop,
    small,
    tumours,
    wine,
)

ROWS = Rows()


# ------------------------------------------------------------------ several networks


@ROWS.of()
def gan_of_two_optimizers() -> Built:
    maker, judge = small(8, 64), nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(0.2))
    judge.append(nn.Linear(32, 1))
    makes = torch.optim.Adam(maker.parameters(), lr=2e-4, betas=(0.5, 0.999))
    judges = torch.optim.Adam(judge.parameters(), lr=2e-4, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()

    def step(batch: Batch) -> Tensor:
        real = batch[0]
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        fake = maker(torch.randn(len(real), 8))
        judges.zero_grad()
        judged = criterion(judge(real), ones) + criterion(judge(fake.detach()), zeros)
        judged.backward()
        judges.step()
        makes.zero_grad()
        made = criterion(judge(fake), ones)
        made.backward()
        makes.step()
        return judged + made

    return built(nn.ModuleDict({"maker": maker, "judge": judge}), [judges, makes], flat(), step)


@ROWS.of()
def variational_autoencoder() -> Built:
    class Vae(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = small(64, 12), small(6, 64)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            mean, log_variance = self.encoder(x.flatten(1)).chunk(2, 1)
            z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
            return self.decoder(z), mean, log_variance

    net = Vae()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        scores, mean, log_variance = net(x)
        seen = functional.binary_cross_entropy_with_logits(scores, x.flatten(1), reduction="sum")
        prior = -0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
        return (seen + prior) / len(x)

    return loop(net, optimizer, glyphs(), loss_of)


@ROWS.of()
def denoising_autoencoder_with_sigmoid() -> Built:
    net = nn.Sequential(nn.Flatten(), small(64, 12), nn.ReLU(), small(12, 64), nn.Sigmoid())
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return loop(
        net,
        optimizer,
        glyphs(),
        lambda x, _: functional.mse_loss(net(x + 0.2 * torch.randn_like(x)), x.flatten(1)),
        is_shown_before=True,
    )


@ROWS.of()
def contrastive_with_a_learned_scale() -> Built:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = small(32, 16), small(32, 16)
            self.log_scale = nn.Parameter(torch.tensor(2.66))

        def forward(self, x: Tensor) -> Tensor:
            left, right = (
                functional.normalize(self.left(x[:, :32])),
                functional.normalize(self.right(x[:, 32:])),
            )
            return self.log_scale.exp() * left @ right.T

    net = Pair()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        scores, same = net(x), torch.arange(len(x))
        return (
            functional.cross_entropy(scores, same) + functional.cross_entropy(scores.T, same)
        ) / 2

    return loop(net, optimizer, flat(), loss_of)


@ROWS.of()
def triplets_of_digits() -> Built:
    net = small(64, 8)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        z = functional.normalize(net(x))
        apart, same = torch.cdist(z, z), y[:, None] == y
        far = (apart - 9 * (~same)).max(1).values
        near = (apart + 9 * same).min(1).values
        return functional.relu(far - near + 0.3).mean()

    return loop(net, optimizer, flat(), loss_of)


@ROWS.of()
def policy_gradient() -> Built:
    policy, value = small(13, 3), small(13, 1)
    net = nn.ModuleDict({"policy": policy, "value": value})
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        choice = torch.distributions.Categorical(logits=policy(x))
        action = choice.sample()
        reward, worth = (action == y).float(), value(x)[:, 0]
        gain = reward - worth.detach()
        return (
            -(choice.log_prob(action) * gain).mean()
            + 0.5 * functional.mse_loss(worth, reward)
            - 0.01 * choice.entropy().mean()
        )

    return loop(net, optimizer, wine(), loss_of)


@ROWS.of()
def q_values_against_a_target_copy() -> Built:
    net = small(30, 4)
    target = copy.deepcopy(net).requires_grad_(False)
    optimizer = torch.optim.RMSprop(net.parameters(), lr=5e-4)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        action = torch.randint(4, (len(x), 1))
        with torch.no_grad():
            wanted = y + 0.9 * target(x.roll(1, 0)).max(1).values
        return functional.smooth_l1_loss(net(x).gather(1, action)[:, 0], wanted)

    return loop(net, optimizer, tumours(), loss_of)


@ROWS.of()
def tasks_weighted_by_learned_noise() -> Built:
    trunk = nn.Sequential(nn.Linear(64, 48), nn.ReLU())
    digit, ink = nn.Linear(48, 10), nn.Linear(48, 1)
    net = nn.ModuleList([trunk, digit, ink])
    noise = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.Adam([*net.parameters(), noise], lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        shared = trunk(x)
        both = torch.stack(
            [
                functional.cross_entropy(digit(shared), y),
                functional.mse_loss(ink(shared)[:, 0], x.mean(1)),
            ]
        )
        return ((-noise).exp() * both + noise).sum()

    return loop(net, optimizer, flat(), loss_of)


# ------------------------------------------------------------------ words, precision


@ROWS.of()
def few_masked_letters() -> Built:
    net = nn.Sequential(nn.Embedding(129, 24), nn.Conv1d(24, 24, 5, padding=2), nn.ReLU())
    net.append(nn.Conv1d(24, 128, 1))
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)

    def loss_of(ids: Tensor, _: Tensor) -> Tensor:
        hidden = torch.rand(ids.shape) < 0.15
        words = net[0](ids.masked_fill(hidden, 128)).transpose(1, 2)
        return functional.cross_entropy(net[1:](words), ids.masked_fill(~hidden, -100))

    return loop(net, optimizer, letters(), loss_of)


@ROWS.of()
def bags_of_sparse_letters() -> Built:
    bags = [(x, (x == 101).sum(1).clamp(max=3)) for x, _ in letters()]
    embed, out = nn.EmbeddingBag(128, 16, sparse=True), nn.Linear(16, 4)
    net = nn.Sequential(embed, out)
    sparse = torch.optim.SparseAdam(embed.parameters(), lr=1e-2)
    dense = torch.optim.Adam(out.parameters(), lr=1e-2)

    def step(batch: Batch) -> Tensor:
        loss = functional.cross_entropy(net(batch[0]), batch[1])
        for optimizer in (sparse, dense):
            optimizer.zero_grad()
        loss.backward()
        sparse.step()
        dense.step()
        return loss

    return built(net, [sparse, dense], bags, step)


@ROWS.of()
def autocast_in_bfloat16() -> Built:
    net = convnet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return functional.cross_entropy(net(x), y)

    return loop(net, optimizer, glyphs(), loss_of, is_shown_before=True)


@ROWS.of()
def float32_masters_of_bfloat16_weights() -> Built:
    net = small(64, 10).to(torch.bfloat16)
    masters = [p.detach().float().requires_grad_() for p in net.parameters()]
    optimizer = torch.optim.AdamW(masters, lr=1e-4)

    def step(batch: Batch) -> Tensor:
        net.zero_grad()
        loss = functional.cross_entropy(net(batch[0].bfloat16()).float(), batch[1])
        loss.backward()
        with torch.no_grad():
            for master, p in zip(masters, net.parameters(), strict=True):
                master.grad = p.grad.float()
            optimizer.step()
            for master, p in zip(masters, net.parameters(), strict=True):
                p.copy_(master)
        return loss

    return built(net, optimizer, flat(), step)
