"""Programs that ask a model for the wrong thing, or keep it from what it is asked for."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from looked_at import adam, by, faulty, look, mlp, points, squared, tokens, train, values


class Causal(nn.Module):
    """Symbols below 50 to scores of the next, (n, t, 50); blind to later places or not."""

    def __init__(self, *, is_blind: bool = True, with_weights: bool = False):
        super().__init__()
        self.table, self.attention = nn.Embedding(50, 16), nn.MultiheadAttention(16, 2)
        self.attention.batch_first = True
        self.head = nn.Linear(16, 50)
        self.is_blind, self.with_weights = is_blind, with_weights

    def forward(self, x: Tensor) -> Tensor:
        h = self.table(x)
        mask = torch.full((x.shape[1], x.shape[1]), float("-inf")).triu(1)
        mask = mask if self.is_blind else None
        return self.head(
            h + self.attention(h, h, h, attn_mask=mask, need_weights=self.with_weights)[0]
        )


class OneAnswer(nn.Module):
    """(n, t) symbols to (n, 4), through a layer over sequences."""

    def __init__(self, layer: nn.Module, *, is_turned: bool = False):
        super().__init__()
        self.table, self.layer, self.head = nn.Embedding(50, 16), layer, nn.Linear(16, 4)
        self.is_turned = is_turned

    def forward(self, x: Tensor) -> Tensor:
        h = self.table(x)
        h = self.layer(h.transpose(0, 1) if self.is_turned else h)
        h = h[0] if isinstance(h, tuple) else h
        return self.head(h.mean(0 if self.is_turned else 1))


def by_place(o: Tensor, y: Tensor) -> Tensor:
    return functional.cross_entropy(o.flatten(0, 1), y.flatten())


def lines(*, size: int = 8):
    """Symbols, and a class for each line."""
    for x, _ in tokens(size=size):
        yield x, x[:, 0] % 4


# ------------------------------------------------------------ labels


@faulty("TW206")
def sorted_by_class():
    batches = ((x, torch.full_like(y, i % 4)) for i, (x, y) in enumerate(points()))
    return train(mlp(), batches=batches)


@faulty("TW206")
def labels_lost():
    return train(mlp(), batches=((x, y * 0) for x, y in points()), at="backward")


@faulty("TW205")
def symbols_that_were_given():
    return train(Causal(), lambda model, x, y: by_place(model(x), x), tokens())


@faulty("TW205")
def next_symbol_in_sight():
    return train(Causal(is_blind=False), by(by_place), tokens())


@faulty("TW205")
def next_symbol_in_sight_of_weights():
    net = Causal(is_blind=False, with_weights=True)
    return train(net, lambda model, x, y: functional.cross_entropy(model(x).mT, y), tokens())


@faulty("TW305")
def minus_forgotten():
    def loss(o, y):
        return (functional.one_hot(y, 4) * o.log_softmax(1)).sum(1).mean()

    return train(mlp(), by(loss))


@faulty("TW305")
def soft_margin_of_zeros_and_ones():
    def loss(o, y):
        return functional.soft_margin_loss(o[:, 0], (y > 1).float())

    return train(mlp(outputs=1), by(loss))


@faulty("TW305")
def hinge_of_zeros_and_ones():
    def loss(o, y):
        return (1 - (y > 1).float() * o[:, 0]).relu().mean()

    return train(mlp(outputs=1), by(loss))


# ------------------------------------------------------------ what the loss is given


@faulty("TW305")
def dropout_behind_the_last_layer():
    return train(mlp(nn.Dropout(0.5)))


@faulty("TW305")
def dropout_behind_the_only_number():
    return train(mlp(nn.Dropout(0.3), outputs=1), squared, values())


@faulty("TW305")
def cosines_without_a_scale():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.w = mlp(outputs=16), nn.Parameter(torch.randn(8, 16))

        def forward(self, x):
            return functional.normalize(self.body(x)) @ functional.normalize(self.w).T

    return train(Net(), batches=points(classes=8))


@faulty("TW305")
def logarithm_of_a_relu():
    return train(mlp(nn.ReLU()), by(lambda o, y: functional.nll_loss((o + 1e-6).log(), y)))


@faulty("TW206")
def samples_for_steps():
    return train(OneAnswer(nn.TransformerEncoderLayer(16, 2, 32)), batches=lines())


@faulty("TW206")
def samples_for_steps_of_a_gru():
    return train(OneAnswer(nn.GRU(16, 16)), batches=lines())


# ------------------------------------------------------------ weights, inputs, steps


@faulty("TW307")
def parameter_times_a_number():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.centres = nn.Parameter(torch.randn(16, 8)) * 0.5
            self.out = nn.Linear(16, 4)

        def forward(self, x):
            return self.out((-torch.cdist(x, self.centres)).exp())

    net = Net()

    def loss_of(model, x, y):
        model.centres.retain_grad()
        return functional.cross_entropy(model(x), y)

    return train(net, loss_of, points(steps=1))


@faulty("TW307")
def layer_in_a_function():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            layer = nn.Linear(8, 16)
            self.first, self.out = lambda x: layer(x).relu(), nn.Linear(16, 4)

        def forward(self, x):
            return self.out(self.first(x))

    return train(Net())


@faulty("TW303")
def scales_of_a_normalisation_zero():
    net = nn.Sequential(nn.Linear(8, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 4))
    nn.init.zeros_(net[1].weight)
    return train(net)


@faulty("TW303")
def own_matrices_from_a_standard_normal():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Parameter(torch.randn(8, 256))
            self.two = nn.Parameter(torch.randn(256, 256))
            self.three = nn.Parameter(torch.randn(256, 4))

        def forward(self, x):
            return ((x @ self.one).relu() @ self.two).relu() @ self.three

    net = Net()
    optimizer = adam(net)
    with look(net, optimizer) as monitor:
        for x, y in points():
            optimizer.zero_grad()
            loss = functional.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()
            monitor(loss)
    return monitor


@faulty("TW208")
def inputs_scaled_twice():
    return train(mlp(), batches=((x / 400 - 2, y) for x, y in points()))


@faulty("TW102")
def rate_with_too_many_zeros():
    net = mlp()
    return train(net, optimizer=torch.optim.Adam(net.parameters(), lr=1e-13))
