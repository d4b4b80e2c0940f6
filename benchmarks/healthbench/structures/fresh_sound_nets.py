"""Second blind set, sound programs: what makes samples, and several networks at once."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import parametrizations

from benchmarks.healthbench.structures.fresh_data import (
    mlp,
    sums,
    trained,
)
from benchmarks.healthbench.structures.parts import Batch, Built
from benchmarks.healthbench.structures.unseen_data import (
    Rows,
    built,
    flat,
    glyphs,
    loop,
    wine,
)

ROWS = Rows()


# ------------------------------------------------------------------ generative


@ROWS.of()
def variational_autoencoder() -> Built:
    enc, dec = mlp(64, 48, 8), mlp(4, 48, 64)
    net = nn.ModuleDict({"enc": enc, "dec": dec})

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        x = x.flatten(1)
        mu, logvar = enc(x).chunk(2, dim=1)
        z = mu + torch.randn_like(mu) * torch.exp(logvar / 2)
        fit = F.binary_cross_entropy_with_logits(dec(z), x, reduction="none").sum(1)
        return (fit + 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)).mean()

    return loop(net, optim.Adam(net.parameters(), 1e-3), glyphs(), loss_of)


@ROWS.of()
def gan_seen_from_the_generator() -> Built:
    make, judge = mlp(8, 32, 13), mlp(13, 32, 1, act=nn.Tanh)
    opt_g = optim.Adam(make.parameters(), 2e-4, betas=(0.5, 0.999))
    opt_d = optim.Adam(judge.parameters(), 2e-4, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()

    def step(batch: Batch) -> Tensor:
        x, one, zero = batch[0], torch.ones(len(batch[0]), 1), torch.zeros(len(batch[0]), 1)
        fake = make(torch.randn(len(x), 8))
        opt_d.zero_grad()
        (bce(judge(x), one) + bce(judge(fake.detach()), zero)).backward()
        opt_d.step()
        opt_g.zero_grad()
        loss = bce(judge(fake), one)
        loss.backward()
        opt_g.step()
        return loss

    return built(make, opt_g, wine(), step)


@ROWS.of()
def critic_with_a_gradient_penalty() -> Built:
    make, critic = mlp(4, 32, 8), mlp(8, 64, 64, 1, act=nn.LeakyReLU)
    opt = optim.Adam(critic.parameters(), 1e-4, betas=(0.0, 0.9))

    def step(batch: Batch) -> Tensor:
        real = batch[0]
        with torch.no_grad():
            fake = make(torch.randn(len(real), 4))
        mix = torch.lerp(fake, real, torch.rand(len(real), 1)).requires_grad_()
        (slope,) = torch.autograd.grad(critic(mix).sum(), mix, create_graph=True)
        penalty = ((slope.norm(dim=1) - 1) ** 2).mean()
        loss = critic(fake).mean() - critic(real).mean() + 10 * penalty
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    return built(critic, opt, sums(), step)


@ROWS.of()
def hinge_judge_with_spectral_norm() -> Built:
    judge = nn.Sequential(
        parametrizations.spectral_norm(nn.Conv2d(1, 16, 3, 2, 1)),
        nn.LeakyReLU(0.1),
        nn.Flatten(),
        parametrizations.spectral_norm(nn.Linear(16 * 16, 1)),
    )
    opt = optim.Adam(judge.parameters(), 2e-4)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        return F.relu(1 - judge(x)).mean() + F.relu(1 + judge(torch.rand_like(x))).mean()

    return loop(judge, opt, glyphs(), loss_of)


@ROWS.of()
def flow_of_coupled_halves() -> Built:
    class Coupling(nn.Module):
        def __init__(self, flip: bool) -> None:
            super().__init__()
            self.flip, self.net = flip, mlp(4, 32, 8)
            nn.init.zeros_(self.net[-1].weight)
            nn.init.zeros_(self.net[-1].bias)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            a, b = x.flip(1).chunk(2, 1) if self.flip else x.chunk(2, 1)
            log_s, t = self.net(a).chunk(2, 1)
            log_s = log_s.tanh()
            return torch.cat([a, b * log_s.exp() + t], 1), log_s.sum(1)

    net = nn.ModuleList([Coupling(i % 2 == 1) for i in range(4)])

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        total = torch.zeros(len(x))
        for layer in net:
            x, log_det = layer(x)
            total = total + log_det
        return (0.5 * (x**2).sum(1) - total).mean()

    return loop(net, optim.Adam(net.parameters(), 1e-3), sums(), loss_of)


@ROWS.of()
def diffusion_of_pixels() -> Built:
    class Denoiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.time = nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 16))
            self.first, self.mid = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
            self.norm, self.last = nn.GroupNorm(4, 16), nn.Conv2d(16, 1, 3, padding=1)
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            angle = t[:, None] * torch.logspace(0, 2, 8)
            code = self.time(torch.cat([angle.sin(), angle.cos()], 1))[..., None, None]
            h = self.first(x)
            return self.last(F.silu(h + self.mid(F.silu(self.norm(h) + code))))

    net = Denoiser()

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        t, noise = torch.rand(len(x)), torch.randn_like(x)
        keep = torch.cos(t * 1.57)[:, None, None, None]
        return F.mse_loss(net(keep * (2 * x - 1) + (1 - keep**2).sqrt() * noise, t), noise)

    return loop(net, optim.AdamW(net.parameters(), 1e-3), glyphs(), loss_of)


@ROWS.of()
def codes_from_a_book() -> Built:
    enc, dec, book = mlp(64, 48, 8), mlp(8, 48, 64), nn.Embedding(32, 8)
    nn.init.uniform_(book.weight, -1 / 32, 1 / 32)
    net = nn.ModuleDict({"enc": enc, "dec": dec, "book": book})

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        z = enc(x)
        code = book(torch.cdist(z, book.weight).argmin(1))
        tied = F.mse_loss(code, z.detach()) + 0.25 * F.mse_loss(z, code.detach())
        return F.mse_loss(dec(z + (code - z).detach()), x) + tied

    return loop(net, optim.Adam(net.parameters(), 1e-3), flat(), loss_of)


@ROWS.of()
def picture_by_masked_convolutions() -> Built:
    class Causal(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            size = self.weight.shape[-1]
            mask = torch.ones(size * size)
            mask[size * size // 2 + (self.in_channels > 1) :] = 0
            return F.conv2d(x, self.weight * mask.view(size, size), self.bias, padding=size // 2)

    net = nn.Sequential(
        Causal(1, 16, 5), nn.ReLU(), Causal(16, 16, 3), nn.ReLU(), nn.Conv2d(16, 17, 1)
    )
    opt = optim.Adam(net.parameters(), 2e-3)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        return F.cross_entropy(net(x), (x[:, 0] * 16).long())

    return loop(net, opt, glyphs(), loss_of)


@ROWS.of()
def decoder_of_transposed_weights() -> Built:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.empty(20, 64))
            nn.init.xavier_uniform_(self.w)
            self.b, self.c = nn.Parameter(torch.zeros(20)), nn.Parameter(torch.zeros(64))

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(F.elu(F.linear(x, self.w, self.b)), self.w.T, self.c)

    net = Tied()
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(net, opt, flat(), lambda x, _: F.mse_loss(net(x), x))


# ------------------------------------------------------------------ several networks


@ROWS.of()
def small_student_of_a_trained_teacher() -> Built:
    batches = flat()
    teacher = trained(mlp(64, 96, 10), batches).eval().requires_grad_(False)
    net = mlp(64, 16, 10)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        wanted = F.log_softmax(teacher(x) / 3, 1)
        soft = F.kl_div(
            F.log_softmax(net(x) / 3, 1), wanted, log_target=True, reduction="batchmean"
        )
        return 9 * 0.7 * soft + 0.3 * F.cross_entropy(net(x), y)

    return loop(net, optim.Adam(net.parameters(), 1e-3), batches, loss_of)


@ROWS.of()
def mean_teacher() -> Built:
    net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Dropout(0.3), nn.Linear(48, 10))
    teacher = copy.deepcopy(net).requires_grad_(False)
    opt = optim.SGD(net.parameters(), 0.05, momentum=0.9)

    def step(batch: Batch) -> Tensor:
        x, y = batch
        scores = net(x)
        wanted = teacher(x + 0.05 * torch.randn_like(x)).softmax(1)
        loss = F.cross_entropy(scores[:12], y[:12]) + F.mse_loss(scores.softmax(1), wanted)
        opt.zero_grad()
        loss.backward()
        opt.step()
        with torch.no_grad():
            for slow, fast in zip(teacher.parameters(), net.parameters(), strict=True):
                slow.lerp_(fast, 0.01)
        return loss.detach()

    return built(net, opt, flat(), step)


@ROWS.of()
def two_views_and_a_stopped_gradient() -> Built:
    body, guess = mlp(64, 48, 24), mlp(24, 12, 24)
    net = nn.ModuleList([body, guess])

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        a, b = (body(x + 0.3 * torch.randn_like(x)) for _ in range(2))
        ways = [F.cosine_similarity(guess(p), q.detach()).mean() for p, q in ((a, b), (b, a))]
        return -sum(ways) / 2

    return loop(net, optim.SGD(net.parameters(), 0.05, momentum=0.9), flat(), loss_of)


@ROWS.of()
def views_told_apart() -> Built:
    net = mlp(64, 64, 16)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        a, b = (F.normalize(net(x * (torch.rand_like(x) > 0.2)), dim=1) for _ in range(2))
        scores, at = a @ b.T / 0.2, torch.arange(len(x))
        return (F.cross_entropy(scores, at) + F.cross_entropy(scores.T, at)) / 2

    return loop(net, optim.Adam(net.parameters(), 1e-3), flat(), loss_of)


@ROWS.of()
def pairs_of_alike_and_unlike() -> Built:
    tower = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 16))

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        a, b = tower(x[::2]), tower(x[1::2])
        gap = (a - b).norm(dim=1)
        alike = (y[::2] == y[1::2]).float()
        return (alike * gap**2 + (1 - alike) * F.relu(1 - gap) ** 2).mean()

    return loop(tower, optim.Adam(tower.parameters(), 1e-3), glyphs(), loss_of)


@ROWS.of()
def triplets() -> Built:
    net = mlp(13, 32, 8)
    triplet = nn.TripletMarginLoss(margin=0.5)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        same = y[:, None] == y
        alike, unlike = same.float().multinomial(1)[:, 0], (~same).float().multinomial(1)[:, 0]
        z = net(x)
        return triplet(z, z[alike], z[unlike])

    return loop(net, optim.Adam(net.parameters(), 2e-3), wine(), loss_of)


@ROWS.of()
def domains_by_a_reversed_gradient() -> Built:
    class Reverse(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            return x.view_as(x)

        @staticmethod
        def backward(ctx, g: Tensor) -> Tensor:
            return -0.3 * g

    body, label, domain = mlp(64, 48, 24), mlp(24, 10), mlp(24, 16, 2)
    net = nn.ModuleDict({"body": nn.Sequential(body, nn.ReLU()), "label": label, "domain": domain})

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        h = net["body"](torch.cat([x, 0.8 * x + 0.2 * torch.randn_like(x)]))
        where = torch.arange(2).repeat_interleave(len(x))
        return F.cross_entropy(label(h[: len(x)]), y) + F.cross_entropy(
            domain(Reverse.apply(h)), where
        )

    return loop(net, optim.Adam(net.parameters(), 1e-3), flat(), loss_of)


@ROWS.of()
def soft_choice_of_experts() -> Built:
    gate, experts = nn.Linear(8, 6), nn.ModuleList(mlp(8, 16, 1) for _ in range(6))
    net = nn.ModuleDict({"gate": gate, "experts": experts})

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        weight, chosen = gate(x).softmax(1).topk(2, dim=1)
        given = torch.zeros(len(x), 1)
        for at, expert in enumerate(experts):
            rows, place = (chosen == at).nonzero(as_tuple=True)
            if len(rows):
                given = given.index_add(0, rows, weight[rows, place, None] * expert(x[rows]))
        return F.mse_loss(given, y)

    return loop(net, optim.Adam(net.parameters(), 2e-3), sums(), loss_of)
