"""Second blind set, faulty programs: losses, their targets and the last layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812

from benchmarks.healthbench.structures.fresh_data import (
    counts,
    flowers,
    scenes,
    sentences,
    series,
    sums,
    tags,
)
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

# ------------------------------------------------------------------ classes


class SeriesNet(nn.Module):
    """Convolutions along time, the mean over it, and what `last` makes of the scores."""

    def __init__(self, last=None) -> None:
        super().__init__()
        self.c1 = nn.Conv1d(3, 24, 5, padding=2)
        self.c2 = nn.Conv1d(24, 24, 5, padding=2)
        self.out, self.last = nn.Linear(24, 3), last

    def forward(self, x: Tensor) -> Tensor:
        h = F.gelu(self.c2(F.gelu(self.c1(x)))).mean(-1)
        return self.last(self.out(h)) if self.last else self.out(h)


@ROWS.of("TW305")
def series_probabilities_into_weighted_cross_entropy() -> Built:
    net = SeriesNet(lambda s: F.softmax(s, -1))
    criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 1.0]))
    return loop(
        net, optim.AdamW(net.parameters(), 2e-3), series(), lambda x, y: criterion(net(x), y)
    )


@ROWS.of("TW305")
def series_scores_into_nll() -> Built:
    net = SeriesNet()
    return loop(net, optim.Adam(net.parameters()), series(), lambda x, y: F.nll_loss(net(x), y))


class WordGRU(nn.Module):
    """Embeds, reads, scores."""

    def __init__(self, outputs: int = 2) -> None:
        super().__init__()
        self.emb = nn.Embedding(200, 24, padding_idx=0)
        self.rnn = nn.GRU(24, 40, batch_first=True)
        self.out = nn.Linear(40, outputs)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.rnn(self.emb(ids))[1][-1])


@ROWS.of("TW305")
def words_nll_of_probabilities() -> Built:
    net = WordGRU()
    nll = nn.NLLLoss()
    opt = optim.RMSprop(net.parameters(), lr=1e-3)
    return loop(net, opt, sentences(), lambda x, y: nll(torch.softmax(net(x), dim=1), y))


@ROWS.of("TW305")
def words_log_softmax_over_the_batch() -> Built:
    net = WordGRU()
    opt = optim.Adam(net.parameters(), lr=2e-3)
    return loop(net, opt, sentences(), lambda x, y: F.nll_loss(F.log_softmax(net(x), dim=0), y))


@ROWS.of("TW305")
def softmax_twice_by_hand() -> Built:
    net = nn.Sequential(nn.Linear(64, 96), nn.SiLU(), nn.Linear(96, 10), nn.Softmax(-1))

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        log_p = net(x).log_softmax(-1)
        return -log_p[torch.arange(len(y)), y].mean()

    return loop(net, optim.SGD(net.parameters(), 0.1), flat(), loss_of)


@ROWS.of("TW305")
def letters_log_softmax_over_time() -> Built:
    emb, rnn = nn.Embedding(128, 32), nn.LSTM(32, 64, batch_first=True)
    head = nn.Linear(64, 128)
    net = nn.ModuleDict({"emb": emb, "rnn": rnn, "head": head})

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        log_p = F.log_softmax(head(rnn(emb(x))[0]), dim=1)
        return F.nll_loss(log_p.flatten(0, 1), y.flatten())

    return loop(net, optim.Adam(net.parameters(), 3e-3), letters(), loss_of, is_shown_before=True)


@ROWS.of("TW305")
def digits_guessed_as_a_number() -> Built:
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12 * 36, 32),
        nn.ReLU(),
        nn.Linear(32, 1),
    )
    opt = optim.Adam(net.parameters(), 1e-3)
    return loop(net, opt, glyphs(size=40), lambda x, y: F.mse_loss(net(x).squeeze(1), y.float()))


@ROWS.of("TW305")
def flowers_huber_of_class_numbers() -> Built:
    net = nn.Sequential(nn.Linear(4, 20), nn.Tanh(), nn.Linear(20, 1))
    huber = nn.HuberLoss()
    opt = optim.Adam(net.parameters(), 5e-3)
    return loop(net, opt, flowers(), lambda x, y: huber(net(x)[:, 0], y.float()))


@ROWS.of("TW305")
def relu_on_the_scores() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(13, 40), nn.Linear(40, 40), nn.Linear(40, 3)])

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                x = torch.relu(layer(x))
            return x

    net = Net()
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(net, opt, wine(size=44), lambda x, y: F.cross_entropy(net(x), y))


@ROWS.of("TW305")
def maximised_cross_entropy() -> Built:
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3))
    opt = optim.SGD(net.parameters(), 0.05)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return net(x).log_softmax(1).gather(1, y[:, None]).mean()

    return loop(net, opt, flowers(), loss_of)


@ROWS.of("TW305")
def auxiliary_head_with_softmax() -> Built:
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
            self.deep = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
            self.aux = nn.Sequential(nn.Linear(64, 10), nn.Softmax(dim=1))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(x)
            return self.deep(h), self.aux(h)

    net = TwoHeads()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        main, aux = net(x)
        return F.cross_entropy(main, y) + 0.4 * F.cross_entropy(aux, y)

    return loop(net, optim.AdamW(net.parameters(), 1e-3), flat(), loss_of)


@ROWS.of("TW305")
def squared_distance_of_log_probabilities_to_one_hot() -> Built:
    net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3), nn.LogSoftmax(dim=1))
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(net, opt, flowers(), lambda x, y: F.mse_loss(net(x), F.one_hot(y, 3).float()))


# ------------------------------------------------------------------ yes or no


@ROWS.of("TW305")
def sigmoid_before_logits_with_positive_weight() -> Built:
    net = nn.Sequential(nn.Linear(30, 24), nn.ReLU(), nn.Linear(24, 1), nn.Sigmoid())
    bce = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.7]))
    opt = optim.Adam(net.parameters(), 1e-3)
    return loop(net, opt, tumours(), lambda x, y: bce(net(x), y[:, None].float()))


@ROWS.of("TW305")
def softmax_over_one_column() -> Built:
    net = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1), nn.Softmax(dim=1))
    opt = optim.Adam(net.parameters(), 1e-3)
    return loop(
        net, opt, tumours(), lambda x, y: F.binary_cross_entropy(net(x), y[:, None].float())
    )


@ROWS.of("TW305")
def cross_entropy_of_a_single_column() -> Built:
    net = nn.Sequential(nn.Linear(30, 50), nn.ReLU(), nn.Linear(50, 1))
    opt = optim.Adam(net.parameters(), 1e-3)
    return loop(net, opt, tumours(), lambda x, y: F.cross_entropy(net(x), y[:, None].float()))


@ROWS.of("TW305")
def plus_and_minus_one_into_bce() -> Built:
    net = nn.Sequential(nn.Linear(30, 16), nn.Tanh(), nn.Linear(16, 1))
    opt = optim.SGD(net.parameters(), 0.05, momentum=0.9)
    criterion = nn.BCEWithLogitsLoss()
    return loop(net, opt, tumours(), lambda x, y: criterion(net(x).view(-1), 2.0 * y - 1))


@ROWS.of("TW305")
def hinge_of_zeros_and_ones() -> Built:
    net = nn.Linear(30, 1)
    opt = optim.SGD(net.parameters(), 0.01)
    return loop(net, opt, tumours(), lambda x, y: (1 - y * net(x)[:, 0]).clamp(min=0).mean())


@ROWS.of("TW305")
def softmax_over_tags_that_may_all_be_true() -> Built:
    net = nn.Sequential(nn.Linear(10, 48), nn.ReLU(), nn.Linear(48, 5))
    opt = optim.Adam(net.parameters(), 2e-3)
    bce = nn.BCELoss()
    return loop(net, opt, tags(), lambda x, y: bce(net(x).softmax(dim=-1), y))


@ROWS.of("TW305")
def yes_or_no_against_the_whole_batch() -> Built:
    net = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())
    opt = optim.Adam(net.parameters(), 1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        p, t = net(x), y.float()
        return -(t * torch.log(p + 1e-7) + (1 - t) * torch.log(1 - p + 1e-7)).mean()

    return loop(net, opt, tumours(), loss_of)


@ROWS.of("TW305")
def segmentation_probabilities_as_scores() -> Built:
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.Conv2d(8, 1, 1), nn.Sigmoid(),
    )  # fmt: skip
    opt = optim.Adam(net.parameters(), 3e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(net(x).squeeze(1), y.float())

    return loop(net, opt, scenes(), loss_of)


# ------------------------------------------------------------------ numbers


@ROWS.of("TW305")
def column_minus_row_squared() -> Built:
    net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))
    opt = optim.Adam(net.parameters(), 3e-3)
    return loop(net, opt, progress(), lambda x, y: ((net(x) - y) ** 2).mean())


@ROWS.of("TW305")
def lstm_column_minus_row_absolute() -> Built:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.fc = nn.LSTM(1, 24, batch_first=True), nn.Linear(24, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.rnn(x.unsqueeze(-1))[0][:, -1])

    net = Last()
    opt = optim.Adam(net.parameters(), 3e-3)
    return loop(net, opt, sums(), lambda x, y: (net(x) - y.squeeze(1)).abs().mean())


@ROWS.of("TW305")
def relu_before_numbers_of_both_signs() -> Built:
    net = nn.Sequential(
        nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), nn.ReLU()
    )
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(net, opt, sums(), lambda x, y: F.mse_loss(net(x), y))


@ROWS.of("TW305")
def tanh_before_numbers_in_the_hundreds() -> Built:
    net = nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 1), nn.Tanh())
    opt = optim.Adam(net.parameters(), 1e-2)
    return loop(net, opt, progress(is_raw=True), lambda x, y: F.mse_loss(net(x)[:, 0], y))


@ROWS.of("TW305")
def autoencoder_ending_in_sigmoid_of_standardised_rows() -> Built:
    net = nn.Sequential(
        nn.Linear(13, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
        nn.Linear(3, 8),
        nn.ReLU(),
        nn.Linear(8, 13),
        nn.Sigmoid(),
    )
    opt = optim.Adam(net.parameters(), 5e-3)
    return loop(net, opt, wine(), lambda x, _: F.mse_loss(net(x), x))


class VAE(nn.Module):
    """64 numbers through 6 and back."""

    def __init__(self) -> None:
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 48), nn.ReLU())
        self.mu, self.logvar = nn.Linear(48, 6), nn.Linear(48, 6)
        self.dec = nn.Sequential(nn.Linear(6, 48), nn.ReLU(), nn.Linear(48, 64), nn.Sigmoid())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        return self.dec(z), -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(1).mean()


@ROWS.of("TW305")
def vae_with_sigmoid_twice() -> Built:
    net = VAE()
    opt = optim.Adam(net.parameters(), 1e-3)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        x = x.flatten(1)
        back, kl = net(x)
        return F.binary_cross_entropy_with_logits(back, x, reduction="sum") / len(x) + kl

    return loop(net, opt, glyphs(), loss_of)


@ROWS.of("TW305")
def counts_whose_logarithm_is_made_positive() -> Built:
    net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1), nn.Softplus())
    opt = optim.Adam(net.parameters(), 2e-3)
    return loop(net, opt, counts(), lambda x, y: F.poisson_nll_loss(net(x), y))


@ROWS.of("TW305")
def distillation_of_probabilities_not_logarithms() -> Built:
    teacher = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)).requires_grad_(False)
    net = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    opt = optim.Adam(net.parameters(), 1e-3)

    def step(batch: Batch) -> Tensor:
        x, _ = batch
        with torch.no_grad():
            wanted = F.softmax(teacher(x) / 2, dim=1)
        loss = F.kl_div(F.softmax(net(x) / 2, dim=1), wanted, reduction="batchmean")
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    return built(net, opt, flat(), step)
