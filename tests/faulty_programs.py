"""Programs with one fault each, as people write them; the code is what must be said of it."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

from looked_at import (
    adam,
    by,
    cross_entropy,
    deep,
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

# ------------------------------------------------------------ loss and last layer


@faulty("TW305")
def softmax_module_before_cross_entropy():
    return train(mlp(nn.Softmax(dim=1)))


@faulty("TW305")
def softmax_in_the_loss_before_cross_entropy():
    return train(mlp(), by(lambda o, y: functional.cross_entropy(o.softmax(-1), y)), at="loss")


@faulty("TW305")
def softmax_before_cross_entropy_with_smoothing():
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    return train(mlp(nn.Softmax(dim=1)), by(loss), at="backward")


@faulty("TW305")
def softmax_before_cross_entropy_over_pixels():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Softmax(dim=1))
    return train(
        net,
        by(lambda o, y: functional.cross_entropy(o, y[:, None, None].expand(-1, 8, 8))),
        images(),
    )


@faulty("TW305")
def softmax_before_cross_entropy_with_soft_targets():
    def loss(o, y):
        return functional.cross_entropy(o.softmax(1), functional.one_hot(y, 4).float())

    return train(mlp(), by(loss))


@faulty("TW305")
def sigmoid_before_cross_entropy():
    return train(mlp(nn.Sigmoid()))


@faulty("TW305")
def sigmoid_before_bce_with_logits():
    def loss(o, y):
        return functional.binary_cross_entropy_with_logits(o.squeeze(1), (y > 1).float())

    return train(mlp(nn.Sigmoid(), outputs=1), by(loss))


@faulty("TW305")
def softmax_before_bce_with_logits():
    def loss(o, y):
        return functional.binary_cross_entropy_with_logits(o, functional.one_hot(y, 4).float())

    return train(mlp(nn.Softmax(dim=1)), by(loss))


@faulty("TW305")
def nll_of_raw_outputs():
    return train(mlp(), by(functional.nll_loss))


@faulty("TW305")
def nll_of_probabilities():
    return train(mlp(nn.Softmax(dim=1)), by(functional.nll_loss), at="backward")


@faulty("TW305")
def softmax_over_the_samples():
    return train(mlp(nn.LogSoftmax(dim=0)), by(functional.nll_loss))


@faulty("TW305")
def cross_entropy_with_one_class():
    return train(mlp(outputs=1), by(lambda o, y: functional.cross_entropy(o, torch.zeros_like(y))))


@faulty("TW305")
def softmax_of_one_class_before_bce():
    def loss(o, y):
        return functional.binary_cross_entropy(o, (y > 1).float()[:, None])

    return train(mlp(nn.Softmax(dim=1), outputs=1), by(loss))


@faulty("TW305")
def squared_loss_on_class_numbers():
    return train(mlp(outputs=1), by(lambda o, y: functional.mse_loss(o, y.float()[:, None])))


@faulty("TW305")
def squared_loss_on_class_numbers_shown_before_backward():
    def loss(o, y):
        return functional.mse_loss(o.squeeze(1), y.float())

    return train(mlp(outputs=1), by(loss), at="loss")


@faulty("TW305")
def sigmoid_before_class_numbers():
    loss = by(lambda o, y: functional.mse_loss(o, y.float()[:, None]))
    return train(mlp(nn.Sigmoid(), outputs=1), loss)


@faulty("TW305")
def tanh_before_large_targets():
    return train(mlp(nn.Tanh(), outputs=1), squared, ((x, 5 * y) for x, y in values()))


@faulty("TW305")
def relu_before_negative_targets():
    return train(mlp(nn.ReLU(), outputs=1), squared, values())


@faulty("TW305")
@torch.no_grad
def column_against_row():
    with torch.enable_grad():
        loss = by(lambda o, y: (o - y[:, 0]).square().mean())
        return train(mlp(outputs=1), loss, values())


@faulty("TW305")
def kl_div_of_probabilities():
    def loss(o, y):
        return functional.kl_div(o.softmax(1), functional.one_hot(y, 4).float(), reduction="sum")

    return train(mlp(), by(loss))


@faulty("TW305")
def relu_before_bce_with_logits():
    def loss(o, y):
        return functional.binary_cross_entropy_with_logits(o, functional.one_hot(y, 4).float())

    return train(mlp(nn.ReLU()), by(loss))


@faulty("TW310")
def every_label_masked():
    batches = ((x, torch.full_like(y, -100)) for x, y in points())
    return train(mlp(), batches=batches)


@faulty("TW310")
def every_label_masked_in_a_sum():
    loss = nn.CrossEntropyLoss(ignore_index=-1, reduction="sum")
    return train(mlp(), by(loss), ((x, torch.full_like(y, -1)) for x, y in points()))


# ------------------------------------------------------------ who holds which weight


@faulty("TW307")
def optimizer_built_before_the_model_was_copied():
    net = mlp()
    optimizer = adam(net)
    return train(copy.deepcopy(net), optimizer=optimizer)


@faulty("TW307")
def head_replaced_after_the_optimizer_was_built():
    net = mlp(outputs=10)
    optimizer = adam(net)
    net[4] = nn.Linear(32, 4)
    return train(net, optimizer=optimizer)


@faulty("TW307")
def optimizer_without_the_head():
    net = mlp()
    return train(net, optimizer=torch.optim.Adam(net[:4].parameters()))


@faulty("TW307")
def optimizer_with_the_last_layer_alone():
    net = mlp()
    return train(net, optimizer=torch.optim.Adam(net[4].parameters()))


class Listed(nn.Module):
    """Its hidden layers stand in a plain container."""

    def __init__(self, kind):
        super().__init__()
        self.first = nn.Linear(8, 32)
        layers = [nn.Linear(32, 32) for _ in range(3)]
        self.layers = layers if kind is list else {str(i): m for i, m in enumerate(layers)}
        self.last = nn.Linear(32, 4)

    def forward(self, x):
        x = self.first(x).relu()
        layers = self.layers if isinstance(self.layers, list) else self.layers.values()
        for layer in layers:
            x = layer(x).relu()
        return self.last(x)


@faulty("TW307")
def layers_in_a_list():
    return train(Listed(list))


@faulty("TW307")
def layers_in_a_dictionary():
    return train(Listed(dict), at="loss")


@faulty("TW307")
def a_weight_that_is_a_plain_tensor():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = mlp()
            self.scale = torch.ones(4, requires_grad=True)

        def forward(self, x):
            return self.body(x) * self.scale

    return train(Scaled())


@faulty("TW307")
def everything_frozen_but_the_input():
    net = mlp().requires_grad_(False)
    x = torch.randn(8, 8, requires_grad=True)
    optimizer = adam(net)
    with look(net, optimizer) as monitor:
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        monitor(loss)
    return monitor


@faulty("TW307")
def the_new_head_is_frozen():
    net = mlp()
    net[4].requires_grad_(False)
    return train(net)


# ------------------------------------------------------------ the order of a step


@faulty("TW307")
def zeroed_between_backward_and_step():
    return train(mlp(), zero="early")


@faulty("TW307")
def never_stepped():
    return train(mlp(), batches=points(steps=12), step=lambda optimizer: None)


@faulty("TW308")
def never_zeroed():
    return train(mlp(), zero="never")


@faulty("TW308")
def never_zeroed_with_clipping():
    net = mlp()

    def step(optimizer):
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    return train(net, zero="never", step=step, at="loss")


@faulty("TW308")
def another_optimizers_gradients_zeroed():
    net, other = mlp(), mlp()
    zeroed = adam(other)
    return train(net, zero="never", before=[zeroed.zero_grad])


# ------------------------------------------------------------ a graph that is cut


class Cut(nn.Module):
    """An encoder and a head; between them stands what is given."""

    def __init__(self, between):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 4)
        self.between = between

    def forward(self, x):
        return self.head(self.between(self.encoder(x)))


@faulty("TW309")
def detached_between():
    return train(Cut(torch.Tensor.detach))


@faulty("TW309")
def detached_after_a_unit():
    return train(Cut(lambda h: h.relu().detach() * 2))


@faulty("TW309")
def through_numpy():
    return train(Cut(lambda h: torch.from_numpy(h.detach().numpy().copy())), at="loss")


@faulty("TW309")
def made_a_new_tensor():
    return train(Cut(lambda h: torch.tensor(h.tolist())))


@faulty("TW309")
def encoder_without_gradients():
    net = Cut(lambda h: h)

    def loss(model, x, y):
        with torch.no_grad():
            h = model.encoder(x)
        return functional.cross_entropy(model.head(h), y)

    return train(net, loss)


# ------------------------------------------------------------ modes


@faulty("TW306")
def trained_in_evaluation_mode():
    return train(mlp().insert(4, nn.Dropout(0.1)).eval())


@faulty("TW306")
def batch_norm_in_evaluation_mode():
    return train(deep(3, norm=nn.BatchNorm1d).eval())


@faulty("TW306")
def evaluated_in_training_mode():
    net = deep(3, norm=nn.BatchNorm1d)
    optimizer = adam(net)
    with look(net, optimizer) as monitor:
        for i, (x, y) in enumerate(points()):
            optimizer.zero_grad()
            loss = cross_entropy(net, x, y)
            loss.backward()
            optimizer.step()
            monitor(loss)
            if i == 0:
                with torch.no_grad():
                    monitor.evaluation(loss=float(cross_entropy(net, x, y)))
    return monitor


# ------------------------------------------------------------ inputs, weights, units


@faulty("TW208")
def pixels_from_0_to_255():
    return train(mlp(), batches=((128 + 60 * x, y) for x, y in points()))


@faulty("TW208")
def columns_of_very_different_size():
    scale = torch.tensor([1, 1, 1, 1, 1000.0, 1, 1e-2, 1])
    return train(mlp(), batches=((x * scale, y) for x, y in points()))


@faulty("TW208")
def images_from_0_to_255():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))
    return train(net, batches=((128 + 60 * x, y) for x, y in images()))


@faulty("TW208")
def scaled_down_twice():
    return train(mlp(), batches=((x / 65025, y) for x, y in points()))


def initialised(net, draw):
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            draw(module)
    return net


@faulty("TW303")
def all_weights_zero():
    return train(initialised(mlp(), lambda m: nn.init.zeros_(m.weight)))


@faulty("TW303")
def all_weights_alike():
    return train(initialised(mlp(), lambda m: nn.init.constant_(m.weight, 0.1)))


@faulty("TW303")
def a_hidden_layer_alike():
    net = mlp()
    nn.init.ones_(net[2].weight)
    return train(net)


@faulty("TW303")
def weights_far_too_large():
    return train(initialised(mlp(), lambda m: nn.init.normal_(m.weight, std=5.0)))


@faulty("TW303")
def weights_far_too_small():
    return train(initialised(mlp(), lambda m: nn.init.normal_(m.weight, std=1e-4)))


@faulty("TW301")
def units_dead_from_the_start():
    net = mlp()
    nn.init.constant_(net[2].bias, -20.0)
    return train(net)


@faulty("TW301")
def functional_units_dead_from_the_start():
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(256, 4))
    nn.init.constant_(net[0].bias, -20.0)

    def loss(model, x, y):
        h = model[1](functional.relu(model[0](x)))
        return functional.cross_entropy(model[3](model[2](h)), y)

    return train(net, loss, images())


@faulty("TW302")
def tanh_at_its_bounds():
    return train(
        initialised(mlp(unit=nn.Tanh), lambda m: nn.init.normal_(m.bias, std=30.0)),
    )


@faulty("TW302")
def sigmoid_at_its_bounds():
    net = mlp(unit=nn.Sigmoid)
    nn.init.constant_(net[2].bias, 12.0)
    return train(net)


@faulty("TW005")
def many_sigmoids():
    return train(deep(10, nn.Sigmoid))


@faulty("TW303")
def outputs_that_grow():
    net = deep(14, nn.Identity)
    return train(initialised(net, lambda m: nn.init.orthogonal_(m.weight, gain=4.0)), at="loss")


@faulty("TW304")
def deep_without_normalisation():
    return train(initialised(deep(16), lambda m: nn.init.kaiming_normal_(m.weight)))


# ------------------------------------------------------------ rounding


@faulty("TW401")
def weights_in_bfloat16_at_a_low_rate():
    net = mlp().bfloat16()
    batches = ((x.bfloat16(), y) for x, y in points())
    return train(net, batches=batches, optimizer=adam(net, 1e-6))


@faulty("TW401")
def a_language_model_in_bfloat16():
    net = nn.Sequential(nn.Embedding(50, 64), nn.LayerNorm(64), nn.Linear(64, 50)).bfloat16()
    loss = by(lambda o, y: functional.cross_entropy(o.float().flatten(0, 1), y.flatten()))
    return train(net, loss, tokens(), optimizer=adam(net, 1e-5))
