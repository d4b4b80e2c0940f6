"""Sound programs that resemble those of `faulty_details`."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

from faulty_details import evaluated, of_tens, tens
from looked_at import (
    adam,
    at_most_warned,
    by,
    cross_entropy,
    images,
    look,
    mlp,
    points,
    sound,
    squared,
    tokens,
    train,
    values,
)
from sound_models import conv
from sound_programs import next_token, trained

# ------------------------------------------------------------ squared distances by hand


@sound
def one_hot_targets_by_hand():
    loss = by(lambda o, y: ((o - functional.one_hot(y, 10)) ** 2).mean())
    return train(of_tens(), loss, tens())


@sound
def several_heads_on_one_number():
    return train(mlp(outputs=5), by(lambda o, y: ((o - y) ** 2).mean()), values(size=64))


@sound
def counts_by_hand():
    source = torch.Generator().manual_seed(1)
    rate = torch.full((64, 1), 1.5)
    batches = ((x, torch.poisson(rate, generator=source)) for x, _ in points(size=64))
    return train(mlp(outputs=1), by(lambda o, y: (o - y).square().mean()), batches)


@sound
def several_counts_at_once():
    source = torch.Generator().manual_seed(1)
    rate = torch.full((64, 4), 1.5)
    batches = ((x, torch.poisson(rate, generator=source)) for x, _ in points(size=64))
    return train(mlp(), by(lambda o, y: 0.5 * (o - y).square().sum() / 64), batches)


@sound
def a_value_of_each_state_beside_the_actions():
    net = nn.ModuleDict({"body": mlp(outputs=16), "act": nn.Linear(16, 4)})
    net.value = nn.Linear(16, 1)

    def loss(model, x, y):
        h = model["body"](x).relu()
        worth = (model.value(h)[:, 0] - y.float()).square().mean()
        return functional.cross_entropy(model["act"](h), y) + worth

    return train(net, loss, points(size=64))


@sound
def relu_by_hand_before_positive_targets():
    loss = by(lambda o, y: ((o.relu() - y.abs()) ** 2).mean())
    return train(mlp(outputs=1), loss, values(size=64))


@sound
def weighted_squares():
    loss = by(lambda o, y: ((1 + y.abs()) * (o.tanh() - y.tanh()) ** 2).mean())
    return train(mlp(outputs=1), loss, values(size=64))


@sound
def squares_accumulated():
    loss = by(lambda o, y: ((o.sigmoid() - y.sigmoid()) ** 2).mean())
    return train(mlp(outputs=1), loss, values(steps=12), every=3, at="loss")


# ------------------------------------------------------------ passes without gradients


@sound
def evaluated_in_evaluation_mode_on_a_larger_batch():
    net = mlp().insert(4, nn.Dropout(0.2))
    optimizer = adam(net)
    with look(net, optimizer) as monitor:
        for i, (x, y) in enumerate(points()):
            net.train()
            optimizer.zero_grad()
            loss = cross_entropy(net, x, y)
            loss.backward()
            optimizer.step()
            monitor(loss)
            if i == 1:
                net.eval()
                with torch.no_grad():
                    net(torch.randn(500, 8))
    return monitor


@sound
def generator_sampled_for_the_judge_after_its_own_step():
    make = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 8))
    judge = mlp(outputs=1)
    of_make, of_judge = adam(make), adam(judge)
    bce = functional.binary_cross_entropy_with_logits
    with look(make, of_make) as monitor:
        for x, _ in points():
            loss = bce(judge(make(torch.randn(32, 8))), torch.ones(32, 1))
            of_make.zero_grad()
            loss.backward()
            of_make.step()
            monitor(loss)
            with torch.no_grad():
                made = make(torch.randn(64, 8))
            of_judge.zero_grad()
            both = bce(judge(x), torch.ones(32, 1)) + bce(judge(made), torch.zeros(64, 1))
            both.backward()
            of_judge.step()
    return monitor


@sound
def pictures_made_now_and_then_of_the_same_noise():
    make = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    return evaluated(make, points(), after=[1], data=torch.randn(16, 8))


@sound
def pseudo_labels_of_many_from_the_third_step_on():
    count = iter(range(100))

    def loss(model, x, y):
        own = cross_entropy(model, x, y)
        if next(count) < 3:
            return own
        with torch.no_grad():
            labels = model(torch.randn(200, 8)).argmax(1)
        return own + cross_entropy(model, torch.randn(200, 8), labels)

    return train(mlp().insert(4, nn.Dropout(0.1)), loss, points(steps=9))


@sound
def dropout_averaged_over():
    net = mlp().insert(4, nn.Dropout(0.2))
    optimizer = adam(net)
    with look(net, optimizer) as monitor:
        for i, (x, y) in enumerate(points()):
            optimizer.zero_grad()
            loss = cross_entropy(net, x, y)
            loss.backward()
            optimizer.step()
            monitor(loss)
            if i == 1:
                others = torch.randn(200, 8)
                with torch.no_grad():
                    torch.stack([net(others) for _ in range(8)]).std(0)
    return monitor


@sound
def batch_norm_measured_anew():
    net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = adam(net)
    with look(net, optimizer) as monitor:
        for i, (x, y) in enumerate(points()):
            optimizer.zero_grad()
            loss = cross_entropy(net, x, y)
            loss.backward()
            optimizer.step()
            monitor(loss)
            if i == 2:
                torch.optim.swa_utils.update_bn(points(size=100), net)
    return monitor


# ------------------------------------------------------------ who trains which weight


@sound
def random_features_left_out_of_the_optimizer():
    net = mlp()
    net[:4].requires_grad_(False)
    return train(net, optimizer=adam(net[4]))


@sound
def pretrained_convolutions_given_to_the_optimizer():
    body = nn.Sequential(conv(3, 16), nn.ReLU(), conv(16, 16), nn.ReLU(), nn.Flatten())
    body = trained(body).requires_grad_(False)
    return train(nn.Sequential(body, nn.Linear(1024, 4)), batches=images())


@sound
def an_average_inside_that_the_optimizer_was_given():
    class Student(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()
            self.mean = copy.deepcopy(self.net).requires_grad_(False)

        def forward(self, x):
            return self.net(x), self.mean(x)

    def loss(model, x, y):
        own, mean = model(x)
        return functional.cross_entropy(own, y) + (own - mean).square().mean()

    return train(Student(), loss)


@sound
def curiosity_about_a_random_network():
    class Curious(nn.Module):
        def __init__(self):
            super().__init__()
            self.target, self.guess = mlp(outputs=16).requires_grad_(False), mlp(outputs=16)

        def forward(self, x):
            return self.guess(x), self.target(x)

    def loss(model, x, y):
        guess, target = model(x)
        return functional.mse_loss(guess, target)

    return train(Curious(), loss)


@sound
def a_pretrained_part_at_rest():
    net = nn.Sequential(trained(mlp(outputs=16)), nn.Linear(16, 4))
    groups = [{"params": net[0].parameters(), "lr": 0.0}, {"params": net[1].parameters()}]
    return train(net, optimizer=torch.optim.AdamW(groups, lr=1e-3))


@sound
def groups_that_warm_up_one_after_the_other():
    net = mlp()
    groups = [{"params": net[:2].parameters()}, {"params": net[2:].parameters()}]
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    rates = [lambda s: max(0.0, min(1.0, (s - 3) / 9)), lambda s: 1.0]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rates)
    return train(net, optimizer=optimizer, step=lambda o: (o.step(), schedule.step()))


@sound
def attacked_inputs():
    def loss(model, x, y):
        away = nn.Parameter(torch.zeros_like(x))
        slope = torch.autograd.grad(cross_entropy(model, x + away, y), away)[0]
        away.data = 0.1 * slope.sign()
        return cross_entropy(model, x + away, y)

    return train(mlp(), loss)


@sound
def another_network_in_the_loss():
    other = mlp(inputs=4, outputs=4)
    return train(mlp(), lambda m, x, y: functional.cross_entropy(other(m(x)), y))


@sound
def steps_without_gradients():
    class Random(torch.optim.Optimizer):
        """Tries a direction at random, and goes where the loss is lower."""

        @torch.no_grad()
        def step(self, closure):
            before = closure()
            for p in self.param_groups[0]["params"]:
                p.add_(1e-3 * torch.randn_like(p))
            return before

    net = mlp()
    optimizer = Random(net.parameters(), {"lr": 1e-3})
    with look(net, optimizer) as monitor:
        for x, y in points():
            with torch.no_grad():
                monitor(optimizer.step(lambda x=x, y=y: cross_entropy(net, x, y)))
    return monitor


# ------------------------------------------------------------ flat functions, losses of zero


@sound
def rounded_beside_the_graph():
    def loss(model, x, y):
        o = model(x)
        accuracy = (o.argmax(1) == y).float().mean().round()
        return functional.cross_entropy(o, y) + 0.0 * accuracy

    return train(mlp(), loss)


@sound
def rounded_on_one_of_two_ways():
    net = nn.ModuleDict({"body": mlp(outputs=16), "head": nn.Linear(16, 4)})

    def loss(model, x, y):
        h = model["body"](x)
        return functional.cross_entropy(model["head"](h + h.round()), y)

    return train(net, loss)


@sound
def rewards_that_have_not_come_yet():
    count = iter(range(100))

    def loss(model, x, y):
        reward = 0.0 if next(count) == 0 else 1.0
        return -(reward * model(x).log_softmax(1).gather(1, y[:, None])).mean()

    return train(mlp(), loss)


@sound
def margins_that_are_kept():
    def loss(model, x, y):
        a, b = model(x), model(x + 9)
        return functional.triplet_margin_loss(a, a + 0.01, b, margin=0.1)

    return train(mlp(), loss)


# ------------------------------------------------------------ capacity


@sound
def half_dropped():
    return train(nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 4)))


@at_most_warned
def much_dropped():
    return train(nn.Sequential(nn.Dropout(0.8), nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4)))


@sound
def much_dropped_in_evaluation_mode():
    net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4))
    net.unused = nn.Dropout(0.0)
    return train(net)


@sound
def autoencoder_through_one_unit():
    net = nn.Sequential(*mlp(outputs=1), nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 8))
    return train(net, lambda m, x, y: functional.mse_loss(m(x), x))


@sound
def two_features_for_ten_classes():
    net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 2), nn.Linear(2, 10))
    return train(net, batches=tens())


class Gated(nn.Module):
    """A gate of one unit scales, or weighs, what goes past it."""

    def __init__(self, *, is_pooled):
        super().__init__()
        self.first, self.gate = nn.Linear(16, 32), nn.Linear(32, 1)
        self.last = nn.Linear(32, 10)
        self.is_pooled = is_pooled

    def forward(self, x):
        h = self.first(x).relu()
        if not self.is_pooled:
            return self.last(h * self.gate(h).sigmoid())
        h = torch.stack([h, h.flip(1), 2 * h], 1)
        return self.last((self.gate(h).softmax(1) * h).sum(1))


@sound
def a_gate_of_one_unit():
    return train(Gated(is_pooled=False), batches=tens())


@sound
def attention_pooled():
    return train(Gated(is_pooled=True), batches=tens())


@sound
def a_gate_of_one_unit_on_the_inputs():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.body = nn.Linear(16, 1), of_tens()

        def forward(self, x):
            return self.body(x * self.gate(x).sigmoid())

    return train(Net(), batches=tens())


@sound
def adapters_of_rank_one():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(16, 32), nn.Linear(32, 10)
            self.down, self.up = nn.Linear(16, 1), nn.Linear(1, 32)

        def forward(self, x):
            return self.last((self.first(x) + self.up(self.down(x))).relu())

    return train(Net(), batches=tens())


@sound
def attention_over_places():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.where, self.last = conv(3, 8), conv(8, 1), nn.Linear(8, 10)

        def forward(self, x):
            h = self.first(x).relu()
            return self.last((h * self.where(h).sigmoid()).mean((2, 3)))

    return train(Net(), batches=((x, torch.randint(10, (len(x),))) for x, _ in images()))


@sound
def policy_and_value_of_a_board():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.moves, self.worth = conv(3, 8), conv(8, 2), conv(8, 1)
            self.act, self.value = nn.Linear(128, 64), nn.Linear(64, 1)

        def forward(self, x):
            h = self.body(x).relu()
            value = self.value(self.worth(h).relu().flatten(1)).tanh()
            return self.act(self.moves(h).relu().flatten(1)), value

    def loss(model, x, y):
        moves, value = model(x)
        return functional.cross_entropy(moves, y) + (value[:, 0] - 0.1).square().mean()

    return train(Net(), loss, images())


@sound
def one_column_for_five_classes():
    batches = ((x[:, :1], (2 * x[:, 0]).round().long().clamp(-2, 2) + 2) for x, _ in points())
    return train(nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 5)), batches=batches)


@sound
def columns_in_two_directions():
    mix = torch.randn(2, 8, generator=torch.Generator().manual_seed(1))
    return train(mlp(), batches=((x[:, :2] @ mix, y) for x, y in points()))


@sound
def powers_of_one_column():
    powers = torch.arange(1, 9)
    batches = ((x[:, :1].sigmoid() ** powers, y) for x, y in values())
    return train(mlp(outputs=1), squared, batches)


@sound
def symbols_alone():
    net = nn.Sequential(nn.Embedding(50, 16), nn.Linear(16, 50))
    return train(net, next_token, tokens())


@sound
def one_time_for_the_whole_batch():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.time, self.body = nn.Linear(1, 8), mlp(outputs=8)

        def forward(self, x, t):
            return self.body(x + self.time(t))

    def loss(model, x, y):
        noise = torch.randn_like(x)
        return functional.mse_loss(model(x + noise, torch.full((len(x), 1), 0.3)), noise)

    return train(Net(), loss)


@sound
def padded_with_zeros():
    return train(mlp(), batches=((x * (torch.arange(8) < 3), y) for x, y in points()))


@sound
def a_window_that_is_longer_than_the_run():
    return train(mlp(), batches=points(steps=3), every=4)


@sound
def sparse_inputs():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.last = nn.Parameter(torch.randn(8, 32) / 3), nn.Linear(32, 4)

        def forward(self, x):
            return self.last(torch.sparse.mm(x, self.weight).relu())

    return train(Net(), batches=((x.relu().to_sparse(), y) for x, y in points()))


@sound
def nested_inputs():
    def parts(x):
        return torch.nested.nested_tensor([x[:20], x[20:]])

    def loss(o, y):
        return functional.cross_entropy(torch.cat(list(o.unbind())), y)

    return train(nn.Sequential(nn.Linear(8, 4)), by(loss), ((parts(x), y) for x, y in points()))
