"""Sound programs once more: small forms of models that people train, written after the checks."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from looked_at import adam, by, images, look, mlp, points, sound, squared, tokens, train, values


def conv(inputs: int, outputs: int, **more) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **more)


class Block(nn.Module):
    """A residual block with batch norm, its last scale from zero."""

    def __init__(self, width):
        super().__init__()
        self.a, self.b = conv(width, width, bias=False), conv(width, width, bias=False)
        self.n, self.m = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        nn.init.zeros_(self.m.weight)

    def forward(self, x):
        return functional.relu(x + self.m(self.b(functional.relu(self.n(self.a(x))))))


@sound
def residual_convolutions():
    net = nn.Sequential(
        conv(3, 16), *[Block(16) for _ in range(4)], nn.Flatten(), nn.Linear(1024, 4)
    )
    return train(net, batches=images(), optimizer=torch.optim.SGD(net.parameters(), lr=0.1))


@sound
def eleven_layers_of_vgg():
    layers: list[nn.Module] = []
    for i, width in enumerate((16, 16, 32, 32, 64, 64, 64, 64)):
        before = (3, 16, 16, 32, 32, 64, 64, 64)[i]
        layers += [conv(before, width), nn.ReLU(inplace=True)]
        layers += [nn.MaxPool2d(2)] if i in (1, 3) else []
    head = [nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 4)]
    net = nn.Sequential(*layers, *head)
    return train(net, batches=images())


@sound
def u_net():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.down, self.deep = conv(3, 8), conv(8, 16, stride=2)
            self.up, self.last = nn.ConvTranspose2d(16, 8, 2, stride=2), conv(16, 1)

        def forward(self, x):
            a = self.down(x).relu()
            return self.last(torch.cat([a, self.up(self.deep(a).relu()).relu()], 1))

    def loss(o, y):
        target = torch.rand(o.shape).round()
        p = o.sigmoid()
        dice = 1 - 2 * (p * target).sum() / (p.sum() + target.sum())
        return dice + functional.binary_cross_entropy_with_logits(o, target)

    return train(Net(), by(loss), images())


class Attention(nn.Module):
    """A block of a causal language model."""

    def __init__(self, width):
        super().__init__()
        self.n, self.m = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        q, k, v = self.qkv(self.n(x)).chunk(3, -1)
        x = x + self.out(functional.scaled_dot_product_attention(q, k, v, is_causal=True))
        return x + self.mlp(self.m(x))


class GPT(nn.Module):
    """Tied, with learnt positions."""

    def __init__(self, *, depth=4, width=32):
        super().__init__()
        self.embed, self.place = nn.Embedding(50, width), nn.Parameter(torch.zeros(1, 12, width))
        self.blocks = nn.ModuleList(Attention(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, x):
        h = self.embed(x) + self.place
        for block in self.blocks:
            h = block(h)
        return self.norm(h) @ self.embed.weight.T


def next_token(o, y):
    return functional.cross_entropy(o.flatten(0, 1), y.flatten(), ignore_index=0)


@sound
def language_model():
    return train(GPT(), by(next_token), tokens())


@sound
def language_model_with_groups_of_decay():
    net = GPT()
    matrices = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return train(net, by(next_token), tokens(), optimizer=torch.optim.AdamW(groups, lr=3e-4))


@sound
def variational_autoencoder():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encode, self.decode = mlp(outputs=8), mlp(nn.Sigmoid(), inputs=4, outputs=8)

        def forward(self, x):
            mean, log_var = self.encode(x).chunk(2, 1)
            return self.decode(mean + (log_var / 2).exp() * torch.randn_like(mean)), mean, log_var

    def loss(model, x, y):
        x = x.sigmoid()
        o, mean, log_var = model(x)
        away = 0.5 * (mean.square() + log_var.exp() - log_var - 1).sum(1).mean()
        return functional.binary_cross_entropy(o, x, reduction="sum") / len(x) + 0.0 * away

    return train(Net(), loss)


@sound
def quantised_autoencoder():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.encode, self.decode = mlp(outputs=16), mlp(inputs=16, outputs=8)
            self.codes = nn.Embedding(32, 16)

    def loss(model, x, y):
        h = model.encode(x)
        nearest = model.codes(torch.cdist(h, model.codes.weight).argmin(1))
        kept = (nearest - h.detach()).square().mean() + 0.25 * (
            h - nearest.detach()
        ).square().mean()
        return functional.mse_loss(model.decode(h + (nearest - h).detach()), x) + kept

    return train(Net(), loss)


@sound
def diffusion():
    def loss(model, x, y):
        t = torch.rand(len(x), 1)
        noise = torch.randn_like(x)
        return functional.mse_loss(model((1 - t) * x + t * noise), noise)

    return train(mlp(outputs=8, unit=nn.SiLU), loss)


@sound
def sines():
    class Sine(nn.Module):
        def forward(self, x):
            return torch.sin(30 * x)

    net = mlp(inputs=2, outputs=1, unit=Sine)
    with torch.no_grad():
        net[0].weight.uniform_(-1 / 2, 1 / 2)
        for layer in (net[2], net[4]):
            layer.weight.uniform_(-math.sqrt(6 / 32) / 30, math.sqrt(6 / 32) / 30)
    return train(net, squared, ((x[:, :2], y) for x, y in values()))


@sound
def fourier_features():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("directions", 10 * torch.randn(2, 16))
            self.body = mlp(inputs=32, outputs=3)

        def forward(self, x):
            h = x[:, :2] @ self.directions
            return self.body(torch.cat([h.sin(), h.cos()], 1)).sigmoid()

    return train(Net(), by(lambda o, y: functional.mse_loss(o, torch.rand_like(o))))


@sound
def an_equation_as_loss():
    def loss(model, x, y):
        x = x[:, :1].requires_grad_()
        u = model(x)
        slope = torch.autograd.grad(u.sum(), x, create_graph=True)[0]
        return (slope + u).square().mean() + (model(torch.zeros(1, 1)) - 1).square().mean()

    return train(mlp(inputs=1, outputs=1, unit=nn.Tanh), loss)


@sound
def values_of_actions():
    net, target = mlp(), mlp().requires_grad_(False)

    def loss(model, x, y):
        with torch.no_grad():
            wanted = 1.0 + 0.9 * target(x).amax(1)
        return functional.smooth_l1_loss(model(x).gather(1, y[:, None]).squeeze(1), wanted)

    return train(net, loss)


@sound
def proximal_policy():
    net = nn.ModuleDict({"actor": mlp(unit=nn.Tanh), "critic": mlp(outputs=1, unit=nn.Tanh)})
    nn.init.orthogonal_(net["actor"][4].weight, gain=0.01)

    def loss(model, x, y):
        with torch.no_grad():
            old = torch.distributions.Categorical(logits=model["actor"](x)).log_prob(y)
        ratio = (torch.distributions.Categorical(logits=model["actor"](x)).log_prob(y) - old).exp()
        gain = torch.randn(len(y))
        clipped = torch.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
        return (model["critic"](x).squeeze(1) - gain).square().mean() - clipped

    return train(net, loss)


@sound
def contrast_of_two_views():
    def loss(model, x, y):
        views = torch.cat([x, x + 0.1 * torch.randn_like(x)])
        z = functional.normalize(model(views), dim=1)
        likeness = (z @ z.T / 0.5).fill_diagonal_(-1e9)
        return functional.cross_entropy(likeness, torch.arange(64).roll(32))

    return train(mlp(outputs=16), loss)


@sound
def two_towers():
    net = nn.ModuleDict({"a": mlp(outputs=16), "b": mlp(outputs=16)})
    net.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def loss(model, x, y):
        a, b = functional.normalize(model["a"](x)), functional.normalize(model["b"](x.roll(1, 1)))
        logits = model.scale.exp() * a @ b.T
        own = torch.arange(len(x))
        return (
            functional.cross_entropy(logits, own) / 2 + functional.cross_entropy(logits.T, own) / 2
        )

    return train(net, loss)


@sound
def triplets():
    def loss(model, x, y):
        a, b, c = model(x), model(x + 0.1), model(x.flip(0))
        return functional.triplet_margin_loss(a, b, c)

    return train(mlp(), loss)


@sound
def speech_with_ctc():
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 6))

    def loss(model, x, y):
        log = model(x.reshape(2, 16, 8)).log_softmax(-1).transpose(0, 1)
        return functional.ctc_loss(log, torch.randint(1, 6, (2, 5)), (16, 16), (5, 5))

    return train(net, loss)


@sound
def graph_network():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 4)

        def forward(self, x):
            edges = torch.eye(len(x)) + torch.eye(len(x)).roll(1, 0)
            return self.b(edges @ self.a(edges @ x).relu())

    return train(Net())


@sound
def factors_of_a_matrix():
    net = nn.ModuleDict({"user": nn.Embedding(40, 8), "item": nn.Embedding(30, 8)})

    def loss(model, x, y):
        user, item = torch.randint(40, (32,)), torch.randint(30, (32,))
        found = (model["user"](user) * model["item"](item)).sum(1)
        return functional.mse_loss(found, torch.randint(1, 6, (32,)).float())

    return train(net, loss)


@sound
def mixture_of_densities():
    def loss(o, y):
        weight, mean, log_std = o.chunk(3, 1)
        parts = torch.distributions.Normal(mean, log_std.exp()).log_prob(y)
        return -torch.logsumexp(weight.log_softmax(1) + parts, 1).mean()

    return train(mlp(outputs=12), by(loss), values())


@sound
def poisson_counts():
    loss = by(lambda o, y: functional.poisson_nll_loss(o, torch.poisson(torch.ones_like(o))))
    return train(mlp(outputs=1), loss)


@sound
def focal_loss():
    def loss(o, y):
        entropy = functional.cross_entropy(o, y, reduction="none")
        return ((1 - (-entropy).exp()) ** 2 * entropy).mean()

    return train(mlp(), by(loss))


@sound
def penalised_critic():
    make, judge = mlp(outputs=8), mlp(outputs=1)
    of_make, of_judge = adam(make), adam(judge)
    with look(judge, of_judge) as monitor:
        for x, _ in points():
            fake = make(torch.randn(32, 8)).detach()
            mixed = (x + torch.rand(32, 1) * (fake - x)).requires_grad_()
            slope = torch.autograd.grad(judge(mixed).sum(), mixed, create_graph=True)[0]
            loss = (
                judge(fake).mean() - judge(x).mean() + 10 * (slope.norm(dim=1) - 1).square().mean()
            )
            of_judge.zero_grad()
            loss.backward()
            of_judge.step()
            of_make.zero_grad()
            (-judge(make(torch.randn(32, 8))).mean()).backward()
            of_make.step()
            monitor(loss)
    return monitor


@sound
def learning_to_learn():
    def loss(model, x, y):
        own = dict(model.named_parameters())
        inner = functional.cross_entropy(torch.func.functional_call(model, own, (x,)), y)
        slopes = torch.autograd.grad(inner, list(own.values()), create_graph=True)
        fast = {n: p - 0.1 * g for (n, p), g in zip(own.items(), slopes, strict=True)}
        return functional.cross_entropy(
            torch.func.functional_call(model, fast, (x.flip(0),)), y.flip(0)
        )

    return train(mlp(unit=nn.Tanh), loss)


@sound
def spectral_and_weight_norm():
    net = mlp()
    nn.utils.parametrizations.spectral_norm(net[0])
    nn.utils.parametrizations.weight_norm(net[2])
    return train(net)


@sound
def prompts_before_a_frozen_model():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = GPT().requires_grad_(False)
            self.prompt = nn.Parameter(0.02 * torch.randn(1, 12, 32))

        def forward(self, x):
            h = self.model.embed(x) + self.prompt
            for block in self.model.blocks:
                h = block(h)
            return self.model.norm(h) @ self.model.embed.weight.T

    net = Net()
    return train(net, by(next_token), tokens(), optimizer=torch.optim.Adam([net.prompt], lr=0.1))


@sound
def layers_that_are_dropped_at_random():
    net = GPT()

    def loss(model, x, y):
        h = model.embed(x) + model.place
        for i, block in enumerate(model.blocks):
            h = block(h) if i != 1 else h
        return next_token(model.norm(h) @ model.embed.weight.T, y)

    return train(net, loss, tokens())


@sound
def frames_of_sound():
    net = nn.Sequential(nn.Conv1d(1, 16, 9, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(768, 4))
    batches = ((0.05 * torch.randn(16, 1, 200), torch.randint(4, (16,))) for _ in range(5))
    return train(net, batches=batches)


@sound
def several_tasks_with_weights():
    net = nn.ModuleDict({"body": mlp(outputs=16), "a": nn.Linear(16, 4), "b": nn.Linear(16, 1)})
    net.weigh = nn.Parameter(torch.zeros(2))

    def loss(model, x, y):
        h = model["body"](x).relu()
        parts = functional.cross_entropy(model["a"](h), y), model["b"](h).square().mean()
        return sum((-w).exp() * part + w for w, part in zip(model.weigh, parts, strict=True))

    return train(net, loss)


@sound
def attention_over_a_set():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(8, 32), nn.Linear(32, 4)
            self.attention = nn.MultiheadAttention(32, 4, batch_first=True, dropout=0.1)

        def forward(self, x):
            h = self.first(x).reshape(4, 8, 32)
            return self.last(h + self.attention(h, h, h)[0]).flatten(0, 1)

    return train(Net())


@sound
def average_with_batch_norm_updated():
    net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))
    average = torch.optim.swa_utils.AveragedModel(net)
    optimizer = adam(net)
    with look(net, optimizer) as monitor:
        for x, y in points():
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            average.update_parameters(net)
            monitor(loss)
        torch.optim.swa_utils.update_bn(points(), average)
    return monitor


@sound
def masked_tokens():
    def loss(o, y):
        labels = torch.where(torch.rand(y.shape) < 0.15, y, -100)
        return functional.cross_entropy(o.transpose(1, 2), labels)

    net = nn.Sequential(nn.Embedding(50, 32), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 50))
    return train(net, by(loss), tokens(size=32))
