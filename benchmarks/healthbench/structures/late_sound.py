"""Sound programs of other kinds, written after the checks were last mended."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks.healthbench.structures.fresh_data import (
    flowers,
    sentences,
    sums,
)
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
    wine,
)

ROWS = Rows()


def _mlp(n_in: int, n_out: int, width: int = 40) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, width), nn.ReLU(), nn.Linear(width, n_out))


def _trained(net: nn.Module, batches: list[Batch]) -> nn.Module:
    program = classify(net, optim.Adam(net.parameters(), 3e-3), batches)
    for at in range(100):
        program.train_step(batches[at % len(batches)])
    return net


@ROWS.of()
def weights_made_by_another_network() -> Built:
    make = _mlp(4, 8 * 3 + 3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        w, b = make(x).split([24, 3], dim=1)
        h = torch.cat([x, x**2], dim=1)
        return F.cross_entropy(torch.einsum("ni,noi->no", h, w.view(-1, 3, 8)) + b, y)

    return loop(make, optim.Adam(make.parameters(), 2e-3), flowers(), loss_of)


@ROWS.of()
def alike_and_unlike_by_cosine() -> Built:
    net = _mlp(13, 8)
    criterion = nn.CosineEmbeddingLoss(margin=0.2)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        sign = 2.0 * (y[::2] == y[1::2]) - 1
        return criterion(net(x[::2]), net(x[1::2]), sign)

    return loop(net, optim.Adam(net.parameters(), 2e-3), wine(), loss_of)


@ROWS.of()
def gently_on_with_a_trained_net() -> Built:
    net = _trained(_mlp(64, 10), flat())
    return classify(net, optim.AdamW(net.parameters(), 1e-5), flat())


@ROWS.of()
def words_put_before_a_frozen_reader() -> Built:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(200, 32)
            self.body = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True)
            self.out = nn.Linear(32, 2)
            self.prompt = nn.Parameter(0.02 * torch.randn(4, 32))

        def forward(self, ids: Tensor) -> Tensor:
            first = self.prompt.expand(len(ids), -1, -1)
            return self.out(self.body(torch.cat([first, self.emb(ids)], dim=1)).mean(1))

    net = _trained(Reader(), sentences())
    net.requires_grad_(False)
    net.prompt.requires_grad_()
    return classify(net, optim.Adam([net.prompt], 1e-2), sentences())


@ROWS.of()
def biases_alone() -> Built:
    net = _trained(_mlp(64, 10), flat())
    for name, p in net.named_parameters():
        p.requires_grad = name.endswith("bias")
    opt = optim.Adam([p for p in net.parameters() if p.requires_grad], 1e-3)
    return classify(net, opt, flat())


@ROWS.of()
def weights_rounded_on_the_way_forward() -> Built:
    class Rounded(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            w = self.weight * 16
            w = w + (w.round() - w).detach()
            return F.linear(x, w / 16, self.bias)

    net = nn.Sequential(Rounded(64, 48), nn.ReLU(), Rounded(48, 10))
    return classify(net, optim.Adam(net.parameters(), 1e-3), flat())


@ROWS.of()
def connections_dropped() -> Built:
    class Dropped(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, F.dropout(self.weight, 0.3, self.training), self.bias)

    net = nn.Sequential(Dropped(13, 64), nn.ReLU(), Dropped(64, 3))
    return classify(net, optim.Adam(net.parameters(), 2e-3), wine())


@ROWS.of()
def samples_matched_along_random_lines() -> Built:
    make = _mlp(4, 8)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        ways = F.normalize(torch.randn(8, 20), dim=0)
        fake = make(torch.randn(len(x), 4))
        return ((fake @ ways).sort(0).values - (x @ ways).sort(0).values).square().mean()

    return loop(make, optim.Adam(make.parameters(), 1e-3), sums(), loss_of)


@ROWS.of()
def pictures_and_their_names_side_by_side() -> Built:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen, self.named = nn.Linear(64, 24), nn.Embedding(10, 24)
            self.log_scale = nn.Parameter(torch.tensor(2.66))

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            a, b = F.normalize(self.seen(x), dim=1), F.normalize(self.named(y), dim=1)
            return self.log_scale.exp() * a @ b.T

    net = Pair()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        scores = net(x, y)
        wanted = (y[:, None] == y).float()
        wanted = wanted / wanted.sum(1, keepdim=True)
        return (F.cross_entropy(scores, wanted) + F.cross_entropy(scores.T, wanted.T)) / 2

    return loop(net, optim.Adam(net.parameters(), 1e-3), flat(), loss_of)


@ROWS.of()
def one_cell_in_many_small_strides() -> Built:
    class Ode(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lift, self.out = nn.Linear(8, 24), nn.Linear(24, 1)
            self.field = nn.Sequential(nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 24))

        def forward(self, x: Tensor) -> Tensor:
            h = self.lift(x)
            for _ in range(10):
                h = h + 0.1 * self.field(h)
            return self.out(h)

    net = Ode()
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(net, opt, sums(), lambda x, y: F.mse_loss(net(x), y))


@ROWS.of()
def bags_weighted_by_attention() -> Built:
    class Bags(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
            self.score = nn.Sequential(nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 1))
            self.out = nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            h = self.body(x)
            return self.out((self.score(h).softmax(1) * h).sum(1)).squeeze(1)

    net = Bags()
    bags = [(x.view(8, 5, 8), (y.view(8, 5) > 1).any(1).float()) for x, y in sums()]
    bce = nn.BCEWithLogitsLoss()
    return loop(net, optim.Adam(net.parameters(), 2e-3), bags, lambda x, y: bce(net(x), y))


@ROWS.of()
def links_of_a_graph_rebuilt() -> Built:
    net = _mlp(4, 8)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        z, near = net(x), (y[:, None] == y).float()
        weight = (near == 0).sum() / near.sum()
        return F.binary_cross_entropy_with_logits(z @ z.T / 3, near, pos_weight=weight)

    return loop(net, optim.Adam(net.parameters(), 2e-3), flowers(), loss_of)


@ROWS.of()
def energy_beside_samples_that_roll_down() -> Built:
    energy = nn.Sequential(nn.Linear(8, 64), nn.SiLU(), nn.Linear(64, 1))

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        fake = torch.randn_like(x)
        for _ in range(5):
            fake.requires_grad_()
            (slope,) = torch.autograd.grad(energy(fake).sum(), fake)
            fake = (fake - 0.1 * slope + 0.05 * torch.randn_like(x)).detach()
        real, made = energy(x), energy(fake)
        return real.mean() - made.mean() + 0.1 * (real**2 + made**2).mean()

    return loop(energy, optim.Adam(energy.parameters(), 1e-3), sums(), loss_of)


@ROWS.of()
def actor_and_critic() -> Built:
    class Agent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 48), nn.Tanh())
            self.actor, self.critic = nn.Linear(48, 3), nn.Linear(48, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(x)
            return self.actor(h), self.critic(h).squeeze(1)

    net = Agent()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        scores, value = net(x)
        policy = torch.distributions.Categorical(logits=scores)
        action = policy.sample()
        gain = (action == y).float() - value
        loss = -(policy.log_prob(action) * gain.detach()).mean() + 0.5 * gain.square().mean()
        return loss - 0.01 * policy.entropy().mean()

    return loop(net, optim.Adam(net.parameters(), 3e-3), flowers(), loss_of)


@ROWS.of()
def neighbours_among_random_words() -> Built:
    here, there = nn.Embedding(128, 24), nn.Embedding(128, 24)
    nn.init.uniform_(here.weight, -0.02, 0.02)
    nn.init.zeros_(there.weight)
    net = nn.ModuleList([here, there])

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        a, b = here(x.flatten()), there(y.flatten())
        other = there(torch.randint(128, (len(a), 5)))
        apart = F.logsigmoid(-(other @ a[:, :, None]).squeeze(2)).sum(1)
        return -(F.logsigmoid((a * b).sum(1)) + apart).mean()

    return loop(net, optim.Adam(net.parameters(), 1e-2), letters(), loss_of)


@ROWS.of()
def process_with_a_learnt_length() -> Built:
    class Kernel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.log_length, self.log_noise = (nn.Parameter(torch.zeros(())) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            near = torch.cdist(x, x) ** 2 / self.log_length.exp() ** 2
            return (-near / 16).exp() + (self.log_noise.exp() + 1e-3) * torch.eye(len(x))

    net = Kernel()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        normal = torch.distributions.MultivariateNormal(torch.zeros(len(x)), net(x))
        return -normal.log_prob(y[:, 0]) / len(x)

    return loop(net, optim.Adam(net.parameters(), 5e-2), sums(), loss_of)


@ROWS.of()
def each_layer_by_a_loss_of_its_own() -> Built:
    class Local(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(64, 48), nn.Linear(48, 48), nn.Linear(48, 48)])
            self.heads = nn.ModuleList(nn.Linear(48, 10) for _ in range(3))

        def forward(self, x: Tensor) -> list[Tensor]:
            scores = []
            for layer, head in zip(self.layers, self.heads, strict=True):
                x = F.relu(layer(x.detach()))
                scores.append(head(x))
            return scores

    net = Local()
    opt = optim.Adam(net.parameters(), 1e-3)
    return loop(net, opt, flat(), lambda x, y: sum(F.cross_entropy(s, y) for s in net(x)))


@ROWS.of()
def ways_out_on_the_way() -> Built:
    class Exits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(12, 24, 3, padding=1)
            self.early, self.late = nn.Linear(12, 10), nn.Linear(24, 10)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            a = F.relu(self.a(x))
            b = F.relu(self.b(F.max_pool2d(a, 2)))
            return self.early(a.mean((2, 3))), self.late(b.mean((2, 3)))

    net = Exits()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        early, late = net(x)
        return 0.3 * F.cross_entropy(early, y) + F.cross_entropy(late, y)

    return loop(net, optim.Adam(net.parameters(), 2e-3), glyphs(), loss_of, is_shown_before=True)


@ROWS.of()
def sentences_packed_by_length() -> Built:
    class Packed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(200, 24, padding_idx=0)
            self.rnn, self.out = nn.LSTM(24, 32, batch_first=True), nn.Linear(32, 2)

        def forward(self, ids: Tensor) -> Tensor:
            sizes = (ids != 0).sum(1).clamp(min=1)
            packed = pack_padded_sequence(self.emb(ids), sizes, True, enforce_sorted=False)
            return self.out(self.rnn(packed)[1][0][-1])

    net = Packed()
    return classify(net, optim.Adam(net.parameters(), 2e-3), sentences())


@ROWS.of()
def few_codes_at_a_time() -> Built:
    net = nn.Sequential(nn.Linear(30, 60), nn.ReLU(), nn.Linear(60, 30, bias=False))
    opt = optim.Adam(net.parameters(), 1e-3)

    def step(batch: Batch) -> Tensor:
        code = net[1](net[0](batch[0]))
        loss = F.mse_loss(net[2](code), batch[0]) + 1e-2 * code.abs().mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        with torch.no_grad():
            net[2].weight.div_(net[2].weight.norm(dim=0).clamp(min=1e-6))
        return loss

    return built(net, opt, tumours(), step)
