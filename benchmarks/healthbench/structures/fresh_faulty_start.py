"""Second blind set, faulty programs: modes, first weights, inputs, labels that do not count."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812

from benchmarks.healthbench.structures.fresh_data import (
    flowers,
    scenes,
    sentences,
    series,
    sums,
)
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

# ------------------------------------------------------------------ modes


@ROWS.of("TW306")
def eval_left_on_after_a_sanity_check() -> Built:
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(48, 10),
    )  # fmt: skip
    batches = glyphs()
    net.eval()
    with torch.no_grad():
        net(batches[0][0])
    return classify(net, optim.Adam(net.parameters(), 1e-3), batches)


@ROWS.of("TW306")
def attention_trained_without_its_dropout() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(200, 32)
            self.att = nn.MultiheadAttention(32, 4, dropout=0.3, batch_first=True)
            self.norm, self.out = nn.LayerNorm(32), nn.Linear(32, 2)

        def forward(self, ids: Tensor) -> Tensor:
            h = self.emb(ids)
            h = self.norm(h + self.att(h, h, h, need_weights=False)[0])
            return self.out(h.mean(1))

    net = Net().eval()
    return classify(net, optim.Adam(net.parameters(), 1e-3), sentences())


@ROWS.of("TW306")
def validated_in_training_mode() -> Built:
    net = nn.Sequential(nn.Linear(30, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Linear(40, 2))
    opt = optim.SGD(net.parameters(), 0.05, momentum=0.9)
    batches = tumours(size=32)
    held = torch.cat([x for x, _ in batches[-8:]])

    def step(batch: Batch) -> Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        opt.step()
        with torch.no_grad():
            net(held).argmax(1)
        return loss

    return built(net, opt, batches[:-8], step)


@ROWS.of("TW306")
def backbone_in_eval_that_is_trained() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv1d(3, 16, 5), nn.BatchNorm1d(16), nn.ReLU())
            self.body.eval()
            self.out = nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.body(x).amax(2))

    net = Net()
    return classify(net, optim.Adam(net.parameters(), 2e-3), series())


# ------------------------------------------------------------------ first weights


@ROWS.of("TW303")
def all_weights_zero() -> Built:
    net = nn.Sequential(
        nn.Linear(13, 30), nn.Tanh(), nn.Linear(30, 30), nn.Tanh(), nn.Linear(30, 3)
    )
    for p in net.parameters():
        nn.init.zeros_(p)
    return classify(net, optim.Adam(net.parameters(), 1e-3), wine())


@ROWS.of("TW303")
def all_weights_one_number() -> Built:
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    for p in net.parameters():
        p.data.fill_(0.05)
    return classify(net, optim.SGD(net.parameters(), 0.01), glyphs())


@ROWS.of("TW303")
def weights_between_zero_and_one() -> Built:
    net = nn.Sequential(
        nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 100), nn.ReLU(), nn.Linear(100, 10)
    )
    for m in net.modules():
        if isinstance(m, nn.Linear):
            m.weight.data = torch.rand_like(m.weight)
    return classify(net, optim.Adam(net.parameters(), 1e-3), flat())


@ROWS.of("TW302", "TW303")
def recurrent_weights_of_deviation_one() -> Built:
    rnn, head = nn.RNN(1, 96, batch_first=True), nn.Linear(96, 1)
    net = nn.ModuleList([rnn, head])
    for p in rnn.parameters():
        nn.init.normal_(p)
    opt = optim.Adam(net.parameters(), 1e-3)
    return loop(net, opt, waves(), lambda x, y: F.mse_loss(head(rnn(x)[0][:, -1]), y))


@ROWS.of("TW303", "TW302", "TW301")
def xavier_with_a_gain_of_ten() -> Built:
    net = nn.Sequential(
        nn.Linear(30, 64), nn.Sigmoid(), nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 2)
    )
    for p in net.parameters():
        if p.dim() == 2:
            nn.init.xavier_uniform_(p, gain=10)
    return classify(net, optim.Adam(net.parameters(), 1e-3), tumours())


@ROWS.of("TW303", "TW005")
def weights_of_a_ten_thousandth() -> Built:
    net = nn.Sequential(
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    for p in net.parameters():
        nn.init.normal_(p, std=1e-4)
    return classify(net, optim.SGD(net.parameters(), 0.05), flat())


@ROWS.of("TW301", "TW303")
def biases_of_minus_four() -> Built:
    net = nn.Sequential(
        nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)
    )
    nn.init.constant_(net[0].bias, -4.0)
    nn.init.constant_(net[2].bias, -4.0)
    return classify(net, optim.Adam(net.parameters(), 1e-3), wine())


@ROWS.of("TW303")
def scores_in_the_hundreds() -> Built:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.rnn = nn.Embedding(128, 32), nn.GRU(32, 64, batch_first=True)
            self.head = nn.Linear(64, 128)
            nn.init.normal_(self.head.weight, std=30.0)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.rnn(self.emb(ids))[0])

    net = Model()
    opt = optim.AdamW(net.parameters(), 1e-3)
    return loop(net, opt, letters(), lambda x, y: F.cross_entropy(net(x).transpose(1, 2), y))


@ROWS.of("TW304", "TW005", "TW302", "TW303")
def thirty_sigmoid_layers() -> Built:
    layers = [nn.Linear(4, 32)]
    for _ in range(30):
        layers += [nn.Sigmoid(), nn.Linear(32, 32)]
    net = nn.Sequential(*layers, nn.Sigmoid(), nn.Linear(32, 3))
    return classify(net, optim.SGD(net.parameters(), 0.1), flowers())


# ------------------------------------------------------------------ inputs


@ROWS.of("TW208")
def raw_measures_of_tumours() -> Built:
    net = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 1))
    opt = optim.Adam(net.parameters(), 1e-3)
    batches = tumours(is_raw=True)
    return loop(
        net, opt, batches, lambda x, y: F.binary_cross_entropy_with_logits(net(x)[:, 0], y.float())
    )


@ROWS.of("TW208")
def pixels_up_to_255() -> Built:
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10)
    )
    return classify(net, optim.SGD(net.parameters(), 0.01, momentum=0.9), glyphs(top=255.0))


@ROWS.of("TW208")
def prices_of_ten_thousand_into_an_lstm() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.fc = nn.LSTM(3, 32, batch_first=True), nn.Linear(32, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.rnn(x.transpose(1, 2))[0][:, -1])

    net = Net()
    return classify(net, optim.Adam(net.parameters(), 1e-3), series(offset=10_000.0))


@ROWS.of("TW208", "TW301", "TW104")
def pixels_divided_away_as_whole_numbers() -> Built:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    batches = [((x.long() // 256).float(), y) for x, y in glyphs(top=255.0)]
    return classify(net, optim.Adam(net.parameters(), 1e-3), batches)


@ROWS.of("TW208")
def time_in_seconds_among_the_columns() -> Built:
    net = nn.Sequential(nn.Linear(11, 48), nn.ReLU(), nn.Linear(48, 1))
    when = 1.7e9 + 86_400 * torch.arange(32)[:, None]
    batches = [(torch.cat([x, when], dim=1), y) for x, y in progress()]
    opt = optim.Adam(net.parameters(), 1e-3)
    return loop(net, opt, batches, lambda x, y: F.mse_loss(net(x).squeeze(1), y))


# ------------------------------------------------------------------ labels that do not count


@ROWS.of("TW310")
def every_label_is_the_ignored_one() -> Built:
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    opt = optim.Adam(net.parameters(), 1e-3)
    batches = [(x, torch.where(y == 1, 255, 255)) for x, y in scenes()]
    return loop(net, opt, batches, lambda x, y: F.cross_entropy(net(x), y, ignore_index=255))


@ROWS.of("TW310")
def mask_that_leaves_nothing() -> Built:
    emb, rnn, head = nn.Embedding(200, 24), nn.GRU(24, 32, batch_first=True), nn.Linear(32, 200)
    net = nn.ModuleList([emb, rnn, head])
    opt = optim.Adam(net.parameters(), 2e-3)

    def loss_of(ids: Tensor, _: Tensor) -> Tensor:
        scores = head(rnn(emb(ids[:, :-1]))[0])
        each = F.cross_entropy(scores.transpose(1, 2), ids[:, 1:], reduction="none")
        mask = (ids[:, 1:] < 0).float()
        return (each * mask).sum() / mask.sum().clamp(min=1)

    return loop(net, opt, sentences(), loss_of)


@ROWS.of("TW310", "TW305")
def class_weights_of_zero() -> Built:
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
    opt = optim.Adam(net.parameters(), 2e-3)
    weight = torch.zeros(2)
    batches = [(x, (y[:, 0] > 0).long()) for x, y in sums()]
    return loop(
        net, opt, batches, lambda x, y: F.cross_entropy(net(x), y, weight=weight, reduction="sum")
    )
