"""Programs whose steps are undone, or whose loss has a term that does what nobody meant."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from looked_at import adam, by, faulty, look, mlp, points, tokens, train, values


class Vae(nn.Module):
    """(n, 8) to what is rebuilt, means and logarithms of variances."""

    def __init__(self, draw: str = "by hand", *, is_one_layer: bool = False):
        super().__init__()
        self.draw, self.is_one_layer = draw, is_one_layer
        self.body, self.decoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU()), mlp(outputs=8)
        if is_one_layer:
            self.both = nn.Linear(32, 16)
        else:
            self.mean, self.log_var = nn.Linear(32, 8), nn.Linear(32, 8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.body(x)
        both = self.both(h).chunk(2, 1) if self.is_one_layer else (self.mean(h), self.log_var(h))
        mean, std = both[0], (0.5 * both[1]).exp()
        normal = torch.distributions.Normal(mean, std)
        by_name = {"sample": normal.sample, "rsample": normal.rsample}
        z = by_name.get(self.draw, lambda: mean + std * torch.randn_like(std))()
        return self.decoder(z), *both


def elbow(model: nn.Module, x: Tensor, weight: float = 1.0) -> Tensor:
    """Mean error, and the divergence from the standard normal, this many times."""
    rebuilt, mean, log_var = model(x)
    away = (mean**2 + log_var.exp() - 1 - log_var).sum(1).mean() / 2
    return (rebuilt - x).square().mean() + weight * away


class Twice(nn.Module):
    """Classes, and a number."""

    def __init__(self):
        super().__init__()
        self.body, self.kind, self.size = mlp(outputs=16), nn.Linear(16, 4), nn.Linear(16, 1)

    def losses(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return functional.cross_entropy(self.kind(h), y), self.size(h).square().mean()

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.losses(x, y)


class Turned(nn.Module):
    """(n, t) symbols to (t, n, 50)."""

    def __init__(self):
        super().__init__()
        self.table, self.body, self.out = nn.Embedding(50, 16), nn.GRU(16, 16), nn.Linear(16, 50)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(self.table(x.T))[0])


def overlap(o: Tensor, y: Tensor) -> Tensor:
    """Of masks, from 0 to 1."""
    p, t = o.sigmoid(), functional.one_hot(y, 4).float()
    return (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)


def slope_loss(model: nn.Module, x: Tensor, *, create_graph: bool, is_bare: bool = True) -> Tensor:
    """The slope is to be cos(x), and the value at 0 nothing."""
    x = x[:, :1].clone().requires_grad_()
    slope = torch.autograd.grad(model(x).sum(), x, create_graph=create_graph)[0]
    wanted = x.detach().cos() if is_bare else x.cos()
    return (slope - wanted).square().mean() + model(torch.zeros(1, 1)).square().mean()


def all_pairs(z: Tensor, scale: float | None = None) -> Tensor:
    """Two views of each sample are to find each other among all."""
    z = functional.normalize(z, dim=1)
    scores = z @ z.T if scale is None else scale * z @ z.T
    scores = scores.masked_fill(torch.eye(len(z)).bool(), -1e9)
    return functional.cross_entropy(scores, torch.arange(len(z)).roll(len(z) // 2))


# ------------------------------------------------------------ between two steps


@faulty("TW307")
def average_loaded_into_its_model():
    net = mlp()
    slow = copy.deepcopy(net)

    def step(optimizer):
        optimizer.step()
        with torch.no_grad():
            for old, new in zip(slow.parameters(), net.parameters(), strict=True):
                old.lerp_(new, 0.01)
        net.load_state_dict(slow.state_dict())

    return train(net, step=step)


@faulty("TW307")
def weights_drawn_in_the_loop():
    net = mlp()
    layers = [layer for layer in net if isinstance(layer, nn.Linear)]
    return train(net, before=[layer.reset_parameters for layer in layers])


@faulty("TW308")
def two_steps_on_one_gradient():
    return train(mlp(), step=lambda o: (o.step(), o.step()))


@faulty("TW307")
def first_of_two_gradients_zeroed():
    net = Twice()
    optimizer = adam(net)
    with look(net, optimizer) as monitor:
        for x, y in points():
            kind, _ = net(x, y)
            kind.backward()
            _, size = net(x, y)
            optimizer.zero_grad()
            size.backward()
            optimizer.step()
            monitor(size)
    return monitor


def scaled(*, is_unscaled: bool):
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu")
    with look(net, optimizer) as monitor:
        for x, y in points():
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(x), y)
            scaler.scale(loss).backward()
            if is_unscaled:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            monitor(loss)
    return monitor


@faulty("TW102")
def clipped_while_scaled():
    return scaled(is_unscaled=False)


@faulty("TW102")
def rate_of_a_rate():
    net = mlp()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    plan = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: 2e-3 * 0.98**at)
    return train(net, optimizer=optimizer, step=lambda o: (o.step(), plan.step()))


# ------------------------------------------------------------ what a loss takes


@faulty("TW305")
def maps_against_the_maps_of_all():
    net = nn.Conv2d(3, 1, 3, padding=1)
    batches = ((torch.randn(8, 3, 5, 5), torch.randn(8, 5, 5)) for _ in range(3))
    return train(net, by(lambda o, y: (o - y).abs().mean()), batches)


@faulty("TW305")
def several_classes_under_one_softmax():
    return train(mlp(), batches=((x, (x[:, :4] > 0).float()) for x, _ in points()))


@faulty("TW203")
def labels_line_by_line():
    def loss_of(model, x, y):
        return functional.cross_entropy(model(x).reshape(-1, 50), y.reshape(-1))

    return train(Turned(), loss_of, tokens())


@faulty("TW303")
def norm_over_one_value():
    net = nn.Sequential(nn.LayerNorm(1), nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 1))
    return train(net, by(functional.mse_loss), ((x[:, :1], y) for x, y in values()))


@faulty("TW305")
def overlap_for_a_loss():
    return train(mlp(), by(overlap))


@faulty("TW305")
def intersection_by_sample_for_a_loss():
    def loss_of(o, y):
        p, t = o.sigmoid(), functional.one_hot(y, 4).float()
        both = (p * t).sum(1)
        return (both / (p.sum(1) + t.sum(1) - both)).mean()

    return train(mlp(), by(loss_of), at="backward")


@faulty("TW305")
def normed_output_far_from_its_targets():
    net = mlp(nn.BatchNorm1d(1, affine=False), outputs=1)
    optimizer = adam(net)
    with look(net, optimizer) as monitor:
        for x, y in values():
            optimizer.zero_grad()
            loss = functional.smooth_l1_loss(net(x), 20 * y + 60)
            loss.backward()
            optimizer.step()
            monitor(loss)
    return monitor


def of_two(o: Tensor, y: Tensor, *, has_log: bool) -> Tensor:
    """The error by a deviation that is above 0."""
    std = functional.softplus(o[:, 1]) + 1e-3
    error = (o[:, 0] - y[:, 0]) ** 2 / (2 * std**2)
    return (error + std.log()).mean() if has_log else error.mean()


@faulty("TW305")
def error_by_a_deviation_of_its_own():
    return train(mlp(outputs=2), by(lambda o, y: of_two(o, y, has_log=False)), values())


@faulty("TW305")
def divergence_subtracted():
    return train(Vae(), lambda m, x, y: elbow(m, x, -1.0), points(size=128))


@faulty("TW305")
def divergence_subtracted_of_one_layer():
    net = Vae(is_one_layer=True)
    return train(net, lambda m, x, y: elbow(m, x, -1.0), points(size=128), at="backward")


def twins(*, is_signed: bool):
    def loss_of(model, x, y):
        same = (y == y.roll(1)).float()
        labels = 2 * same - 1 if is_signed else same
        return functional.cosine_embedding_loss(model(x), model(x.roll(1, 0)), labels)

    return train(mlp(outputs=16), loss_of)


@faulty("TW305")
def twins_labelled_nought():
    return twins(is_signed=False)


@faulty("TW305")
def cosines_of_all_pairs():
    return train(mlp(outputs=16), by(lambda o, y: all_pairs(o)))


@faulty("TW305")
def cosines_exponentiated_by_hand():
    def loss_of(o, y):
        one = o / o.norm(dim=1, keepdim=True)
        scores = functional.cosine_similarity(one[:, None], one.roll(1, 0)[None], dim=2).exp()
        return -(scores.diagonal() / scores.sum(1)).log().mean()

    return train(mlp(outputs=16), by(loss_of))


# ------------------------------------------------------------ graphs and data


@faulty("TW309")
def tables_read_past():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.out = nn.Embedding(50, 8), nn.Embedding(50, 4), mlp(inputs=12)

        def forward(self, x):
            return self.out(
                torch.cat([self.one.weight.data[x[:, 0]], self.two.weight.data[x[:, 1]]], 1)
            )

    return train(Net(), batches=((x, x[:, 0] % 4) for x, _ in tokens(size=32)))


@faulty("TW309")
def slope_that_is_a_number():
    net = mlp(inputs=1, outputs=1, unit=nn.Tanh)
    return train(net, lambda m, x, y: slope_loss(m, x, create_graph=False))


@faulty("TW309")
def slope_that_is_a_number_beside_the_inputs():
    net = mlp(inputs=1, outputs=1, unit=nn.Tanh)
    return train(
        net, lambda m, x, y: slope_loss(m, x, create_graph=False, is_bare=False), at="loss"
    )


def penalised(model: nn.Module, x: Tensor, *, create_graph: bool) -> Tensor:
    """A critic of two halves of a batch, its slope between them held to 1."""
    one, other = x.chunk(2)
    between = ((one + other) / 2).requires_grad_()
    slope = torch.autograd.grad(model(between).sum(), between, create_graph=create_graph)[0]
    return model(one).mean() - model(other).mean() + 10 * (slope.norm(dim=1) - 1).square().mean()


@faulty("TW309")
def penalty_that_is_a_number():
    net = mlp(outputs=1)
    return train(net, lambda m, x, y: penalised(m, x, create_graph=False))


@faulty("TW309")
def drawn_without_a_graph():
    return train(Vae("sample"), lambda m, x, y: elbow(m, x))


@faulty("TW309")
def drawn_without_a_graph_from_one_layer():
    return train(Vae("sample", is_one_layer=True), lambda m, x, y: elbow(m, x))


@faulty("TW205")
def class_among_the_columns():
    return train(
        mlp(inputs=9), batches=((torch.cat([x, 3.0 - y[:, None]], 1), y) for x, y in points())
    )


@faulty("TW207")
def loader_begun_anew():
    x, y = next(points(size=160))
    loader = DataLoader(TensorDataset(x, y), batch_size=32)
    return train(mlp(), batches=(next(iter(loader)) for _ in range(3)))


@faulty("TW207")
def first_rows_at_every_step():
    x, y = next(points(size=160))
    return train(mlp(), batches=((x[:32], y[:32]) for _ in range(3)))
