"""Sound programs that look as if a model were asked for the wrong thing."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

from faulty_asked import Causal, OneAnswer, by_place, lines
from looked_at import adam, by, look, mlp, points, sound, tokens, train


@sound
def next_symbol_out_of_sight():
    return train(Causal(), by(by_place), tokens())


@sound
def next_symbol_out_of_sight_of_weights():
    return train(Causal(with_weights=True), by(by_place), tokens())


@sound
def tags_of_symbols_in_full_sight():
    return train(Causal(is_blind=False), lambda m, x, y: by_place(m(x), x * 7 % 50), tokens())


@sound
def some_symbols_hidden():
    def loss_of(model, x, y):
        hidden = torch.rand(x.shape) < 0.3
        hidden[:, 0] = True
        labels = x.masked_fill(~hidden, -100)
        return by_place(model(x.masked_fill(hidden, 0)), labels)

    return train(Causal(is_blind=False), loss_of, tokens())


@sound
def line_given_back_through_a_code():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.reader = nn.Embedding(50, 16), nn.GRU(16, 24, batch_first=True)
            self.writer, self.out = nn.GRU(24, 24, batch_first=True), nn.Linear(24, 50)

        def forward(self, x):
            code = self.reader(self.table(x))[1][-1]
            return self.out(self.writer(code[:, None].repeat(1, x.shape[1], 1))[0])

    return train(Net(), lambda m, x, y: by_place(m(x), x), tokens())


@sound
def pairs_told_by_their_first_place():
    """The right one of the scores always stands first."""

    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.kept = mlp(outputs=8), torch.randn(64, 8)

        def forward(self, x):
            z = functional.normalize(self.body(x))
            with torch.no_grad():
                other = functional.normalize(self.body(x + 0.1))
            own = (z * other).sum(1, keepdim=True)
            return torch.cat([own, z @ functional.normalize(self.kept).T], dim=1) / 0.2

    batches = ((x, y * 0) for x, y in points())
    return train(Pairs(), batches=batches)


@sound
def two_classes_of_which_one_is_rare():
    batches = ((x, (torch.arange(len(x)) < 0).long()) for x, _ in points())
    return train(mlp(outputs=2), batches=batches)


@sound
def policy_of_rewards_of_either_sign():
    def loss(o, y):
        action = o.softmax(1).multinomial(1)[:, 0]
        reward = torch.where(action == y, 1.0, -0.2)
        chosen = functional.one_hot(action, 4) * o.log_softmax(1)
        return -(chosen.sum(1) * reward).mean()

    return train(mlp(), by(loss))


@sound
def margins_of_minus_one_and_one():
    def loss(o, y):
        t = (y > 1).float() * 2 - 1
        return (1 - t * o[:, 0]).relu().mean() + functional.soft_margin_loss(o[:, 0], t)

    return train(mlp(outputs=1), by(loss))


@sound
def cosines_with_a_scale():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.w = mlp(outputs=16), nn.Parameter(torch.randn(8, 16))

        def forward(self, x):
            return 16 * functional.normalize(self.body(x)) @ functional.normalize(self.w).T

    return train(Net(), batches=points(classes=8))


@sound
def logarithm_of_what_was_made_to_sum_to_one():
    def loss(o, y):
        o = o.exp()
        return functional.nll_loss((o / o.sum(1, keepdim=True) + 1e-6).log(), y)

    return train(mlp(), by(loss))


@sound
def steps_before_samples():
    return train(OneAnswer(nn.GRU(16, 16), is_turned=True), batches=lines())


@sound
def samples_before_steps():
    return train(OneAnswer(nn.GRU(16, 16, batch_first=True)), batches=lines())


@sound
def encoder_that_ends_in_dropout():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = mlp(nn.Dropout(0.2), outputs=16), nn.Linear(16, 4)

        def forward(self, x):
            return self.body(x)

    net = Net()
    return train(net, lambda m, x, y: functional.cross_entropy(m.head(m(x)), y))


@sound
def function_that_uses_a_critic():
    """The critic has an optimizer of its own."""
    net, critic = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8)), mlp(outputs=1)
    net.judge = lambda x: critic(x) / 2
    first, second = adam(net), adam(critic)
    with look(net, first) as monitor:
        for x, _ in points():
            second.zero_grad()
            (critic(net(x).detach()).mean() - critic(x).mean()).backward()
            second.step()
            first.zero_grad()
            loss = -net.judge(net(x)).mean()
            loss.backward()
            first.step()
            monitor(loss)
    return monitor


@sound
def activation_kept_from_a_first_pass():
    net = mlp()
    net.kept = net(torch.randn(4, 8))
    return train(net)


@sound
def blocks_whose_last_scale_is_zero():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(32, 32), nn.LayerNorm(32))
            nn.init.zeros_(self.body[1].weight)

        def forward(self, x):
            return x + self.body(x)

    return train(nn.Sequential(nn.Linear(8, 32), Block(), Block(), nn.Linear(32, 4)))


@sound
def trained_matrices_of_ones_own():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Parameter(torch.randn(8, 64) / 8**0.5)
            self.two = nn.Parameter(torch.randn(64, 4) / 8)

        def forward(self, x):
            return (x @ self.one).relu() @ self.two

    net = Net()
    train(net, batches=points(steps=40))
    return train(copy.deepcopy(net), batches=((x, 3 - y) for x, y in points()))


@sound
def rate_that_begins_far_below_its_peak():
    net = mlp()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 1e-9, total_iters=50)
    return train(net, optimizer=optimizer, step=lambda o: (o.step(), warm.step()))
