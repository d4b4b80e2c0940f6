"""Sound programs that take back a part of a step, or whose loss only looks as if it went astray."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from faulty_between import (
    Turned,
    Twice,
    Vae,
    all_pairs,
    elbow,
    of_two,
    overlap,
    penalised,
    scaled,
    slope_loss,
    twins,
)
from looked_at import adam, at_most_warned, by, look, mlp, points, sound, tokens, train, values

# ------------------------------------------------------------ between two steps


@sound
def half_way_back_at_every_second_step():
    net = mlp()
    slow, seen = copy.deepcopy(net), []

    def step(optimizer):
        optimizer.step()
        seen.append(1)
        if len(seen) % 2 == 0:
            with torch.no_grad():
                for old, new in zip(slow.parameters(), net.parameters(), strict=True):
                    new.copy_(old.lerp_(new, 0.5))

    return train(net, step=step)


@sound
def weights_held_to_a_length():
    net = mlp()

    def step(optimizer):
        optimizer.step()
        with torch.no_grad():
            for layer in net[::2]:
                layer.weight.renorm_(2, 0, 0.5)

    return train(net, step=step)


@sound
def weights_held_near_nought():
    net = mlp()

    def step(optimizer):
        optimizer.step()
        with torch.no_grad():
            for p in net.parameters():
                p.clamp_(-0.01, 0.01)

    return train(net, step=step)


@sound
def time_grid_given_first_at_every_step():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp(inputs=9)

        def forward(self, t, x):
            return self.body(torch.cat([x, t[:, None]], 1))

    grid = torch.linspace(0, 1, 400)
    loss_of = lambda model, x, y: functional.cross_entropy(model(grid[:32], x), y)  # noqa: E731
    return train(Net(), loss_of)


@sound
def noise_on_the_weights_after_each_step():
    net = mlp()

    def step(optimizer):
        optimizer.step()
        with torch.no_grad():
            for p in net.parameters():
                p.add_(1e-3 * torch.randn_like(p))

    return train(net, step=step)


@sound
def two_gradients_added_up():
    net = Twice()
    optimizer = adam(net)
    with look(net, optimizer) as monitor:
        for x, y in points():
            optimizer.zero_grad()
            for loss in net(x, y):
                loss.backward(retain_graph=True)
            optimizer.step()
            monitor(loss)
    return monitor


@sound
def inputs_turned_against_the_model():
    """Adversarial: the first gradient is only used to change the inputs."""
    net = mlp()
    optimizer = adam(net)
    with look(net, optimizer) as monitor:
        for x, y in points():
            asking = x.clone().requires_grad_()
            functional.cross_entropy(net(asking), y).backward()
            assert asking.grad is not None
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(x + 0.1 * asking.grad.sign()), y)
            loss.backward()
            optimizer.step()
            monitor(loss)
    return monitor


@sound
def inputs_turned_by_a_slope_and_a_loss_kept_up():
    """The same by autograd.grad, and a loss that is flooded: a number is added to it."""

    def loss_of(model, x, y):
        x = x.clone().requires_grad_()
        slope = torch.autograd.grad(functional.cross_entropy(model(x), y), x)[0]
        loss = functional.cross_entropy(
            model((x + 0.1 * slope.sign()).detach().requires_grad_()), y
        )
        return (loss - 0.1).abs() + 0.1

    return train(mlp(), loss_of)


@sound
def clipped_when_unscaled():
    return scaled(is_unscaled=True)


@sound
def base_rate_of_one():
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    plan = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: 0.01 * 0.98**at)
    return train(net, optimizer=optimizer, step=lambda o: (o.step(), plan.step()))


@sound
def slow_start_over_as_many_steps_as_the_rate_is_small():
    """The first share, 0.001, is the rate itself, and the second is twice as large."""
    net = mlp()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    plan = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda at: min(1.0, (at + 1) / 1000))
    return train(net, optimizer=optimizer, step=lambda o: (o.step(), plan.step()))


# ------------------------------------------------------------ what a loss takes


@sound
def every_sample_held_against_all_others():
    def loss_of(o, y):
        apart = (o[:, None] - o.detach()[None]).square().mean()
        return functional.cross_entropy(o, y) - 0.01 * apart

    return train(mlp(), by(loss_of))


@sound
def spread_of_all_pairs():
    """(n, 1, d) less (1, n, d), which is meant."""
    return train(
        mlp(), by(lambda o, y: (o[:, None] - functional.one_hot(y, 4)[None]).square().mean())
    )


@sound
def shares_of_several_classes():
    def shares(x):
        marks = (x[:, :4] > 0).float() + 1e-6
        return marks / marks.sum(1, keepdim=True)

    return train(mlp(), batches=((x, shares(x)) for x, _ in points()))


@sound
def two_classes_of_each_sample():
    def marks(x):
        return torch.zeros(len(x), 4).scatter(1, x[:, :4].topk(2).indices, 1.0)

    return train(mlp(), batches=((x, marks(x)) for x, _ in points()))


@sound
def labels_turned_as_the_outputs():
    def loss_of(model, x, y):
        return functional.cross_entropy(model(x).reshape(-1, 50), y.T.reshape(-1))

    return train(Turned(), loss_of, tokens())


@sound
def one_less_the_overlap():
    return train(mlp(), by(lambda o, y: 1 - overlap(o, y)))


@sound
def minus_the_overlap():
    return train(mlp(), by(lambda o, y: -overlap(o, y)), at="backward")


@sound
def overlap_of_what_is_not_there():
    """A lower overlap with the wrong classes, which is a higher one with the right ones."""
    return train(mlp(), by(lambda o, y: 1 - overlap(-o, (y + 1) % 4)))


@sound
def normed_output_near_its_targets():
    net = mlp(nn.BatchNorm1d(1, affine=False), outputs=1)
    return train(net, by(functional.mse_loss), ((x, (y - y.mean()) / y.std()) for x, y in values()))


@sound
def error_by_a_deviation_and_its_logarithm():
    return train(mlp(outputs=2), by(lambda o, y: of_two(o, y, has_log=True)), values())


@sound
def mean_and_variance_of_the_answer_given_apart():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.both = mlp(outputs=2)

        def forward(self, x):
            mean, log_var = self.both(x).chunk(2, 1)
            return mean, log_var.clamp(-6, 6)

    def loss_of(model, x, y):
        mean, log_var = model(x)
        return ((y - mean) ** 2 / log_var.exp() + log_var).mean() / 2

    return train(Net(), loss_of, values(size=128))


@sound
def error_by_the_answer_itself():
    def loss_of(o, y):
        answer = functional.softplus(o)
        return ((answer - y.exp()) ** 2 / answer).mean()

    return train(mlp(outputs=1), by(loss_of), values())


@sound
def divergence_added():
    return train(Vae(), lambda m, x, y: elbow(m, x), points(size=128))


@sound
def divergence_added_little():
    return train(Vae("rsample"), lambda m, x, y: elbow(m, x, 1e-3), points(size=128))


@sound
def twins_labelled_by_their_sign():
    return twins(is_signed=True)


@sound
def scaled_cosines_of_all_pairs():
    return train(mlp(outputs=16), by(lambda o, y: all_pairs(o, 10.0)))


# ------------------------------------------------------------ graphs and data


@sound
def slope_with_a_graph():
    net = mlp(inputs=1, outputs=1, unit=nn.Tanh)
    return train(net, lambda m, x, y: slope_loss(m, x, create_graph=True, is_bare=False))


@sound
def penalty_with_a_graph():
    net = mlp(outputs=1)
    return train(net, lambda m, x, y: penalised(m, x, create_graph=True))


@sound
def actions_drawn_for_a_policy_beside_its_value():
    """Draws without a graph, and heads of one shape: but nothing of the model takes the draws."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.mean, self.spread = mlp(outputs=16), nn.Linear(16, 2), nn.Linear(16, 2)
            self.value = nn.Linear(16, 1)

        def forward(self, x):
            h = self.body(x)
            return self.mean(h), self.spread(h).clamp(-5, 2), self.value(h).squeeze(1)

    def loss_of(model, x, y):
        mean, log_std, value = model(x)
        draws = torch.distributions.Normal(mean, log_std.exp())
        action = draws.sample()
        reward = -action.square().sum(1)
        gained = (reward - value.detach()) * draws.log_prob(action).sum(1)
        return functional.mse_loss(value, reward) - gained.mean()

    return train(Net(), loss_of)


@sound
def inputs_that_ask_for_no_reason():
    batches = ((x.clone().requires_grad_(), y) for x, y in points())
    return train(mlp(), by(lambda o, y: functional.cross_entropy(o, y) + 0.5), batches)


@sound
def time_of_the_noise_told_to_the_model():
    """A layer takes values without a graph that are of other layers' shape."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.time, self.out = mlp(outputs=8), mlp(outputs=8), mlp()

        def forward(self, x):
            waves = torch.arange(len(x))[:, None] * torch.arange(1, 9) * 0.1
            return self.out(self.first(x) + self.time(waves.sin()))

    return train(Net())


@sound
def column_that_tells_one_class_of_four():
    batches = ((torch.cat([x, (y[:, None] == 1).float()], 1), y) for x, y in points())
    return train(mlp(inputs=9), batches=batches)


@sound
def all_rows_at_every_step():
    x, y = next(points(size=160))
    return train(mlp(), batches=((x, y) for _ in range(3)))


@sound
def all_rows_by_a_loader():
    x, y = next(points(size=160))
    loader = DataLoader(TensorDataset(x, y), batch_size=160)
    return train(mlp(), batches=(batch for _ in range(3) for batch in loader))


@sound
def one_batch_on_purpose():
    x, y = next(points(size=160))
    loader = DataLoader(TensorDataset(x, y), batch_size=32)
    batch = next(iter(loader))
    return train(mlp(), batches=(batch for _ in range(3)))


@at_most_warned
def first_rows_on_purpose():
    x, y = next(points(size=160))
    batch = x[:32], y[:32]
    return train(mlp(), batches=(batch for _ in range(3)))
