"""Programs whose fault is a sign, an axis or a state: losses by hand, lists, weights put back."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from faulty_details import of_tens, tens
from looked_at import by, faulty, images, mlp, points, squared, tokens, train, values
from sound_models import conv

# ------------------------------------------------------------ losses


@faulty("TW305")
def log_softmax_over_places():
    def loss(o, y):
        return functional.nll_loss(o.log_softmax(1).flatten(0, 1), y.flatten())

    net = nn.Sequential(nn.Embedding(50, 16), nn.Linear(16, 50))
    return train(net, by(loss), tokens())


@faulty("TW305")
def log_softmax_over_places_after_a_transposition():
    def loss(o, y):
        return functional.nll_loss(o.transpose(1, 2).log_softmax(2), y)

    net = nn.Sequential(nn.Embedding(50, 16), nn.Linear(16, 50))
    return train(net, by(loss), tokens(), at="loss")


@faulty("TW305")
def right_classes_made_less_likely():
    def loss(o, y):
        return o.log_softmax(1)[torch.arange(len(y)), y].mean() / 2

    return train(mlp(), by(loss))


@faulty("TW305")
def cross_entropy_with_a_minus():
    return train(mlp(), by(lambda o, y: -functional.cross_entropy(o, y)), at="loss")


@faulty("TW305")
def log_probabilities_near_one_hot():
    net = mlp(nn.LogSoftmax(1))
    return train(net, by(lambda o, y: functional.mse_loss(o, functional.one_hot(y, 4).float())))


@faulty("TW305")
def numbers_of_both_signs_behind_softplus():
    return train(mlp(nn.Softplus(), outputs=1), squared, values())


@faulty("TW305")
def signs_into_bce_with_logits():
    def loss(o, y):
        sign = 2.0 * (y > 1) - 1
        return functional.binary_cross_entropy_with_logits(o[:, 0], sign)

    return train(mlp(outputs=1), by(loss), at="loss")


@faulty("TW305")
def signs_into_bce_with_logits_shown_late():
    def loss(o, y):
        return functional.binary_cross_entropy_with_logits(o.squeeze(1), 2.0 * (y > 1) - 1)

    return train(mlp(outputs=1), by(loss))


@faulty("TW305")
def softmax_of_tags():
    def loss(o, y):
        return functional.binary_cross_entropy(o.softmax(1), (o.detach() > y[:, None]).float())

    return train(mlp(), by(loss))


@faulty("TW305")
def entropy_by_hand_of_a_column_and_a_row():
    def loss(o, y):
        p, t = o.sigmoid(), (y > 1).float()
        return -(t * p.log() + (1 - t) * (1 - p).log()).mean()

    return train(mlp(outputs=1), by(loss))


@faulty("TW305")
def poisson_of_a_rate():
    def loss(o, y):
        return functional.poisson_nll_loss(o, y[:, None].float())

    return train(mlp(nn.Softplus(), outputs=1), by(loss))


@faulty("TW305")
def probabilities_squashed_again():
    def loss(o, y):
        p = o.softmax(1).softmax(1)
        return -(functional.one_hot(y, 4) * p.log()).sum(1).mean()

    return train(mlp(), by(loss))


@faulty("TW305")
def logarithm_of_raw_outputs():
    def loss(o, y):
        return functional.nll_loss(o.log(), y)

    return train(mlp(), by(loss))


@faulty("TW305")
def class_numbers_in_two_small_batches():
    """The first batch has no 8."""
    batches = [(x, torch.arange(48) * 7 % 10) for x, _ in points(inputs=16, size=48)]
    batches[0][1][batches[0][1] == 8] = 9
    loss = by(lambda o, y: functional.mse_loss(o[:, 0], y.float()))
    return train(mlp(inputs=16, outputs=1), loss, batches)


# ------------------------------------------------------------ who is trained


class Blocks(nn.Module):
    """A list of layers of which always the first is called."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(8, 32), nn.Linear(32, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(32, 32), nn.ReLU()) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for _ in self.blocks:
            x = x + self.blocks[0](x)
        return self.last(x)


@faulty("TW307")
def one_block_for_all():
    return train(Blocks())


@faulty("TW307")
def first_state_loaded_at_every_step():
    net = mlp()
    state = copy.deepcopy(net.state_dict())
    return train(net, before=[lambda: net.load_state_dict(state)])


class PastTheTable(nn.Module):
    """Reads the weights of its embedding."""

    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(50, 16), nn.Linear(16, 50)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.table.weight.data[ids])


@faulty("TW309")
def embedding_read_past_its_graph():
    return train(PastTheTable(), by(lambda o, y: functional.cross_entropy(o.mT, y)), tokens())


class Beside(nn.Module):
    """A frozen layer and a product beside it that is added."""

    def __init__(self, layer: nn.Linear, down: Tensor, scale: float = 1.0):
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), scale
        self.down, self.up = nn.Parameter(down), nn.Parameter(torch.zeros(layer.out_features, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.scale * (x @ self.down.T @ self.up.T)


def beside(down, scale=1.0):
    layers = nn.Linear(8, 32), nn.Linear(32, 4)
    both = [Beside(each, down(4, each.in_features), scale) for each in layers]
    return nn.Sequential(both[0], nn.ReLU(), both[1])


@faulty("TW303")
def both_factors_zero():
    return train(beside(torch.zeros))


@faulty("TW303")
def factors_times_zero():
    return train(beside(torch.randn, 0.0))


# ------------------------------------------------------------ modes, first weights, inputs


@faulty("TW306")
def part_left_in_evaluation_mode():
    net = nn.Sequential(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4))
    net[1].eval()
    return train(net, batches=images())


@faulty("TW303")
def state_multiplied_by_wide_weights():
    rnn, out = nn.RNN(8, 64, batch_first=True), nn.Linear(64, 4)
    for p in rnn.parameters():
        nn.init.normal_(p)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.out = rnn, out

        def forward(self, x):
            return self.out(self.rnn(x[:, None].expand(-1, 5, -1))[0][:, -1])

    return train(Net())


@faulty("TW303")
def all_weights_six_times_as_large():
    net = of_tens()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(6)
    return train(net, batches=tens())


@faulty("TW202")
def two_directions_of_many():
    mix = torch.randn(2, 20, generator=torch.Generator().manual_seed(1))
    return train(mlp(inputs=20), batches=((x[:, :2] @ mix, y) for x, y in points()))


@faulty("TW202")
def one_unit_before_two_classes():
    net = nn.Sequential(nn.Linear(8, 1), nn.ReLU(), nn.Linear(1, 2))
    return train(net, batches=((x, y % 2) for x, y in points()), at="loss")


@faulty("TW202")
def one_unit_before_a_number():
    net = nn.Sequential(
        *(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1), nn.ReLU()),
        *(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 1)),
    )
    with torch.no_grad():
        net[2].bias.fill_(0.5)
    return train(net, squared, values())


# ------------------------------------------------------------ a loss that is no number


@faulty("TW001")
def a_weight_that_is_not_a_number():
    net = mlp()
    with torch.no_grad():
        net[0].weight[0, 0] = float("nan")
    return train(net)


@faulty("TW001")
def attention_that_is_masked_as_a_whole():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            nowhere = torch.ones(1, 1, dtype=torch.bool)
            return self.head(
                self.attention(x[:, None], x[:, None], x[:, None], attn_mask=nowhere)[0][:, 0]
            )

    return train(Net())


@faulty("TW101")
def momentum_that_hardly_ends():
    net = mlp()
    return train(net, optimizer=torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.999))


@faulty("TW101")
def betas_in_the_wrong_order():
    net = mlp()
    return train(net, optimizer=torch.optim.Adam(net.parameters(), lr=1e-3, betas=(0.999, 0.9)))


# ------------------------------------------------------------ how it begins


@faulty("TW303")
def weights_drawn_from_0_on():
    net = mlp()
    for p in net.parameters():
        nn.init.uniform_(p, 0.0, 0.3)
    return train(net)


@faulty("TW307")
def a_fresh_body_at_a_thousandth_of_the_rate():
    net = mlp()
    groups = [{"params": net[0].parameters(), "lr": 1e-6}, {"params": net[2:].parameters()}]
    return train(net, optimizer=torch.optim.Adam(groups, lr=1e-3))


@faulty("TW208")
def targets_in_dollars():
    net = mlp(outputs=1)
    return train(net, squared, ((x, 40_000 * y + 250_000) for x, y in values()))


@faulty("TW307")
def small_tables_that_no_optimizer_holds():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.tables = nn.ModuleList(nn.Embedding(5, 4) for _ in range(3))
            self.body, self.last = nn.Linear(12, 16), nn.Linear(16, 4)
            nn.init.zeros_(self.last.weight)

        def forward(self, x: Tensor) -> Tensor:
            parts = [table(x[:, i]) for i, table in enumerate(self.tables)]
            return self.last(self.body(torch.cat(parts, 1)).relu())

    net = Net()
    held = [*net.body.parameters(), *net.last.parameters()]
    batches = (((x[:, :3] > 0).long(), y) for x, y in points())
    return train(net, batches=batches, optimizer=torch.optim.Adam(held, lr=1e-2))
