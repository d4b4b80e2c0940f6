"""Sound programs, fourth blind set: frozen, cut, shared and averaged weights as they are meant."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from benchmarks.healthbench.structures.fifth_parts import Lora, Reader, Writer, pixels
from benchmarks.healthbench.structures.fresh_data import (
    flowers,
    mlp,
    ratings,
    sentences,
    series,
    trained,
)
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
    waves,
    wine,
)

ROWS = Rows()


@ROWS.of()
def new_head_on_a_frozen_body() -> Built:
    net = trained(convnet(), glyphs()).requires_grad_(False)
    net[-1] = nn.Linear(384, 2)
    net.train()
    for layer in net:
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
    batches = [(x, (y > 4).long()) for x, y in glyphs()]
    return classify(net, optim.Adam(net[-1].parameters(), 1e-3), batches)


@ROWS.of()
def fine_tuned_with_its_statistics_kept() -> Built:
    net = trained(convnet(), glyphs())
    net.train()
    for layer in net:
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
            layer.requires_grad_(False)
    opt = optim.SGD([p for p in net.parameters() if p.requires_grad], 1e-3, momentum=0.9)
    return classify(net, opt, glyphs())


@ROWS.of()
def adapters_of_low_rank() -> Built:
    net = trained(mlp(64, 48, 48, 10), flat()).requires_grad_(False)
    for at in (0, 2, 4):
        net[at] = Lora(net[at])
    opt = optim.AdamW([p for p in net.parameters() if p.requires_grad], 2e-3)
    return classify(net, opt, [(x, 9 - y) for x, y in flat()])


@ROWS.of()
def bottlenecks_in_a_frozen_reader() -> Built:
    class Adapted(Reader):
        def __init__(self) -> None:
            super().__init__()
            self.adapter = nn.Sequential(nn.Linear(32, 8), nn.GELU(), nn.Linear(8, 32))
            nn.init.zeros_(self.adapter[2].weight)
            nn.init.zeros_(self.adapter[2].bias)

        def forward(self, ids: Tensor) -> Tensor:
            h = self.emb(ids)
            h = self.norm(h + self.att(h, h, h, key_padding_mask=ids == 0)[0])
            return self.out((h + self.adapter(h)).mean(1))

    net = trained(Adapted(), sentences()).requires_grad_(False)
    nn.init.zeros_(net.adapter[2].weight)
    nn.init.zeros_(net.adapter[2].bias)
    net.adapter.requires_grad_()
    net.out.requires_grad_()
    opt = optim.Adam([p for p in net.parameters() if p.requires_grad], 1e-3)
    return classify(net, opt, sentences())


@ROWS.of()
def classifier_that_starts_at_zero() -> Built:
    net = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 10))
    nn.init.zeros_(net[-1].weight)
    nn.init.zeros_(net[-1].bias)
    return classify(net, optim.AdamW(net.parameters(), 1e-3), flat())


@ROWS.of()
def blocks_that_start_as_nothing() -> Built:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = (nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(2))
            self.norm1, self.norm2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
            nn.init.zeros_(self.norm2.weight)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x + self.norm2(self.two(F.relu(self.norm1(self.one(x))))))

    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), Block(), Block(), Block(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    return classify(net, optim.SGD(net.parameters(), 0.05, momentum=0.9), glyphs())


@ROWS.of()
def own_view_foretold_by_a_slow_copy() -> Built:
    net, ahead = mlp(64, 64, 16), mlp(16, 32, 16)
    slow = copy.deepcopy(net).requires_grad_(False)
    both = nn.ModuleDict({"online": net, "predictor": ahead})
    opt = optim.Adam(both.parameters(), 1e-3)

    def step(batch: Batch) -> Tensor:
        one, two = (batch[0] + 0.2 * torch.randn_like(batch[0]) for _ in range(2))
        opt.zero_grad()
        aim = F.normalize(slow(two), dim=1).detach()
        loss = 2 - 2 * (F.normalize(ahead(net(one)), dim=1) * aim).sum(1).mean()
        loss.backward()
        opt.step()
        with torch.no_grad():
            for old, new in zip(slow.parameters(), net.parameters(), strict=True):
                old.lerp_(new, 0.01)
        return loss

    return built(both, opt, flat(), step)


@ROWS.of()
def teacher_is_the_average_of_the_student() -> Built:
    net = mlp(13, 48, 3)
    teacher = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    opt = optim.Adam(net.parameters(), 1e-3)

    def step(batch: Batch) -> Tensor:
        x, y = batch
        opt.zero_grad()
        z = net(x)
        with torch.no_grad():
            soft = teacher(x + 0.05 * torch.randn_like(x)).softmax(1)
        loss = F.cross_entropy(z, y) + F.mse_loss(z.softmax(1), soft)
        loss.backward()
        opt.step()
        teacher.update_parameters(net)
        return loss

    return built(net, opt, wine(), step)


@ROWS.of()
def generator_and_critic_in_turns() -> Built:
    generator = nn.Sequential(*mlp(8, 48, 64), nn.Sigmoid())
    critic = nn.Sequential(nn.Linear(64, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    opt_g = optim.Adam(generator.parameters(), 2e-4, betas=(0.5, 0.999))
    opt_d = optim.Adam(critic.parameters(), 2e-4, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()

    def step(batch: Batch) -> Tensor:
        real = batch[0]
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        fake = generator(torch.randn(len(real), 8))
        opt_d.zero_grad()
        (criterion(critic(real), ones) + criterion(critic(fake.detach()), zeros)).backward()
        opt_d.step()
        opt_g.zero_grad()
        loss = criterion(critic(fake), ones)
        loss.backward()
        opt_g.step()
        return loss

    program = built(generator, opt_g, pixels(), step)
    program.others.append(opt_d)
    return program


@ROWS.of()
def letters_in_and_out_share_their_vectors() -> Built:
    net = Writer()
    net.out = nn.Linear(32, 128, bias=False)
    net.out.weight = net.emb.weight
    opt = optim.AdamW(net.parameters(), 1e-3)
    return loop(net, opt, letters(), lambda ids, y: F.cross_entropy(net(ids).mT, y))


@ROWS.of()
def blocks_computed_twice_to_save_memory() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.out = nn.Linear(64, 48), nn.Linear(48, 10)
            self.body = nn.ModuleList(
                nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 48), nn.ReLU()) for _ in range(3)
            )

        def forward(self, x: Tensor) -> Tensor:
            h = self.first(x)
            for block in self.body:
                h = h + checkpoint(block, h, use_reentrant=False)
            return self.out(h)

    net = Net()
    return classify(net, optim.AdamW(net.parameters(), 1e-3), flat())


@ROWS.of()
def codes_with_straight_through() -> Built:
    class Codes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = mlp(64, 48, 8), mlp(8, 48, 64)
            self.book = nn.Embedding(16, 8)
            nn.init.uniform_(self.book.weight, -0.3, 0.3)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            z = self.encoder(x)
            code = self.book(torch.cdist(z, self.book.weight).argmin(1))
            extra = F.mse_loss(code, z.detach()) + 0.25 * F.mse_loss(z, code.detach())
            return self.decoder(z + (code - z).detach()), extra

    net = Codes()

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        shown, extra = net(x)
        return F.mse_loss(shown, x) + extra

    return loop(net, optim.Adam(net.parameters(), 1e-3), pixels(), loss_of)


@ROWS.of()
def state_carried_from_batch_to_batch() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.rnn = nn.Embedding(128, 24), nn.GRU(24, 48, batch_first=True)
            self.out = nn.Linear(48, 128)

        def forward(self, ids: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
            h, state = self.rnn(self.emb(ids), state)
            return self.out(h), state

    net = Net()
    opt = optim.Adam(net.parameters(), 2e-3)
    kept: list[Tensor | None] = [None]

    def step(batch: Batch) -> Tensor:
        opt.zero_grad()
        z, state = net(batch[0], kept[0])
        kept[0] = state.detach()
        loss = F.cross_entropy(z.mT, batch[1])
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        return loss

    return built(net, opt, letters(), step)


@ROWS.of()
def words_kept_as_they_were_bought() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding.from_pretrained(torch.randn(200, 24), padding_idx=0)
            self.conv, self.out = nn.Conv1d(24, 16, 3, padding=1), nn.Linear(16, 2)

        def forward(self, ids: Tensor) -> Tensor:
            return self.out(F.relu(self.conv(self.emb(ids).mT)).amax(2))

    net = Net()
    return classify(net, optim.Adam(net.parameters(), 1e-3), sentences())


@ROWS.of()
def slow_targets_of_a_game() -> Built:
    net = mlp(4, 32, 3)
    target = copy.deepcopy(net)
    opt = optim.Adam(net.parameters(), 1e-3)

    def loss_of(state: Tensor, action: Tensor) -> Tensor:
        reward = (state[:, 0] > 0).float() * (action == 1)
        with torch.no_grad():
            aim = reward + 0.9 * target(state.roll(1, 0)).amax(1)
        return F.smooth_l1_loss(net(state).gather(1, action[:, None])[:, 0], aim)

    return loop(net, opt, flowers(), loss_of)


@ROWS.of()
def actor_and_its_critic() -> Built:
    class Agent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.actor, self.critic = mlp(4, 32), nn.Linear(32, 3), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = torch.tanh(self.body(x))
            return self.actor(h), self.critic(h)[:, 0]

    net = Agent()

    def loss_of(state: Tensor, best: Tensor) -> Tensor:
        scores, value = net(state)
        chance = torch.distributions.Categorical(logits=scores)
        action = chance.sample()
        reward = (action == best).float()
        gain = (reward - value).detach()
        policy = -(chance.log_prob(action) * gain).mean()
        return policy + 0.5 * F.mse_loss(value, reward) - 0.01 * chance.entropy().mean()

    return loop(net, optim.Adam(net.parameters(), 1e-3), flowers(), loss_of)


@ROWS.of()
def accuracy_measured_for_the_log() -> Built:
    net = nn.Sequential(nn.Flatten(), nn.Linear(120, 32), nn.ELU(), nn.Linear(32, 3))
    seen: list[float] = []

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        z = net(x)
        with torch.no_grad():
            seen.append((z.argmax(1) == y).float().mean().item())
            seen.append(z.detach().softmax(1).amax(1).mean().item())
        return F.cross_entropy(z, y)

    return loop(net, optim.RMSprop(net.parameters(), 1e-3), series(), loss_of)


@ROWS.of()
def users_and_films_by_their_vectors() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.user, self.film = nn.Embedding(50, 8), nn.Embedding(80, 8)
            self.bias = nn.Parameter(torch.zeros(1))
            for table in (self.user, self.film):
                nn.init.normal_(table.weight, std=0.1)

        def forward(self, pairs: Tensor) -> Tensor:
            return (self.user(pairs[:, 0]) * self.film(pairs[:, 1])).sum(1) + self.bias

    net = Net()
    opt = optim.Adagrad(net.parameters(), 0.05)
    return loop(net, opt, ratings(), lambda x, y: F.mse_loss(net(x), y))


@ROWS.of()
def weights_of_the_waves_parametrised() -> Built:
    weight_norm = nn.utils.parametrizations.weight_norm

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = weight_norm(nn.Conv1d(1, 16, 3, padding=2, dilation=2))
            self.two = weight_norm(nn.Conv1d(16, 16, 3, padding=4, dilation=4))
            self.out = nn.Linear(16, 1)

        def forward(self, x: Tensor) -> Tensor:
            h = F.relu(self.one(x.mT))
            return self.out((h + F.relu(self.two(h)))[:, :, -1])

    net = Net()
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(net, opt, waves(), lambda x, y: F.mse_loss(net(x), y))
