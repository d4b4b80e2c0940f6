"""Blind exam, faulty programs: graphs that are cut, labels that are masked."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.healthbench.structures.parts import Batch, Built
from benchmarks.healthbench.structures.unseen_data import (
    Rows,
    built,
    flat,
    glyphs,
    letters,
    loop,
    progress,
    tumours,
    wine,
)

ROWS = Rows()

# ------------------------------------------------------------------ the graph is cut


@ROWS.of("TW309")
def encoder_output_detached() -> Built:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(nn.Linear(13, 24), nn.ReLU(), nn.Linear(24, 24))
            self.classifier = nn.Linear(24, 3)

        def forward(self, x: Tensor) -> Tensor:
            z = self.encoder(x)
            return self.classifier(functional.relu(z.detach()))

    net = Model()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return loop(net, optimizer, wine(), lambda x, y: functional.cross_entropy(net(x), y))


@ROWS.of("TW309")
def features_through_numpy() -> Built:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(1, 8, 3, stride=2), nn.BatchNorm2d(8)
            self.fc = nn.Linear(72, 10)

        def forward(self, x: Tensor) -> Tensor:
            maps = functional.relu(self.bn(self.conv(x)))
            rows = maps.detach().cpu().numpy().reshape(len(x), -1)
            return self.fc(torch.from_numpy(rows))

    net = Model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return loop(
        net,
        optimizer,
        glyphs(),
        lambda x, y: functional.cross_entropy(net(x), y),
        is_shown_before=True,
    )


@ROWS.of("TW309")
def loss_made_into_a_new_tensor() -> Built:
    net = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        errors = [
            functional.mse_loss(net(row)[0], target).item()
            for row, target in zip(x, y, strict=True)
        ]
        return torch.tensor(errors, requires_grad=True).mean()

    return loop(net, optimizer, progress(), loss_of)


@ROWS.of("TW309")
def error_of_predicted_classes() -> Built:
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        wrong = (net(x).argmax(dim=1) != y).float().mean()
        return wrong.requires_grad_()

    return loop(net, optimizer, glyphs(), loss_of)


@ROWS.of("TW309")
def second_task_as_a_number() -> Built:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Sequential(nn.Linear(64, 48), nn.ReLU())
            self.digit, self.parity = nn.Linear(48, 10), nn.Linear(48, 2)

    net = Two()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        shared = net.trunk(x)
        main = functional.cross_entropy(net.digit(shared), y)
        return main + 0.5 * functional.cross_entropy(net.parity(shared), y % 2).item()

    return loop(net, optimizer, flat(), loss_of)


@ROWS.of("TW309")
def embedding_looked_up_in_its_data() -> Built:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(128, 24)
            self.mix, self.out = nn.GRU(24, 32, batch_first=True), nn.Linear(32, 128)

        def forward(self, ids: Tensor) -> Tensor:
            return self.out(self.mix(functional.embedding(ids, self.embed.weight.data))[0])

    net = Model()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    return loop(
        net, optimizer, letters(), lambda x, y: functional.cross_entropy(net(x).transpose(1, 2), y)
    )


@ROWS.of("TW309", "TW307")
def loss_of_the_averaged_copy() -> Built:
    net = nn.Sequential(nn.Linear(30, 24), nn.ReLU(), nn.Linear(24, 2))
    average = copy.deepcopy(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def step(batch: Batch) -> Tensor:
        x, y = batch
        optimizer.zero_grad()
        loss = functional.cross_entropy(average(x), y)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), net.parameters(), strict=True):
                slow.lerp_(fast, 0.01)
        return loss

    return built(net, optimizer, tumours(), step)


@ROWS.of("TW309")
def transformer_encoded_without_gradients() -> Built:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project, self.place = nn.Linear(8, 32), nn.Parameter(torch.randn(8, 32) * 0.02)
            layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2)
            self.head = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 10))

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                hidden = self.encoder(self.project(x.squeeze(1)) + self.place)
            return self.head(hidden.mean(1))

    net = Reader()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-4)
    return loop(net, optimizer, glyphs(), lambda x, y: functional.cross_entropy(net(x), y))


@ROWS.of("TW309")
def latent_code_rebuilt_as_a_tensor() -> Built:
    encoder = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 6))
    decoder = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 64))
    net = nn.Sequential(encoder, decoder)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        codes = torch.tensor(encoder(x).tolist())
        return functional.mse_loss(decoder(codes), x)

    return loop(net, optimizer, flat(), loss_of, is_shown_before=True)


# ------------------------------------------------------------------ no label counts


@ROWS.of("TW310", "TW001")
def every_token_is_padding() -> Built:
    net = nn.Sequential(nn.Embedding(128, 16), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 128))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss(ignore_index=-100)

    def loss_of(ids: Tensor, following: Tensor) -> Tensor:
        labels = following.masked_fill(ids < 128, -100)  # meant: the prompt's part only
        return criterion(net(ids).flatten(0, 1), labels.flatten())

    return loop(net, optimizer, letters(), loss_of)


@ROWS.of("TW310", "TW309")
def own_mask_the_wrong_way_round() -> Built:
    net = nn.Sequential(nn.Embedding(128, 16), nn.Linear(16, 128))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def loss_of(ids: Tensor, following: Tensor) -> Tensor:
        mask = (following == 0).float()
        each = functional.cross_entropy(net(ids).transpose(1, 2), following, reduction="none")
        return (each * mask).sum() / mask.sum().clamp(min=1)

    return loop(net, optimizer, letters(), loss_of)
