"""Sound programs that resemble those of `faulty_more`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from faulty_details import of_tens, tens
from faulty_more import Blocks, beside
from looked_at import adam, by, look, mlp, points, sound, squared, tokens, train, values

# ------------------------------------------------------------ losses


def words():
    return nn.Sequential(nn.Embedding(50, 16), nn.Linear(16, 50))


@sound
def log_softmax_over_symbols():
    def loss(o, y):
        return functional.nll_loss(o.log_softmax(-1).flatten(0, 1), y.flatten())

    return train(words(), by(loss), tokens())


@sound
def log_softmax_and_then_a_transposition():
    def loss(o, y):
        return functional.nll_loss(o.log_softmax(2).permute(0, 2, 1), y)

    return train(words(), by(loss), tokens(), at="loss")


@sound
def log_softmax_over_the_second_of_three():
    def loss(o, y):
        return functional.nll_loss(o.mT.log_softmax(1), y)

    return train(words(), by(loss), tokens())


@sound
def reward_below_zero():
    def loss(o, y):
        log_p = o.log_softmax(1).gather(1, y[:, None]).mean()
        return log_p * 0.7

    return train(mlp(), lambda model, x, y: -loss(model(x), y))


@sound
def log_probabilities_times_a_reward():
    rewards = torch.linspace(-1, 3, 32)

    def loss(o, y):
        return -(o.log_softmax(1)[torch.arange(len(y)), y] * rewards).mean()

    return train(mlp(), by(loss))


@sound
def adversary_led_astray():
    body, judge = nn.Linear(8, 16), nn.Linear(16, 4)
    first, second = adam(body), adam(judge)
    net = nn.Sequential(body, judge)
    with look(net, first) as monitor:
        for x, y in points():
            second.zero_grad()
            functional.cross_entropy(judge(body(x).detach()), y).backward()
            second.step()
            first.zero_grad()
            loss = -functional.cross_entropy(net(x), y)
            loss.backward()
            first.step()
            monitor(loss)
    return monitor


@sound
def log_probabilities_of_a_teacher():
    teacher = mlp(nn.LogSoftmax(1)).requires_grad_(False)
    return train(
        mlp(nn.LogSoftmax(1)), lambda model, x, y: functional.mse_loss(model(x), teacher(x))
    )


@sound
def positive_numbers_behind_softplus():
    batches = ((x, y.exp()) for x, y in values())
    return train(mlp(nn.Softplus(), outputs=1), squared, batches)


@sound
def noisy_yes_or_no():
    def loss(o, y):
        labels = (y[:, None] > 1) * 1.0 + 0.3 * torch.rand(len(y), 1) - 0.1
        return functional.binary_cross_entropy_with_logits(o, labels)

    return train(mlp(outputs=1), by(loss))


@sound
def weighted_yes_or_no():
    weight = torch.tensor([3.0])

    def loss(o, y):
        t = (y[:, None] > 1).float()
        return functional.binary_cross_entropy_with_logits(o, t, pos_weight=weight)

    return train(mlp(outputs=1), by(loss))


@sound
def two_probabilities_into_bce():
    def loss(o, y):
        return functional.binary_cross_entropy(o.softmax(1), functional.one_hot(y % 2, 2).float())

    return train(mlp(outputs=2), by(loss))


@sound
def entropy_by_hand_of_two_columns():
    def loss(o, y):
        p, t = o.sigmoid(), (y[:, None] > 1).float()
        return -(t * p.log() + (1 - t) * (1 - p).log()).mean()

    return train(mlp(outputs=1), by(loss))


@sound
def order_of_survival():
    """Each sample's risk beside that of all who are left, by a mask of (n, n)."""

    def loss(o, y):
        mask = (y[:, None] <= y).float()
        return -(o[:, 0] - (mask * o[:, 0].exp()).sum(1).log()).mean()

    return train(mlp(outputs=1), by(loss))


@sound
def pairs_in_order():
    def loss(o, y):
        above = (y[:, None] > y).float()
        return (above * functional.softplus(o.T - o)).mean()

    return train(mlp(outputs=1), by(loss))


@sound
def poisson_of_a_logarithm():
    def loss(o, y):
        return functional.poisson_nll_loss(o, y[:, None].float())

    return train(mlp(outputs=1), by(loss))


@sound
def logarithm_of_a_softplus():
    def loss(o, y):
        return functional.poisson_nll_loss(o, y[:, None].float(), log_input=False)

    return train(mlp(nn.Softplus(), outputs=1), by(loss))


@sound
def heads_of_coins():
    """Amounts from 0 to 6, the middle ones most often."""
    draw = torch.Generator().manual_seed(0)
    batches = ((x, (torch.rand(32, 6, generator=draw) > 0.5).sum(1).float()) for x, _ in points())
    return train(mlp(outputs=1), by(lambda o, y: functional.mse_loss(o[:, 0], y)), batches)


# ------------------------------------------------------------ who is trained


class Shared(Blocks):
    """One block that is meant to run again and again, and an own one at the end."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(32, 32), nn.Linear(32, 32)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for _ in range(3):
            x = x + self.blocks[0](x)
        return self.last(self.blocks[1](x))


@sound
def one_block_again_and_again():
    return train(Shared())


class Experts(Blocks):
    """All samples of a batch go to one of three."""

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.blocks[1](self.first(x)))


@sound
def one_expert_for_all():
    return train(Experts())


@sound
def pulled_back_towards_the_first_weights():
    net = mlp()
    first = [p.detach().clone() for p in net.parameters()]

    def pull():
        with torch.no_grad():
            for p, begun in zip(net.parameters(), first, strict=True):
                p.lerp_(begun, 0.5)

    return train(net, before=[pull])


class OneHot(nn.Module):
    """Symbols as rows of zeros and a one; its table is for later."""

    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(50, 16), nn.Linear(50, 50)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(functional.one_hot(ids, 50).float())


@sound
def one_hot_symbols():
    return train(OneHot(), by(lambda o, y: functional.cross_entropy(o.mT, y)), tokens())


@sound
def one_factor_zero():
    return train(beside(torch.randn))


# ------------------------------------------------------------ first weights, layers


@sound
def recurrent_weights_of_a_trained_size():
    rnn, out = nn.GRU(8, 64, batch_first=True), nn.Linear(64, 4)
    nn.init.orthogonal_(rnn.weight_hh_l0, gain=1.5)
    net = nn.ModuleList([rnn, out])

    def loss(model, x, y):
        return functional.cross_entropy(model[1](model[0](x[:, None])[0][:, -1]), y)

    return train(net, loss)


@sound
def all_weights_twice_as_large():
    net = of_tens()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(2)
    return train(net, batches=tens())


@sound
def one_unit_without_a_bend():
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1), nn.Tanh(), nn.Linear(1, 2))
    return train(net, batches=((x, y % 2) for x, y in points()))


@sound
def one_unit_beside_others():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.gate, self.out = nn.Linear(8, 32), nn.Linear(8, 1), nn.Linear(32, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.body(x).relu() * self.gate(x).relu())

    return train(Gate(), batches=((x, y % 2) for x, y in points()))


@sound
def the_longest_momentum_that_recipes_take():
    net = mlp()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.99, nesterov=True)
    return train(net, optimizer=optimizer)


@sound
def a_trained_body_at_a_thousandth_of_the_rate():
    net = mlp()
    with torch.no_grad():  # strong and weak inputs, as training leaves them
        net[0].weight.mul_(torch.linspace(0.1, 2.0, net[0].in_features))
    groups = [{"params": net[0].parameters(), "lr": 1e-6}, {"params": net[2:].parameters()}]
    return train(net, optimizer=torch.optim.Adam(groups, lr=1e-3))


@sound
def rates_by_width():
    net = mlp()
    groups = [{"params": net[0].parameters()}, {"params": net[2:].parameters(), "lr": 1e-3 / 64}]
    return train(net, optimizer=torch.optim.Adam(groups, lr=1e-3))


@sound
def a_table_of_shares():
    class Shares(nn.Module):
        def __init__(self):
            super().__init__()
            self.share, self.last = nn.Parameter(torch.rand(8, 32)), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(x @ self.share.softmax(0))

    return train(Shares())


@sound
def targets_of_hundreds():
    net = mlp(outputs=1)
    return train(net, squared, ((x, 80 * y + 150) for x, y in values()))
