"""Programs with a fault that is easily overlooked: nothing fails, and the loss may even fall."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from looked_at import (
    adam,
    by,
    cross_entropy,
    faulty,
    images,
    look,
    mlp,
    points,
    squared,
    tokens,
    train,
    values,
)
from sound_models import conv, next_token


def tens(**sizes):
    """Batches of ten classes."""
    return points(inputs=16, classes=10, size=64, **sizes)


def of_tens(*more, unit=nn.ReLU):
    return mlp(*more, inputs=16, outputs=10, unit=unit)


# ------------------------------------------------------------ squared distances by hand


@faulty("TW305")
def all_outputs_against_class_numbers():
    return train(of_tens(), by(lambda o, y: ((o - y[:, None].float()) ** 2).mean()), tens())


@faulty("TW305")
def class_numbers_less_all_outputs():
    loss = by(lambda o, y: (y.unsqueeze(1) - o).square().sum() / len(o))
    return train(of_tens(), loss, tens(), at="backward")


@faulty("TW305")
def half_a_product_of_differences():
    def loss(o, y):
        away = o - y[:, None]
        return 0.5 * (away * away).mean()

    return train(of_tens(), by(loss), tens(), at="loss")


@faulty("TW305")
def two_outputs_against_0_and_1():
    loss = by(lambda o, y: ((o - (y > 1).float()[:, None]) ** 2).mean())
    return train(mlp(outputs=2), loss, points(size=64))


@faulty("TW305")
def the_only_output_against_class_numbers():
    loss = by(lambda o, y: functional.mse_loss(o[:, 0], y.float()))
    return train(mlp(outputs=1), loss, points(size=64))


@faulty("TW305")
def relu_in_the_loss_before_negative_targets():
    net = mlp(outputs=1)
    nn.init.constant_(net[4].bias, 0.1)
    return train(net, by(lambda o, y: ((o.relu() - y) ** 2).mean()), values(size=64), at="loss")


@faulty("TW305")
def sigmoid_in_the_loss_before_large_targets():
    loss = by(lambda o, y: functional.mse_loss(o.sigmoid(), 5 * y))
    return train(mlp(outputs=1), loss, values(size=64))


@faulty("TW305")
def tanh_by_hand_before_large_targets():
    loss = by(lambda o, y: (o.tanh() - 5 * y).pow(2).mean())
    return train(mlp(outputs=1), loss, values(size=64), at="loss")


# ------------------------------------------------------------ evaluated in training mode


def evaluated(model, batches, *, after, data, steps=5):
    """A pass without gradients on the data after some steps, in the mode in which it was."""
    optimizer = adam(model)
    with look(model, optimizer) as monitor:
        for i, (x, y) in enumerate(batches, start=1):
            optimizer.zero_grad()
            loss = cross_entropy(model, x, y)
            loss.backward()
            optimizer.step()
            monitor(loss)
            if i in after:
                with torch.no_grad():
                    model(data)
    return monitor


@faulty("TW306")
def evaluated_with_dropout_on_a_larger_batch():
    return evaluated(
        mlp().insert(4, nn.Dropout(0.2)), points(), after=[2], data=torch.randn(200, 8)
    )


@faulty("TW306")
def evaluated_with_batch_norm_on_the_same_batch_after_each_step():
    net = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4))
    return evaluated(net, images(), after=range(9), data=torch.randn(16, 3, 8, 8))


# ------------------------------------------------------------ who trains which weight


class Remade(nn.Module):
    """Its last layer comes from a function that makes one."""

    def __init__(self, make):
        super().__init__()
        self.body, self.make = mlp(outputs=16), make

    def forward(self, x):
        return self.make()(self.body(x).relu())


@faulty("TW307")
def a_layer_made_in_every_pass():
    return train(Remade(lambda: nn.Linear(16, 4)))


@faulty("TW307")
def layers_made_in_every_pass():
    make = lambda: nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))  # noqa: E731
    return train(Remade(make), at="loss")


@faulty("TW307")
def a_parameter_made_in_every_pass():
    def make():
        weight = nn.Parameter(torch.randn(4, 16) / 4)
        return lambda h: functional.linear(h, weight)

    return train(Remade(make))


@faulty("TW307")
def a_group_whose_rate_is_zero():
    net = mlp()
    groups = [{"params": net[:2].parameters(), "lr": 0.0}, {"params": net[2:].parameters()}]
    return train(net, optimizer=torch.optim.AdamW(groups, lr=1e-3))


@faulty("TW307")
def hidden_layers_frozen_as_drawn():
    net = mlp()
    net[:4].requires_grad_(False)
    return train(net)


@faulty("TW307")
def convolutions_frozen_as_drawn():
    net = nn.Sequential(conv(3, 16), nn.ReLU(), conv(16, 16), nn.ReLU(), nn.Flatten())
    net.requires_grad_(False)
    return train(nn.Sequential(net, nn.Linear(1024, 4)), batches=images())


@faulty("TW307")
def never_backward():
    net = mlp()
    optimizer = adam(net)
    with look(net, optimizer) as monitor:
        for x, y in points():
            optimizer.zero_grad()
            loss = cross_entropy(net, x, y)
            optimizer.step()
            monitor(loss)
    return monitor


# ------------------------------------------------------------ graphs that are cut, or flat


class Between(nn.Module):
    def __init__(self, between):
        super().__init__()
        self.body, self.head, self.between = mlp(outputs=16), nn.Linear(16, 4), between

    def forward(self, x):
        return self.head(self.between(self.body(x)))


@faulty("TW309")
def rounded_between():
    return train(Between(torch.round))


@faulty("TW309")
def signs_between():
    return train(Between(torch.sign), at="loss")


@faulty("TW309")
def floored_to_steps():
    return train(Between(lambda h: torch.floor(4 * h) / 4))


@faulty("TW309")
def a_loss_made_from_a_number():
    def loss(o, y):
        return torch.tensor(functional.cross_entropy(o, y).item(), requires_grad=True)

    return train(mlp(), by(loss))


@faulty("TW309")
def a_loss_that_was_detached_and_wants_a_gradient():
    loss = by(lambda o, y: functional.cross_entropy(o, y).detach().requires_grad_())
    return train(mlp(), loss, at="loss")


# ------------------------------------------------------------ labels


def masked(*, batch):
    for i, (x, y) in enumerate(points(), start=1):
        yield x, torch.full_like(y, -100) if i == batch else y


@faulty("TW310")
def every_label_of_the_second_batch_masked():
    return train(mlp(), batches=masked(batch=2))


@faulty("TW310")
def every_label_of_one_batch_masked_and_counted_as_one():
    def loss(o, y):
        each = functional.cross_entropy(o, y, reduction="none", ignore_index=-100)
        return each.sum() / (y != -100).sum().clamp(min=1)

    return train(mlp(), by(loss), masked(batch=1))


# ------------------------------------------------------------ weights, units


@faulty("TW303")
def all_weights_one_before_a_single_output():
    net = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
    for module in (net[0], net[2]):
        nn.init.ones_(module.weight)
    return train(net, squared, values())


@faulty("TW301")
def a_relu_at_the_end_that_is_always_zero():
    net = mlp(nn.ReLU(), outputs=1)
    nn.init.constant_(net[4].bias, -30.0)
    return train(net, by(lambda o, y: functional.mse_loss(o, y.abs() + 1)), values())


@faulty("TW104")
def outputs_cut_off_below_all_of_them():
    loss = by(lambda o, y: o.clamp(min=9.0).square().mean())
    return train(mlp(outputs=1), loss, values())


# ------------------------------------------------------------ capacity


@faulty("TW202")
def dropout_of_nearly_all():
    return train(nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.95), nn.Linear(64, 4)))


@faulty("TW202")
def channels_dropped_nearly_all():
    net = nn.Sequential(conv(3, 8), nn.Dropout2d(0.9), nn.Flatten(), nn.Linear(512, 4))
    return train(net, batches=images())


@faulty("TW202")
def dropout_of_all():
    return train(nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(1.0), nn.Linear(64, 4)))


@faulty("TW202")
def one_unit_before_ten_classes():
    net = nn.Sequential(nn.Linear(16, 1), nn.ReLU(), nn.Linear(1, 10))
    return train(net, batches=tens())


@faulty("TW202")
def one_unit_in_the_middle():
    net = nn.Sequential(
        *(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 1), nn.ReLU()),
        *(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 10)),
    )
    return train(net, batches=tens(), at="loss")


@faulty("TW202")
def one_channel_at_the_end():
    net = nn.Sequential(
        *(conv(3, 8), nn.ReLU(), conv(8, 1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(16, 10)),
    )
    return train(net, batches=((x, torch.randint(10, (len(x),))) for x, _ in images()))


@faulty("TW202")
def columns_that_are_one():
    weights = torch.linspace(-2, 3, 8)
    return train(mlp(), batches=((x[:, :1] * weights, y) for x, y in points()))


@faulty("TW104")
def inputs_of_zeros():
    return train(mlp(), batches=((0 * x, y) for x, y in points()))


@faulty("TW104")
def the_same_inputs_for_all():
    return train(mlp(), batches=((x[:1].expand(32, 8), y) for x, y in points()))


@faulty("TW307")
def stepped_never_and_zeroed_always():
    return train(mlp(), batches=points(steps=2), step=lambda optimizer: None)


@faulty("TW202")
def two_numbers_for_each_of_fifty_symbols():
    return train(nn.Sequential(nn.Embedding(50, 2), nn.Linear(2, 50)), by(next_token), tokens())
