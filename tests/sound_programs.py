"""Sound programs, of kinds that a careless check would call faulty."""

from __future__ import annotations

import copy
from itertools import chain

import torch
from torch import nn
from torch.nn import functional

from looked_at import (
    adam,
    at_most_warned,
    by,
    cross_entropy,
    deep,
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


def trained(net: nn.Module) -> nn.Module:
    """Weights as training leaves them: strong and weak units, strong and weak inputs."""
    with torch.no_grad():
        for p in net.parameters():
            if p.ndim > 1:
                p.mul_(torch.rand(p.shape[0], *[1] * (p.ndim - 1)) * 2)
                p.mul_(torch.rand(p.shape[1], *[1] * (p.ndim - 2)) * 2)
    return net


# ------------------------------------------------------------ losses and last layers


@sound
def plain_classifier():
    return train(mlp())


@sound
def loss_shown_before_backward():
    return train(mlp(), at="loss", zero="backward")


@sound
def loss_shown_after_backward():
    return train(mlp(), at="backward", zero="end")


@sound
def log_softmax_and_nll():
    return train(mlp(nn.LogSoftmax(dim=1)), by(functional.nll_loss))


@sound
def log_softmax_before_cross_entropy():
    return train(mlp(nn.LogSoftmax(dim=1)))


@sound
def log_of_softmax_and_nll():
    loss = by(lambda o, y: functional.nll_loss(torch.log(o.softmax(1) + 1e-9), y))
    return train(mlp(), loss)


@sound
def label_smoothing():
    return train(mlp(), by(nn.CrossEntropyLoss(label_smoothing=0.1)))


@sound
def soft_targets():
    def loss(o, y):
        return functional.cross_entropy(o, functional.one_hot(y, 4).float() * 0.9 + 0.025)

    return train(mlp(), by(loss))


@sound
def class_weights_and_some_labels_masked():
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2, 3, 4]), ignore_index=0)
    return train(mlp(), by(loss))


@sound
def sigmoid_and_bce():
    loss = by(lambda o, y: functional.binary_cross_entropy(o, (y > 1).float()[:, None]))
    return train(mlp(nn.Sigmoid(), outputs=1), loss)


@sound
def bce_with_logits():
    def loss(o, y):
        return functional.binary_cross_entropy_with_logits(o[:, 0], (y > 1).float())

    return train(mlp(outputs=1), by(loss))


@sound
def several_labels():
    def loss(o, y):
        return functional.binary_cross_entropy_with_logits(o, functional.one_hot(y, 4).float())

    return train(mlp(), by(loss))


@sound
def softmax_and_brier():
    loss = by(lambda o, y: functional.mse_loss(o, functional.one_hot(y, 4).float()))
    return train(mlp(nn.Softmax(dim=1)), loss)


@sound
def distillation():
    teacher = mlp().requires_grad_(False)

    def loss(model, x, y):
        soft = functional.softmax(teacher(x) / 2, dim=1)
        own = functional.log_softmax(model(x) / 2, dim=1)
        return functional.kl_div(own, soft, reduction="batchmean") + cross_entropy(model, x, y)

    return train(mlp(), loss)


@sound
def policy_gradient_with_an_entropy_bonus():
    def loss(model, x, y):
        found = torch.distributions.Categorical(logits=model(x))
        return -(found.log_prob(y) * torch.ones(len(y))).mean() - 0.01 * found.entropy().mean()

    return train(mlp(), loss)


@sound
def capped_logits():
    return train(mlp(), by(lambda o, y: functional.cross_entropy(30 * torch.tanh(o / 30), y)))


@sound
def regression():
    return train(mlp(outputs=1), squared, values())


@sound
def regression_with_huber():
    loss = by(lambda o, y: functional.huber_loss(o.squeeze(-1), y.squeeze(-1)))
    return train(mlp(outputs=1), loss, values())


@sound
def counts_with_a_squared_loss():
    source = torch.Generator().manual_seed(0)
    batches = (
        (x, torch.poisson(torch.full((64, 1), 2.0), generator=source)) for x, _ in points(size=64)
    )
    return train(mlp(outputs=1), squared, batches)


@sound
def ratings_from_1_to_5():
    batches = ((x, (y + 1).float()[:, None]) for x, y in points(size=64))
    return train(mlp(outputs=1), squared, batches)


@sound
def tanh_with_targets_in_its_range():
    return train(mlp(nn.Tanh(), outputs=1), squared, ((x, y.tanh()) for x, y in values()))


@sound
def relu_with_positive_targets():
    return train(mlp(nn.ReLU(), outputs=1), squared, ((x, y.abs()) for x, y in values()))


@sound
def quantiles():
    def loss(o, y):
        error = y - o
        levels = torch.tensor([0.1, 0.5, 0.9])
        return torch.maximum(levels * error, (levels - 1) * error).mean()

    return train(mlp(outputs=3), by(loss), values())


@sound
def an_autoencoder():
    return train(mlp(outputs=8), lambda m, x, y: functional.mse_loss(m(x), x))


@sound
def binary_labels_as_amounts():
    loss = by(lambda o, y: functional.mse_loss(o, (y > 1).float()[:, None]))
    return train(mlp(outputs=1), loss)


# ------------------------------------------------------------ who holds which weight


@sound
def backbone_frozen_by_intent():
    net = trained(mlp())
    net[:4].requires_grad_(False)
    return train(net, optimizer=torch.optim.Adam(net[4].parameters()))


@sound
def backbone_frozen_and_given_to_the_optimizer():
    net = trained(mlp())
    net[0].requires_grad_(False)
    return train(net)


@sound
def pretrained_backbone_left_out_of_the_optimizer():
    net = trained(mlp())
    net[4] = nn.Linear(32, 4)
    return train(net, optimizer=torch.optim.Adam(net[4].parameters()))


@sound
def pretrained_backbone_in_evaluation_without_gradients():
    net = nn.ModuleDict({"body": mlp(outputs=16).eval(), "head": nn.Linear(16, 4)})

    def loss(model, x, y):
        with torch.no_grad():
            h = model["body"](x)
        return functional.cross_entropy(model["head"](h), y)

    return train(net, loss)


class Tied(nn.Module):
    """A language model whose last layer is its embedding."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 32)
        self.body = nn.Linear(32, 32)
        self.out = nn.Linear(32, 50, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x):
        return self.out(self.body(self.embed(x)).relu())


def next_token(model, x, y):
    return functional.cross_entropy(model(x).flatten(0, 1), y.flatten())


@sound
def tied_weights():
    return train(Tied(), next_token, tokens())


@sound
def embedding_touched_in_part():
    net = nn.Sequential(nn.Embedding(5000, 16), nn.Linear(16, 50))
    return train(net, next_token, tokens())


@sound
def sparse_embedding():
    net = nn.Sequential(nn.Embedding(500, 16, sparse=True), nn.Linear(16, 50))
    return train(net, next_token, tokens(), optimizer=torch.optim.SGD(net.parameters(), lr=0.1))


@sound
def auxiliary_head_that_does_not_run():
    net = nn.ModuleDict({"body": mlp(), "auxiliary": nn.Linear(8, 4)})
    return train(net, lambda m, x, y: cross_entropy(m["body"], x, y))


@at_most_warned
def auxiliary_head_whose_output_is_not_used():
    net = nn.ModuleDict(
        {"body": mlp(outputs=16), "main": nn.Linear(16, 4), "aux": nn.Linear(16, 4)}
    )

    def loss(model, x, y):
        h = model["body"](x)
        model["aux"](h)
        return functional.cross_entropy(model["main"](h), y)

    return train(net, loss)


@sound
def two_optimizers_of_which_one_is_shown():
    net = mlp()
    other = torch.optim.SGD(net[4].parameters(), lr=0.1)
    return train(
        net,
        optimizer=torch.optim.Adam(net[:4].parameters()),
        step=lambda o: (o.step(), other.step(), other.zero_grad()),
    )


@sound
def two_optimizers_both_shown():
    net = mlp()
    both = [torch.optim.Adam(net[:4].parameters()), torch.optim.SGD(net[4].parameters(), lr=0.1)]
    with look(net, both) as monitor:
        for x, y in points():
            loss = cross_entropy(net, x, y)
            loss.backward()
            for optimizer in both:
                optimizer.step()
                optimizer.zero_grad()
            monitor(loss)
    return monitor


@sound
def average_of_the_weights():
    net = mlp()
    average = torch.optim.swa_utils.AveragedModel(net)
    return train(net, step=lambda o: (o.step(), average.update_parameters(net)))


@sound
def average_inside_of_the_model():
    class Student(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()
            self.teacher = copy.deepcopy(self.net).requires_grad_(False)

        def forward(self, x):
            with torch.no_grad():
                self.teacher(x)
            return self.net(x)

    net = Student()
    return train(net, optimizer=adam(net.net))


@sound
def teacher_hidden_in_a_list():
    class Student(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp()
            self.teacher = [mlp()]

        def forward(self, x):
            with torch.no_grad():
                self.teacher[0](x)
            return self.net(x)

    return train(Student())


@sound
def a_list_of_registered_layers():
    net = mlp()
    net.order = [net[0], net[2], net[4]]
    return train(net)


def adversaries(shown: str):
    """A GAN, as it is usually written: its discriminator gets gradients of both losses."""
    make, judge = mlp(outputs=8), mlp(outputs=1)
    of_make, of_judge = adam(make), adam(judge)
    bce = functional.binary_cross_entropy_with_logits
    model, optimizer = {
        "generator": (make, of_make),
        "discriminator": (judge, of_judge),
        "both": (nn.ModuleList([make, judge]), [of_judge, of_make]),
    }[shown]
    with look(model, optimizer) as monitor:
        for x, _ in points():
            made = make(torch.randn(32, 8))
            of_judge.zero_grad()
            loss = bce(judge(x), torch.ones(32, 1)) + bce(judge(made.detach()), torch.zeros(32, 1))
            loss.backward()
            of_judge.step()
            of_make.zero_grad()
            other = bce(judge(made), torch.ones(32, 1))
            other.backward()
            of_make.step()
            monitor(other if shown == "generator" else loss)
    return monitor


@sound
def gan_generator():
    return adversaries("generator")


@sound
def gan_discriminator():
    return adversaries("discriminator")


@sound
def gan_both():
    return adversaries("both")


@sound
def wasserstein_with_five_critic_steps():
    make, judge = mlp(outputs=8), mlp(outputs=1)
    of_make, of_judge = adam(make), adam(judge)
    with look(nn.ModuleList([make, judge]), of_judge) as monitor:
        for i, (x, _) in enumerate(points(steps=12)):
            of_judge.zero_grad()
            loss = judge(make(torch.randn(32, 8)).detach()).mean() - judge(x).mean()
            loss.backward()
            of_judge.step()
            monitor(loss)
            if i % 5 == 4:
                of_make.zero_grad()
                (-judge(make(torch.randn(32, 8))).mean()).backward()
                of_make.step()
    return monitor


class LowRank(nn.Module):
    """A frozen layer with an adapter that begins at zero, as PEFT makes it."""

    def __init__(self, layer):
        super().__init__()
        self.base = layer.requires_grad_(False)
        self.a = nn.Linear(layer.in_features, 4, bias=False)
        self.b = nn.Linear(4, layer.out_features, bias=False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x):
        return self.base(x) + self.b(self.a(x))


@sound
def adapters():
    net = trained(mlp())
    for i in (0, 2, 4):
        net[i] = LowRank(net[i])
    trainable = [p for p in net.parameters() if p.requires_grad]
    return train(net, optimizer=torch.optim.AdamW(trainable))


@sound
def wide_copies_for_narrow_weights():
    net = mlp().bfloat16()
    wide = [p.detach().float().requires_grad_() for p in net.parameters()]
    optimizer = torch.optim.Adam(wide, lr=1e-5)

    def step(optimizer):
        for big, p in zip(wide, net.parameters(), strict=True):
            big.grad = p.grad.float()
        optimizer.step()
        with torch.no_grad():
            for big, p in zip(wide, net.parameters(), strict=True):
                p.copy_(big)
                p.grad = None

    return train(
        net, batches=((x.bfloat16(), y) for x, y in points()), optimizer=optimizer, step=step
    )


class Experts(nn.Module):
    """Four experts, of which the router picks two and two never run, or get no sample."""

    def __init__(self, *, is_empty):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(8, 16) for _ in range(4))
        self.out = nn.Linear(16, 4)
        self.is_empty = is_empty

    def forward(self, x):
        h = torch.cat([self.experts[0](x[:16]), self.experts[1](x[16:])])
        if self.is_empty:
            h = torch.cat([h, self.experts[2](x[:0])])
        return self.out(h.relu())


@sound
def experts_that_were_not_routed_to():
    return train(Experts(is_empty=False))


@sound
def experts_without_samples():
    return train(Experts(is_empty=True))


# ------------------------------------------------------------ the order of a step


@sound
def accumulation():
    return train(mlp(), batches=points(steps=16), every=4)


@sound
def accumulation_shown_before_backward():
    return train(mlp(), batches=points(steps=16), every=4, at="loss", zero="end")


@sound
def zeroed_to_zeros():
    return train(mlp(), step=lambda o: (o.step(), o.zero_grad(set_to_none=False)), zero="never")


@sound
def zeroed_by_the_model():
    net = mlp()
    return train(net, zero="never", before=[net.zero_grad])


@sound
def a_closure_with_lbfgs():
    net = mlp()
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=3)
    with look(net, optimizer) as monitor:
        for x, y in points():

            def closure(x=x, y=y):
                optimizer.zero_grad()
                loss = cross_entropy(net, x, y)
                loss.backward()
                return loss

            monitor(optimizer.step(closure))
    return monitor


@sound
def sharpness_aware():
    net = mlp()
    optimizer = adam(net)
    with look(net, optimizer) as monitor:
        for x, y in points():
            cross_entropy(net, x, y).backward()
            ascent = [0.01 * p.grad for p in net.parameters()]
            with torch.no_grad():
                for p, e in zip(net.parameters(), ascent, strict=True):
                    p.add_(e)
            optimizer.zero_grad()
            loss = cross_entropy(net, x, y)
            loss.backward()
            with torch.no_grad():
                for p, e in zip(net.parameters(), ascent, strict=True):
                    p.sub_(e)
            optimizer.step()
            optimizer.zero_grad()
            monitor(loss)
    return monitor


@sound
def a_scaler_that_skips_steps():
    net = mlp()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    optimizer = adam(net)
    with look(net, optimizer) as monitor:
        for x, y in points(steps=8):
            optimizer.zero_grad()
            loss = cross_entropy(net, x, y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            monitor(loss)
    return monitor


@sound
def autocast():
    def loss(model, x, y):
        with torch.autocast("cpu", torch.bfloat16):
            return cross_entropy(model, x, y)

    return train(mlp(), loss)


@sound
def a_rate_that_warms_up_from_zero():
    net = mlp()
    optimizer = adam(net)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 100))
    return train(net, optimizer=optimizer, step=lambda o: (o.step(), schedule.step()))


@sound
def bfloat16_weights_that_warm_up():
    net = mlp().bfloat16()
    optimizer = adam(net, 1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: max(1e-5, min(1, s / 100)))
    batches = ((x.bfloat16(), y) for x, y in points())
    step = lambda o: (o.step(), schedule.step())  # noqa: E731
    return train(net, batches=batches, optimizer=optimizer, step=step)


@sound
def bfloat16_weights_at_a_high_rate():
    net = mlp().bfloat16()
    return train(net, batches=((x.bfloat16(), y) for x, y in points()), optimizer=adam(net, 1e-3))


# ------------------------------------------------------------ stopped gradients


@sound
def siamese_with_a_stopped_branch():
    net = nn.ModuleDict({"body": mlp(outputs=16), "predict": nn.Linear(16, 16)})

    def loss(model, x, y):
        one, two = model["body"](x), model["body"](x + 0.1 * torch.randn_like(x))
        return -functional.cosine_similarity(model["predict"](one), two.detach()).mean()

    return train(net, loss)


@sound
def actor_and_critic():
    net = nn.ModuleDict(
        {"body": mlp(outputs=16), "actor": nn.Linear(16, 4), "critic": nn.Linear(16, 1)}
    )

    def loss(model, x, y):
        h = model["body"](x).relu()
        value = model["critic"](h.detach())
        return functional.cross_entropy(model["actor"](h), y) + value.square().mean()

    return train(net, loss)


@sound
def straight_through():
    class Quantised(nn.Module):
        def __init__(self):
            super().__init__()
            self.encode, self.decode = nn.Linear(8, 16), nn.Linear(16, 4)

        def forward(self, x):
            h = self.encode(x)
            return self.decode(h + (h.round() - h).detach())

    return train(Quantised())


@sound
def checkpointed_layers():
    class Recomputed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.body, self.last = nn.Linear(8, 32), mlp(inputs=32), nn.Linear(4, 4)

        def forward(self, x):
            h = torch.utils.checkpoint.checkpoint(self.body, self.first(x), use_reentrant=True)
            return self.last(h)

    return train(Recomputed())


# ------------------------------------------------------------ modes and evaluations


@sound
def dropout_and_batch_norm():
    return train(nn.Sequential(nn.Dropout(0.5), deep(3, norm=nn.BatchNorm1d)))


@sound
def frozen_batch_norm():
    net = deep(3, norm=nn.BatchNorm1d)
    for x, _ in points():
        net(x)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()
    return train(net)


@sound
def evaluation_mode_without_such_modules():
    return train(deep(3, norm=nn.LayerNorm).eval())


@sound
def evaluated_between_steps():
    net = deep(3, norm=nn.BatchNorm1d)
    optimizer = adam(net)
    with look(net, optimizer) as monitor:
        for x, y in chain(points(), points()):
            net.train()
            optimizer.zero_grad()
            loss = cross_entropy(net, x, y)
            loss.backward()
            optimizer.step()
            monitor(loss)
            net.eval()
            with torch.no_grad():
                found = [float(cross_entropy(net, a, b)) for a, b in points(steps=4)]
            monitor.evaluation(loss=sum(found) / 4, accuracy=0.5)
    return monitor


@sound
def pseudo_labels_in_training_mode():
    def loss(model, x, y):
        with torch.no_grad():
            labels = model(x).argmax(1)
        return functional.cross_entropy(model(x + 0.1), labels)

    return train(mlp().insert(4, nn.Dropout(0.1)), loss)


# ------------------------------------------------------------ weights, units, depth


@sound
def last_layer_begins_at_zero():
    net = mlp()
    nn.init.zeros_(net[4].weight)
    return train(net)


@sound
def logistic_regression_from_zero():
    net = nn.Linear(8, 4)
    nn.init.zeros_(net.weight)
    return train(net)


class Residual(nn.Module):
    """Blocks around which the signal goes; their last layer begins at zero."""

    def __init__(self, *, is_zero=True, scale=1.0):
        super().__init__()
        self.first, self.last = nn.Linear(8, 32), nn.Linear(32, 4)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32)) for _ in range(12)
        )
        self.scale = nn.Parameter(torch.full((32,), scale))
        for block in self.blocks if is_zero else ():
            nn.init.zeros_(block[2].weight)

    def forward(self, x):
        h = self.first(x)
        for block in self.blocks:
            h = h + self.scale * block(h)
        return self.last(h)


@sound
def residual_blocks_from_zero():
    return train(Residual())


@sound
def blocks_scaled_by_a_millionth():
    return train(Residual(is_zero=False, scale=1e-6))


@sound
def deep_with_batch_norm():
    return train(deep(20, norm=nn.BatchNorm1d))


@sound
def deep_and_self_normalising():
    net = deep(16, nn.SELU)
    for module in net.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    return train(net)


@sound
def five_tanh_layers():
    return train(deep(5, nn.Tanh))


@sound
def eight_relu_layers():
    return train(deep(8))


@sound
def weights_of_a_language_model():
    net = Tied()
    for p in net.parameters():
        nn.init.normal_(p, std=0.02)
    return train(net, next_token, tokens())


@sound
def transformer():
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    net = nn.Sequential(nn.Embedding(50, 32), nn.TransformerEncoder(layer, 2), nn.Linear(32, 50))
    return train(net, next_token, tokens())


class Recurrent(nn.Module):
    """An LSTM, or a cell that is unrolled by hand."""

    def __init__(self, *, by_hand):
        super().__init__()
        self.embed, self.out = nn.Embedding(50, 16), nn.Linear(32, 50)
        self.core = nn.LSTMCell(16, 32) if by_hand else nn.LSTM(16, 32, batch_first=True)

    def forward(self, x):
        h = self.embed(x)
        if isinstance(self.core, nn.LSTM):
            return self.out(self.core(h)[0])
        state, found = None, []
        for t in range(h.shape[1]):
            state = self.core(h[:, t], state)
            found.append(state[0])
        return self.out(torch.stack(found, 1))


@sound
def lstm():
    return train(Recurrent(by_hand=False), next_token, tokens())


@sound
def lstm_by_hand():
    return train(Recurrent(by_hand=True), next_token, tokens())


@sound
def convolutions():
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 4),
    )
    return train(net, batches=images())


@sound
def images_from_0_to_1():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
    return train(net, batches=((x.sigmoid(), y) for x, y in images()))


@sound
def images_scaled_inside():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))

        def forward(self, x):
            return self.body((x - 128) / 64)

    return train(Scaled(), batches=((128 + 60 * x, y) for x, y in images()))


@sound
def raw_columns_behind_batch_norm():
    net = nn.Sequential(nn.BatchNorm1d(8), *mlp())
    return train(net, batches=((1000 * x, y) for x, y in points()))


@sound
def words_in_a_bag():
    source = torch.Generator().manual_seed(0)
    batches = (
        (functional.normalize((torch.rand(32, 500, generator=source) < 0.02).float()), y)
        for _, y in points()
    )
    return train(mlp(inputs=500), batches=batches)


@sound
def one_sample_at_a_time():
    return train(mlp(), batches=points(size=1))


@sound
def data_parallel():
    return train(nn.DataParallel(mlp()))


@sound
def compiled():
    return train(torch.compile(mlp(), backend="eager"))


@sound
def compiled_beside_the_model():
    net = mlp()
    made = torch.compile(net, backend="eager")
    return train(net, lambda m, x, y: cross_entropy(made, x, y))


@sound
def half_dead_units():
    net = mlp()
    nn.init.constant_(net[2].bias[:16], -20.0)
    return train(net)
