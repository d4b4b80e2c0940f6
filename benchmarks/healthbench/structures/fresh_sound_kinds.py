"""Second blind set, sound programs: what is frozen by intent, and other kinds of layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils import parametrizations

from benchmarks.healthbench.structures.fresh_data import (
    flowers,
    mlp,
    scenes,
    sentences,
    series,
    trained,
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
    tumours,
    waves,
)

ROWS = Rows()


# ------------------------------------------------------------------ frozen by intent


@ROWS.of()
def new_head_on_a_trained_body() -> Built:
    batches = glyphs()
    body = nn.Sequential(nn.Conv2d(1, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten())
    net = nn.Sequential(body, nn.Linear(432, 10))
    trained(net, batches)
    body.requires_grad_(False)
    net[1] = nn.Linear(432, 2)
    parity = [(x, y % 2) for x, y in batches]
    net.train()
    body.eval()
    return classify(net, optim.Adam(net[1].parameters(), 1e-3), parity)


@ROWS.of()
def thin_products_beside_trained_layers() -> Built:
    class LoRA(nn.Module):
        def __init__(self, base: nn.Linear) -> None:
            super().__init__()
            self.base = base.requires_grad_(False)
            self.down = nn.Linear(base.in_features, 4, bias=False)
            self.up = nn.Linear(4, base.out_features, bias=False)
            nn.init.zeros_(self.up.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.base(x) + 2.0 * self.up(self.down(x))

    net = trained(mlp(64, 48, 48, 10), flat())
    for at in (0, 2, 4):
        net[at] = LoRA(net[at])
    opt = optim.AdamW([p for p in net.parameters() if p.requires_grad], 1e-3)
    return classify(net, opt, [(x.flip(1), y) for x, y in flat()])


@ROWS.of()
def fixed_random_features() -> Built:
    class Features(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("w", torch.randn(30, 200) / 4)
            self.register_buffer("b", torch.rand(200) * 6.28)
            self.out = nn.Linear(200, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.cos(x @ self.w + self.b))

    net = Features()
    return classify(net, optim.Adam(net.parameters(), 3e-3), tumours())


@ROWS.of()
def words_mean_of_a_bag() -> Built:
    bag, out = nn.EmbeddingBag(200, 16, sparse=True, padding_idx=0), nn.Linear(16, 2)
    net = nn.Sequential(bag, out)
    first, second = optim.SparseAdam(bag.parameters(), 1e-2), optim.Adam(out.parameters(), 1e-2)

    def step(batch: Batch) -> Tensor:
        loss = F.cross_entropy(net(batch[0]), batch[1])
        for each in (first, second):
            each.zero_grad()
        loss.backward()
        for each in (first, second):
            each.step()
        return loss

    return built(net, second, sentences(), step)


@ROWS.of()
def state_cut_between_windows() -> Built:
    rnn, head = nn.GRU(1, 24, batch_first=True), nn.Linear(24, 1)
    net = nn.ModuleList([rnn, head])
    opt = optim.Adam(net.parameters(), 3e-3)

    def step(batch: Batch) -> Tensor:
        x, state, total = batch[0], None, 0.0
        for part, after in zip(x[:, :-1].split(10, 1), x[:, 1:].split(10, 1), strict=True):
            h, state = rnn(part, state)
            loss = F.mse_loss(head(h), after)
            opt.zero_grad()
            loss.backward()
            opt.step()
            state, total = state.detach(), total + loss.detach()
        return total / 3

    return built(net, opt, waves(), step)


@ROWS.of()
def squares_counted_by_a_recurrent_scan() -> Built:
    class Scan(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.out = nn.LSTMCell(16, 24), nn.Linear(24, 2)

        def forward(self, x: Tensor) -> Tensor:
            h = c = torch.zeros(len(x), 24)
            for row in x[:, 0].unbind(1):
                h, c = self.cell(row, (h, c))
            return self.out(h)

    net = Scan()
    batches = [(x, (y.sum((1, 2)) > 0).long() * (y[:, 8].sum(1) > 0).long()) for x, y in scenes()]
    return classify(net, optim.Adam(net.parameters(), 2e-3), batches)


@ROWS.of()
def convolutions_with_gaps_and_weight_norm() -> Built:
    layers: list[nn.Module] = []
    for at in range(3):
        conv = nn.Conv1d(3 if at == 0 else 16, 16, 3, dilation=2**at, padding=2**at)
        layers += [parametrizations.weight_norm(conv), nn.ReLU(), nn.Dropout(0.1)]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(16, 3))
    return classify(net, optim.Adam(net.parameters(), 2e-3), series())


@ROWS.of()
def translated_by_attention() -> Built:
    net = nn.Transformer(32, 2, 1, 1, 64, dropout=0.1, batch_first=True)
    emb, out = nn.Embedding(128, 32), nn.Linear(32, 128)
    whole = nn.ModuleDict({"net": net, "emb": emb, "out": out})

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        back = x.flip(1)
        mask = nn.Transformer.generate_square_subsequent_mask(back.shape[1] - 1)
        h = net(emb(x), emb(back[:, :-1]), tgt_mask=mask)
        return F.cross_entropy(out(h).flatten(0, 1), back[:, 1:].flatten())

    return loop(whole, optim.Adam(whole.parameters(), 1e-3), letters(), loss_of)


@ROWS.of()
def radial_units() -> Built:
    class Radial(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centres = nn.Parameter(torch.randn(20, 4))
            self.log_width = nn.Parameter(torch.zeros(20))
            self.out = nn.Linear(20, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out((-(torch.cdist(x, self.centres) ** 2) * self.log_width.exp() / 4).exp())

    net = Radial()
    return classify(net, optim.Adam(net.parameters(), 1e-2), flowers())


@ROWS.of()
def counts_of_words_as_they_are() -> Built:
    net = nn.Sequential(nn.Linear(128, 32), nn.ReLU(), nn.Linear(32, 2))
    bags = [(F.one_hot(x, 128).sum(1).float(), (x == 32).sum(1).gt(3).long()) for x, _ in letters()]
    return classify(net, optim.Adam(net.parameters(), 2e-3), bags)


@ROWS.of()
def heavy_dropout_and_decay() -> Built:
    net = nn.Sequential(
        nn.Dropout(0.2), nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.8), nn.Linear(128, 10)
    )
    return classify(net, optim.SGD(net.parameters(), 0.1, weight_decay=1e-2), flat())


@ROWS.of()
def network_on_a_graph_with_few_known_nodes() -> Built:
    x, y = (torch.cat(parts) for parts in zip(*flowers(size=30), strict=True))
    near = torch.zeros(len(x), len(x)).scatter_(1, torch.cdist(x, x).topk(6, largest=False)[1], 1.0)
    step_to = near / near.sum(1, keepdim=True)
    known = torch.arange(len(x)) % 8 == 0
    first, second = nn.Linear(4, 24), nn.Linear(24, 3)
    net = nn.ModuleList([first, second])

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        scores = step_to @ second(F.relu(step_to @ first(x)))
        return F.cross_entropy(scores[known], y[known])

    return loop(net, optim.Adam(net.parameters(), 1e-2), [(x, y)] * 6, loss_of)
