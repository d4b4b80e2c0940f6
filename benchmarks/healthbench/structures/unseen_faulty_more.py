"""Blind exam, faulty programs: inputs, units and depth, precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.healthbench.structures.parts import Batch, Built
from benchmarks.healthbench.structures.unseen_data import (
    Rows,
    built,
    classify,
    flat,
    glyphs,
    letters,
    loop,
    progress,
    tumours,
    waves,
    wine,
)

ROWS = Rows()


# ------------------------------------------------------------------ inputs


@ROWS.of("TW208")
def raw_measures_of_wine() -> Built:
    net = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    return classify(net, torch.optim.SGD(net.parameters(), lr=0.01), wine(is_raw=True))


@ROWS.of("TW208", "TW302")
def raw_measures_of_tumours_into_tanh() -> Built:
    net = nn.Sequential(nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 2))
    return classify(net, torch.optim.Adam(net.parameters(), lr=1e-3), tumours(is_raw=True))


@ROWS.of("TW208")
def pixels_up_to_255() -> Built:
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )
    return classify(net, torch.optim.SGD(net.parameters(), lr=0.05), glyphs(top=255.0))


@ROWS.of("TW208")
def a_time_stamp_among_scaled_columns() -> Built:
    batches = []
    for at, (x, y) in enumerate(progress()):
        seconds = 1.7e9 + 3600.0 * torch.arange(at * len(x), (at + 1) * len(x))
        batches.append((torch.cat([x, seconds[:, None]], 1), y))
    net = nn.Sequential(nn.Linear(11, 32), nn.ReLU(), nn.Linear(32, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return loop(net, optimizer, batches, lambda x, y: functional.l1_loss(net(x), y))


# ------------------------------------------------------------------ units and depth


@ROWS.of("TW301", "TW303")
def biases_far_below_zero() -> Built:
    net = nn.Sequential(
        nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 10)
    )
    nn.init.constant_(net[2].bias, -12.0)
    return classify(net, torch.optim.Adam(net.parameters(), lr=1e-3), flat())


@ROWS.of("TW302", "TW303")
def recurrent_units_at_their_limits() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.rnn = nn.Linear(1, 32), nn.RNN(32, 32, batch_first=True)
            self.out = nn.Linear(32, 1)
            nn.init.normal_(self.enter.weight, std=30.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(torch.tanh(self.enter(x)))[0][:, -1])

    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return loop(net, optimizer, waves(), lambda x, y: functional.mse_loss(net(x), y))


@ROWS.of("TW302", "TW303")
def sigmoids_with_wide_weights() -> Built:
    net = nn.Sequential(
        nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 10)
    )
    nn.init.uniform_(net[0].weight, -5, 5)
    nn.init.uniform_(net[2].weight, -5, 5)
    return classify(net, torch.optim.Adam(net.parameters(), lr=1e-3), flat())


@ROWS.of("TW005", "TW304")
def eight_sigmoid_layers() -> Built:
    layers: list[nn.Module] = [nn.Linear(13, 32), nn.Sigmoid()]
    for _ in range(7):
        layers += [nn.Linear(32, 32), nn.Sigmoid()]
    net = nn.Sequential(*layers, nn.Linear(32, 3))
    return classify(net, torch.optim.SGD(net.parameters(), lr=0.1), wine())


@ROWS.of("TW304", "TW005")
def thirty_plain_layers() -> Built:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(64, 48), nn.Linear(48, 10)
            self.hidden = nn.ModuleList(nn.Linear(48, 48) for _ in range(28))

        def forward(self, x: Tensor) -> Tensor:
            x = functional.relu(self.first(x))
            for layer in self.hidden:
                x = functional.relu(layer(x))
            return self.last(x)

    net = Deep()
    return classify(net, torch.optim.Adam(net.parameters(), lr=1e-3), flat())


@ROWS.of("TW304", "TW005")
def twenty_plain_convolutions() -> Built:
    layers: list[nn.Module] = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU()]
    for _ in range(19):
        layers += [nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))
    return classify(net, torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9), glyphs())


# ------------------------------------------------------------------ precision


@ROWS.of("TW401")
def bfloat16_weights_and_a_small_lr() -> Built:
    net = nn.Sequential(nn.Embedding(128, 32), nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 128))
    net = net.to(torch.bfloat16)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-5)
    return loop(
        net,
        optimizer,
        letters(),
        lambda x, y: functional.cross_entropy(net(x).float().flatten(0, 1), y.flatten()),
    )


@ROWS.of("TW401")
def half_weights_under_plain_descent() -> Built:
    net = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2)).half()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-4)

    def step(batch: Batch) -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(batch[0].half()).float(), batch[1])
        loss.backward()
        optimizer.step()
        return loss

    return built(net, optimizer, tumours(), step)
