"""Blind exam, faulty programs: losses that do not fit the last layer."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.healthbench.structures.parts import Batch, Built
from benchmarks.healthbench.structures.unseen_data import (
    Rows,
    built,
    flat,
    glyphs,
    loop,
    progress,
    tumours,
    waves,
    wine,
)

ROWS = Rows()

# ------------------------------------------------------------------ loss and last layer


class LeNet(nn.Module):
    """Two convolutions and two linear layers; `head` comes last."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 16, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(64, 48), nn.Linear(48, 10)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        return self.head(self.fc2(functional.relu(self.fc1(x.flatten(1)))))


@ROWS.of("TW305")
def lenet_with_softmax_head() -> Built:
    net, criterion = LeNet(nn.Softmax(dim=1)), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    return loop(net, optimizer, glyphs(), lambda x, y: criterion(net(x), y))


class LSTMClassifier(nn.Module):
    """Reads a picture row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.fc = nn.LSTM(8, 32, batch_first=True), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        _, (h, _) = self.lstm(x.squeeze(1))
        return functional.softmax(self.fc(h[-1]), dim=-1)


@ROWS.of("TW305")
def lstm_softmax_label_smoothing() -> Built:
    net = LSTMClassifier()
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
    return loop(net, optimizer, glyphs(), lambda x, y: criterion(net(x), y), is_shown_before=True)


@ROWS.of("TW305")
def probabilities_to_weighted_entropy() -> Built:
    net = nn.Sequential(nn.Linear(13, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 3))
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    weight = torch.tensor([1.0, 0.8, 1.4])

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        probabilities = torch.softmax(net(x), dim=1).clamp(1e-6, 1)
        return functional.cross_entropy(probabilities, y, weight=weight)

    return loop(net, optimizer, wine(), loss_of)


@ROWS.of("TW305")
def nll_of_raw_scores() -> Built:
    net = LeNet(nn.Identity())
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return loop(net, optimizer, glyphs(), lambda x, y: functional.nll_loss(net(x), y))


@ROWS.of("TW305")
def nll_of_probabilities() -> Built:
    net = nn.Sequential(nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 10), nn.Softmax(1))
    criterion = nn.NLLLoss()
    optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3)
    return loop(net, optimizer, flat(), lambda x, y: criterion(net(x), y), is_shown_before=True)


@ROWS.of("TW305")
def log_softmax_over_the_batch() -> Built:
    body = nn.Sequential(nn.Linear(30, 24), nn.ReLU(), nn.Linear(24, 2))
    optimizer = torch.optim.Adam(body.parameters(), lr=1e-3)
    return loop(
        body,
        optimizer,
        tumours(),
        lambda x, y: functional.nll_loss(functional.log_softmax(body(x), dim=0), y),
    )


@ROWS.of("TW305")
def multilabel_sigmoid_twice() -> Built:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(64, 48), nn.SiLU(), nn.Linear(48, 4))

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x).sigmoid()

    tagger = Tagger()
    optimizer = torch.optim.AdamW(tagger.parameters(), lr=1e-3)
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.full((4,), 1.5))
    tags = [(x, torch.stack([(y >> k) & 1 for k in range(4)], 1).float()) for x, y in flat()]
    return loop(tagger, optimizer, tags, lambda x, y: criterion(tagger(x), y))


def _masks() -> list[Batch]:
    return [(x + 0.2 * torch.randn_like(x), (x > 0.5).float()) for x, _ in glyphs(size=16)]


@ROWS.of("TW305")
def segmentation_sigmoid_and_logits_loss() -> Built:
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(inplace=True),
        nn.Conv2d(12, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(inplace=True),
        nn.Conv2d(12, 1, 1),
        nn.Sigmoid(),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        mask = net(x)
        dice = 1 - 2 * (mask * y).sum() / (mask.sum() + y.sum() + 1)
        return functional.binary_cross_entropy_with_logits(mask, y) + dice

    return loop(net, optimizer, _masks(), loss_of)


@ROWS.of("TW305")
def squared_error_of_class_numbers() -> Built:
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    criterion = nn.MSELoss()
    return loop(
        net,
        optimizer,
        flat(),
        lambda x, y: criterion(net(x).squeeze(1), y.float()),
        is_shown_before=True,
    )


@ROWS.of("TW305")
def own_squared_error_of_class_numbers() -> Built:
    net = LeNet(nn.Linear(10, 1))
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-2)

    def loss_of(images: Tensor, labels: Tensor) -> Tensor:
        error = net(images)[:, 0] - labels
        return error.pow(2).mean()

    return loop(net, optimizer, glyphs(), loss_of)


@ROWS.of("TW305")
def column_against_row() -> Built:
    net = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    return loop(net, optimizer, progress(), lambda x, y: ((net(x) - y) ** 2).mean())


@ROWS.of("TW305")
def forecast_against_squeezed_targets() -> Built:
    class Forecast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru, self.out = nn.GRU(1, 24, batch_first=True), nn.Linear(24, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.gru(x)[0][:, -1])

    net = Forecast()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    return loop(
        net,
        optimizer,
        waves(),
        lambda x, y: (net(x) - y.squeeze()).abs().mean(),
        is_shown_before=True,
    )


@ROWS.of("TW305", "TW309")
def softmax_over_one_output() -> Built:
    net = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1), nn.Softmax(dim=1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return loop(
        net,
        optimizer,
        tumours(),
        lambda x, y: functional.binary_cross_entropy(net(x)[:, 0], y.float()),
    )


@ROWS.of("TW305", "TW301")
def activation_after_every_layer() -> Built:
    sizes, layers = (64, 48, 32, 10), []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    net = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    return loop(net, optimizer, flat(), lambda x, y: functional.cross_entropy(net(x), y))


@ROWS.of("TW305", "TW302")
def sigmoid_for_targets_in_the_hundreds() -> Built:
    net = nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 1), nn.Sigmoid())
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return loop(
        net,
        optimizer,
        progress(is_raw=True),
        lambda x, y: functional.mse_loss(net(x)[:, 0], y),
        is_shown_before=True,
    )


@ROWS.of("TW305")
def distillation_without_the_logarithm() -> Built:
    teacher = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).eval()
    student = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        with torch.no_grad():
            soft = functional.softmax(teacher(x) / 2, dim=1)
        return (
            functional.kl_div(
                functional.softmax(student(x) / 2, dim=1), soft, reduction="batchmean"
            )
            * 4
        )

    return loop(student, optimizer, flat(), loss_of)


@ROWS.of("TW305")
def contrastive_similarities_as_probabilities() -> Built:
    encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-3)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        first = functional.normalize(encoder(x + 0.1 * torch.randn_like(x)), dim=1)
        second = functional.normalize(encoder(x + 0.1 * torch.randn_like(x)), dim=1)
        matches = ((first @ second.T) / 0.1).softmax(dim=1)
        return functional.cross_entropy(matches, torch.arange(len(x)))

    return loop(encoder, optimizer, flat(), loss_of)


@ROWS.of("TW305")
def gan_judge_with_sigmoid() -> Built:
    maker = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 64))
    judge = nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1), nn.Sigmoid())
    makes = torch.optim.Adam(maker.parameters(), lr=2e-4, betas=(0.5, 0.999))
    judges = torch.optim.Adam(judge.parameters(), lr=2e-4, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()

    def step(batch: Batch) -> Tensor:
        real = batch[0]
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        fake = maker(torch.randn(len(real), 8))
        judges.zero_grad()
        judged = criterion(judge(real), ones) + criterion(judge(fake.detach()), zeros)
        judged.backward()
        judges.step()
        makes.zero_grad()
        made = criterion(judge(fake), ones)
        made.backward()
        makes.step()
        return judged + made

    return built(nn.ModuleDict({"maker": maker, "judge": judge}), [judges, makes], flat(), step)
