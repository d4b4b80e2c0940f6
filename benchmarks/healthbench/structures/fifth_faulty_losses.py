"""Mistakes as people report them, fourth blind set: losses that do not fit what they are given."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812

from benchmarks.healthbench.structures.fifth_parts import UNet, Vae, divergence, pixels
from benchmarks.healthbench.structures.fresh_data import mlp, scenes, sentences, tags
from benchmarks.healthbench.structures.parts import Built
from benchmarks.healthbench.structures.unseen_data import (
    Rows,
    classify,
    convnet,
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


@ROWS.of("TW305")
def segmentation_ends_in_a_softmax() -> Built:
    net = nn.Sequential(UNet(2), nn.Softmax(dim=1))
    return classify(net, optim.Adam(net.parameters(), 1e-3), scenes())


@ROWS.of("TW305")
def decoder_ends_in_a_sigmoid_and_so_does_the_loss() -> Built:
    net = Vae()

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        logits, mean, log_var = net(x)
        shown = F.binary_cross_entropy_with_logits(torch.sigmoid(logits), x, reduction="sum")
        return shown / len(x) + divergence(mean, log_var)

    return loop(net, optim.Adam(net.parameters(), 1e-3), pixels(), loss_of)


@ROWS.of("TW305")
def likelihood_of_a_softmax_without_its_log() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(200, 24, padding_idx=0)
            self.lstm = nn.LSTM(24, 32, batch_first=True)
            self.fc, self.softmax = nn.Linear(32, 2), nn.Softmax(dim=1)

        def forward(self, ids: Tensor) -> Tensor:
            _, (h, _) = self.lstm(self.emb(ids))
            return self.softmax(self.fc(h[-1]))

    net, criterion = Net(), nn.NLLLoss()
    opt = optim.Adam(net.parameters(), lr=1e-3)
    return loop(net, opt, sentences(), lambda x, y: criterion(net(x), y))


@ROWS.of("TW305")
def softmax_over_the_batch() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 10, 3), nn.Linear(360, 10)

        def forward(self, x: Tensor) -> Tensor:
            return F.log_softmax(self.fc(F.relu(self.conv(x)).flatten(1)), dim=0)

    net = Net()
    opt = optim.SGD(net.parameters(), lr=0.01, momentum=0.5)
    return loop(net, opt, glyphs(), lambda x, y: F.nll_loss(net(x), y))


@ROWS.of("TW305")
def column_of_predictions_and_row_of_targets() -> Built:
    net = mlp(10, 64, 64, 1)
    criterion = nn.MSELoss()
    opt = optim.Adam(net.parameters(), lr=1e-3)
    return loop(net, opt, progress(), lambda x, y: criterion(net(x), y))


@ROWS.of("TW305", "TW301")
def standardised_prices_behind_a_relu() -> Built:
    net = nn.Sequential(*mlp(10, 64, 1), nn.ReLU())
    opt = optim.Adam(net.parameters(), lr=1e-3)
    return loop(net, opt, progress(), lambda x, y: F.mse_loss(net(x).squeeze(1), y))


@ROWS.of("TW305", "TW306")
def dropout_behind_the_last_layer() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(13, 64), nn.Linear(64, 3)
            self.dropout = nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.dropout(F.relu(self.fc1(x)))
            return self.dropout(self.fc2(x))

    net = Net()
    return classify(net, optim.Adam(net.parameters(), 1e-3), wine())


@ROWS.of("TW305")
def digit_guessed_as_a_number() -> Built:
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 32), nn.ReLU(),
        nn.Linear(32, 1),
    )  # fmt: skip
    opt = optim.Adam(net.parameters(), lr=1e-3)
    return loop(net, opt, glyphs(), lambda x, y: F.mse_loss(net(x)[:, 0], y.float()))


@ROWS.of("TW305", "TW302", "TW208")
def hundreds_to_be_reached_by_a_tanh() -> Built:
    net = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1), nn.Tanh())
    opt = optim.Adam(net.parameters(), lr=1e-2)
    batches = progress(is_raw=True)
    return loop(net, opt, batches, lambda x, y: F.mse_loss(net(x).flatten(), y))


@ROWS.of("TW305", "TW309", "TW005")
def softmax_of_one_output() -> Built:
    net = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1), nn.Softmax(dim=1))
    criterion = nn.BCELoss()
    opt = optim.SGD(net.parameters(), lr=0.01)
    return loop(net, opt, tumours(), lambda x, y: criterion(net(x), y.unsqueeze(1).float()))


@ROWS.of("TW305", "TW309", "TW005")
def cross_entropy_of_one_output() -> Built:
    net, criterion = mlp(30, 32, 1), nn.CrossEntropyLoss()
    opt = optim.Adam(net.parameters(), lr=1e-3)
    return loop(net, opt, tumours(), lambda x, y: criterion(net(x), y.float().view(-1, 1)))


@ROWS.of("TW305")
def binary_cross_entropy_with_its_arguments_swapped() -> Built:
    net = Vae()

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        logits, mean, log_var = net(x)
        wrong = F.binary_cross_entropy_with_logits(x, torch.sigmoid(logits), reduction="sum")
        return wrong / len(x) + divergence(mean, log_var)

    return loop(net, optim.Adam(net.parameters(), 1e-3), pixels(), loss_of)


@ROWS.of("TW305")
def minus_forgotten_before_the_log_likelihood() -> Built:
    net = mlp(64, 48, 10)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        log_p = F.log_softmax(net(x), dim=1)
        return (F.one_hot(y, 10) * log_p).sum(1).mean()

    return loop(net, optim.Adam(net.parameters(), 1e-3), flat(), loss_of)


@ROWS.of("TW305")
def soft_margin_of_labels_zero_and_one() -> Built:
    net, criterion = mlp(30, 32, 1), nn.SoftMarginLoss()
    opt = optim.SGD(net.parameters(), lr=0.05)
    return loop(net, opt, tumours(), lambda x, y: criterion(net(x)[:, 0], y.float()))


@ROWS.of("TW305")
def divergence_of_probabilities_not_their_logs() -> Built:
    teacher, student = mlp(64, 96, 10).requires_grad_(False), mlp(64, 32, 10)
    criterion = nn.KLDivLoss(reduction="batchmean")

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        return criterion(F.softmax(student(x), dim=1), F.softmax(4 * teacher(x), dim=1))

    return loop(student, optim.Adam(student.parameters(), 1e-3), flat(), loss_of)


@ROWS.of("TW305")
def many_labels_through_a_softmax() -> Built:
    net = mlp(10, 48, 5)
    opt = optim.Adam(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(F.softmax(net(x), dim=1), y)

    return loop(net, opt, tags(), loss_of)


@ROWS.of("TW305")
def own_squared_error_broadcast() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.out = nn.GRU(1, 24, batch_first=True), nn.Linear(24, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[1][-1]).squeeze()

    net = Net()
    opt = optim.Adam(net.parameters(), lr=3e-3)
    return loop(net, opt, waves(), lambda x, y: torch.mean((net(x) - y) ** 2))


@ROWS.of("TW305")
def probability_of_the_next_letter_over_the_places() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.rnn = nn.Embedding(128, 32), nn.GRU(32, 64, batch_first=True)
            self.out = nn.Linear(64, 128)

        def forward(self, ids: Tensor) -> Tensor:
            return F.log_softmax(self.out(self.rnn(self.emb(ids))[0]), dim=1)

    net = Net()
    opt = optim.Adam(net.parameters(), lr=2e-3)
    return loop(net, opt, letters(), lambda x, y: F.nll_loss(net(x).flatten(0, 1), y.flatten()))


@ROWS.of("TW305", "TW301")
def relu_before_the_cross_entropy() -> Built:
    net = nn.Sequential(convnet(), nn.ReLU())
    return classify(net, optim.Adam(net.parameters(), 1e-3), glyphs())
