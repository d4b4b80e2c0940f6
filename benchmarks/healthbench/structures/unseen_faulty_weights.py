"""Blind exam, faulty programs: parameters, gradients, modes, first weights, inputs, precision."""

from __future__ import annotations

import copy

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


def _cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 24, 3, padding=1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(24, 10),
    )


# ------------------------------------------------------------------ parameters left out


@ROWS.of("TW307")
def residual_blocks_in_a_list() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Linear(64, 32), nn.Linear(32, 10)
            self.blocks = [nn.Sequential(nn.Linear(32, 32), nn.ReLU()) for _ in range(3)]

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            for block in self.blocks:
                x = x + block(x)
            return self.head(x)

    net = Net()
    return classify(net, torch.optim.Adam(net.parameters(), lr=1e-3), flat())


@ROWS.of("TW307")
def heads_in_a_dict() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Sequential(nn.Linear(64, 32), nn.GELU())
            self.heads = {"digit": nn.Linear(32, 10), "large": nn.Linear(32, 2)}

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            hidden = self.trunk(x)
            return {name: head(hidden) for name, head in self.heads.items()}

    net = Net()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        out = net(x)
        return functional.cross_entropy(out["digit"], y) + functional.cross_entropy(
            out["large"], (y > 4).long()
        )

    return loop(net, torch.optim.AdamW(net.parameters(), lr=1e-3), flat(), loss_of)


@ROWS.of("TW307")
def head_replaced_after_the_optimizer() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.fc = _cnn()[:-1], nn.Linear(24, 1000)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.features(x))

    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4)
    net.fc = nn.Linear(net.fc.in_features, 10)
    return classify(net, optimizer, glyphs())


@ROWS.of("TW307")
def only_the_head_given() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = nn.GRU(1, 24, batch_first=True), nn.Linear(24, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.backbone(x)[1][0])

    net = Net()
    optimizer = torch.optim.Adam(net.head.parameters(), lr=1e-3)
    return loop(net, optimizer, waves(), lambda x, y: functional.mse_loss(net(x), y))


@ROWS.of("TW307")
def optimizer_over_the_teacher() -> Built:
    teacher = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
    student = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.Adam(teacher.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            soft = teacher(x).softmax(1)
        scores = student(x)
        return functional.cross_entropy(scores, soft) + functional.cross_entropy(scores, y)

    return loop(student, optimizer, flat(), loss_of)


@ROWS.of("TW307")
def optimizer_over_a_copy() -> Built:
    net = _cnn()
    optimizer = torch.optim.AdamW(copy.deepcopy(net).parameters(), lr=1e-3)
    return classify(net, optimizer, glyphs())


@ROWS.of("TW307")
def middle_group_forgotten() -> Built:
    net = nn.Sequential()
    net.add_module("embed", nn.Linear(30, 32))
    net.add_module("middle", nn.Sequential(nn.ReLU(), nn.Linear(32, 32), nn.ReLU()))
    net.add_module("out", nn.Linear(32, 2))
    groups = [
        {"params": net.embed.parameters(), "lr": 3e-4},
        {"params": net.out.parameters(), "weight_decay": 0.0},
    ]
    return classify(net, torch.optim.AdamW(groups, lr=1e-3), tumours())


@ROWS.of("TW307")
def scales_that_are_no_parameters() -> Built:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(13, 24), nn.Linear(24, 3)
            self.gain = torch.ones(24, requires_grad=True)
            self.shift = torch.zeros(24, requires_grad=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc2(functional.gelu(self.fc1(x)) * self.gain + self.shift)

    net = Scaled()
    return classify(net, torch.optim.Adam(net.parameters(), lr=1e-3), wine())


@ROWS.of("TW307")
def fresh_layers_frozen_by_a_name() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32))
            self.new_encoder_head = nn.Sequential(nn.Linear(32, 32), nn.ReLU())
            self.out = nn.Linear(32, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.new_encoder_head(self.encoder(x)))

    net = Net()
    for name, parameter in net.named_parameters():
        parameter.requires_grad = "encoder" not in name  # everything is drawn afresh here
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3)
    return classify(net, optimizer, flat())


@ROWS.of("TW102", "TW307", "TW105")
def lr_of_zero() -> Built:
    net = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step // 200)

    def step(batch: Batch) -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss

    return built(net, optimizer, wine(), step)


# ------------------------------------------------------------------ gradients


@ROWS.of("TW308")
def never_zeroed() -> Built:
    net = nn.Sequential(nn.Linear(10, 32), nn.SiLU(), nn.Linear(32, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def step(batch: Batch) -> Tensor:
        loss = functional.smooth_l1_loss(net(batch[0]), batch[1])
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return built(net, optimizer, progress(), step)


@ROWS.of("TW308")
def accumulation_that_never_zeroes() -> Built:
    net = _cnn()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)

    def step(batch: Batch) -> Tensor:
        total = torch.zeros(())
        for x, y in zip(batch[0].chunk(4), batch[1].chunk(4), strict=True):
            loss = functional.cross_entropy(net(x), y) / 4
            loss.backward()
            total += loss.detach()
        optimizer.step()
        return total

    return built(net, optimizer, glyphs(), step)


@ROWS.of("TW307", "TW308", "TW309")
def zeroed_between_backward_and_step() -> Built:
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def step(batch: Batch) -> Tensor:
        loss = functional.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        return loss

    return built(net, optimizer, flat(), step)


# ------------------------------------------------------------------ mode


@ROWS.of("TW306")
def left_in_evaluation_mode() -> Built:
    net = _cnn()
    net.eval()
    with torch.no_grad():
        net(glyphs()[-1][0])  # the first validation
    return classify(net, torch.optim.AdamW(net.parameters(), lr=1e-3), glyphs())


@ROWS.of("TW306")
def dropout_switched_off() -> Built:
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.2, batch_first=True, norm_first=True)
    net = nn.Sequential(nn.Embedding(128, 32), nn.TransformerEncoder(layer, 2), nn.Linear(32, 128))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        net.eval()
        return functional.cross_entropy(net(x).flatten(0, 1), y.flatten())

    return loop(net, optimizer, letters(), loss_of)


# ------------------------------------------------------------------ first weights


def _drawn(net: nn.Module, draw) -> nn.Module:
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            draw(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net


@ROWS.of("TW303")
def all_zeros() -> Built:
    net = nn.Sequential(
        nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 3)
    )
    _drawn(net, nn.init.zeros_)
    return classify(net, torch.optim.Adam(net.parameters(), lr=1e-3), wine())


@ROWS.of("TW303")
def all_alike() -> Built:
    net = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1), nn.Flatten(0))
    _drawn(net, lambda weight: nn.init.constant_(weight, 0.02))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    return loop(net, optimizer, progress(), lambda x, y: functional.mse_loss(net(x), y))


@ROWS.of("TW303", "TW302", "TW301")
def drawn_with_variance_one() -> Built:
    net = nn.Sequential(
        nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    )
    _drawn(net, nn.init.normal_)
    return classify(net, torch.optim.Adam(net.parameters(), lr=1e-3), flat())


@ROWS.of("TW303")
def adapter_with_two_zero_factors() -> Built:
    class Adapted(nn.Module):
        def __init__(self, layer: nn.Linear) -> None:
            super().__init__()
            self.layer = layer.requires_grad_(False)
            self.down = nn.Parameter(torch.zeros(4, layer.in_features))
            self.up = nn.Parameter(torch.zeros(layer.out_features, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) + x @ self.down.T @ self.up.T

    net = nn.Sequential(Adapted(nn.Linear(64, 48)), nn.ReLU(), Adapted(nn.Linear(48, 10)))
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-3)
    return classify(net, optimizer, flat())
