"""Blind exam, sound programs: losses, parts and graphs that are as they should be."""

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
    small,
    tumours,
    waves,
    wine,
)

ROWS = Rows()

# ------------------------------------------------------------------ losses


@ROWS.of()
def probabilities_and_their_logarithm() -> Built:
    net = nn.Sequential(small(64, 10), nn.Softmax(dim=1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return loop(
        net, optimizer, flat(), lambda x, y: functional.nll_loss(torch.log(net(x) + 1e-8), y)
    )


@ROWS.of()
def log_softmax_with_nll() -> Built:
    net = nn.Sequential(small(13, 3), nn.LogSoftmax(dim=-1))
    criterion = nn.NLLLoss(weight=torch.tensor([1.0, 0.8, 1.3]))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    return loop(net, optimizer, wine(), lambda x, y: criterion(net(x), y), is_shown_before=True)


@ROWS.of()
def sigmoid_with_plain_bce() -> Built:
    net = nn.Sequential(small(30, 1, 16), nn.Sigmoid(), nn.Flatten(0))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return loop(
        net, optimizer, tumours(), lambda x, y: functional.binary_cross_entropy(net(x), y.float())
    )


@ROWS.of()
def multilabel_logits() -> Built:
    net = small(64, 4)
    tags = [(x, torch.stack([(y >> k) & 1 for k in range(4)], 1).float()) for x, y in flat()]
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    criterion = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1.0, 1.2, 1.5, 4.0]))
    return loop(net, optimizer, tags, lambda x, y: criterion(net(x), y))


@ROWS.of()
def segmentation_with_dice() -> Built:
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.GroupNorm(4, 12),
        nn.SiLU(),
        nn.Conv2d(12, 12, 3, padding=1),
        nn.GroupNorm(4, 12),
        nn.SiLU(),
        nn.Conv2d(12, 1, 1),
    )
    masks = [(x + 0.2 * torch.randn_like(x), (x > 0.5).float()) for x, _ in glyphs(size=16)]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        scores = net(x)
        mask = torch.sigmoid(scores)
        dice = 1 - 2 * (mask * y).sum() / (mask.sum() + y.sum() + 1)
        return functional.binary_cross_entropy_with_logits(scores, y) + dice

    return loop(net, optimizer, masks, loss_of, is_shown_before=True)


@ROWS.of()
def star_ratings_by_squared_error() -> Built:
    ratings = [(x, (y * 1.2 + 3).round().clamp(1, 5)) for x, y in progress()]
    net = nn.Sequential(small(10, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return loop(
        net, optimizer, ratings, lambda x, y: functional.mse_loss(net(x), y), is_shown_before=True
    )


@ROWS.of()
def counts_by_poisson() -> Built:
    counts = [(x, (x > 0).sum(1, keepdim=True).float()) for x, _ in flat()]
    net = small(64, 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    criterion = nn.PoissonNLLLoss(log_input=True)
    return loop(net, optimizer, counts, lambda x, y: criterion(net(x), y))


@ROWS.of()
def brier_score_of_one_hot() -> Built:
    net = small(13, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    return loop(
        net,
        optimizer,
        wine(),
        lambda x, y: (net(x).softmax(1) - functional.one_hot(y, 3)).pow(2).sum(1).mean(),
        is_shown_before=True,
    )


@ROWS.of()
def hinge_on_scores() -> Built:
    net = nn.Linear(30, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, weight_decay=1e-3)
    return loop(
        net,
        optimizer,
        tumours(),
        lambda x, y: functional.relu(1 - (2 * y - 1) * net(x)[:, 0]).mean(),
    )


@ROWS.of()
def own_focal_loss() -> Built:
    net = small(64, 10)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        each = functional.cross_entropy(net(x), y, reduction="none")
        return ((1 - torch.exp(-each)) ** 2 * each).mean()

    return loop(net, optimizer, flat(), loss_of)


@ROWS.of()
def mixup_with_soft_targets() -> Built:
    net = nn.Sequential(nn.Flatten(), small(64, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        share, order = 0.7, torch.randperm(len(x))
        hot = functional.one_hot(y, 10).float()
        return functional.cross_entropy(
            net(share * x + (1 - share) * x[order]), share * hot + (1 - share) * hot[order]
        )

    return loop(net, optimizer, glyphs(), loss_of)


@ROWS.of()
def gaussian_with_its_own_variance() -> Built:
    net = small(10, 2)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        mean, spread = net(x).unbind(1)
        return functional.gaussian_nll_loss(mean, y, functional.softplus(spread) + 1e-3)

    return loop(net, optimizer, progress(), loss_of)


@ROWS.of()
def letters_by_ctc() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(1, 32, batch_first=True, bidirectional=True)
            self.out = nn.Linear(64, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn(x)[0]).log_softmax(-1)

    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        signs = 1 + (x[:, ::10, 0] > 0).long() + 2 * (x[:, 5::10, 0] > 0).long()
        lengths = torch.full((len(x),), signs.shape[1])
        return functional.ctc_loss(
            net(x).transpose(0, 1), signs, torch.full((len(x),), x.shape[1]), lengths
        )

    return loop(net, optimizer, waves(), loss_of)


# ------------------------------------------------------------------ parts


@ROWS.of()
def tied_language_model() -> Built:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(128, 32)
            self.place = nn.Parameter(torch.zeros(24, 32))
            layer = nn.TransformerEncoderLayer(
                32, 4, 64, dropout=0.1, batch_first=True, norm_first=True
            )
            self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.norm, self.out = nn.LayerNorm(32), nn.Linear(32, 128, bias=False)
            nn.init.normal_(self.embed.weight, std=0.02)
            self.out.weight = self.embed.weight

        def forward(self, ids: Tensor) -> Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
            hidden = self.blocks(self.embed(ids) + self.place, mask=mask, is_causal=True)
            return self.out(self.norm(hidden))

    net = Model()
    decayed = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=3e-4)
    return loop(
        net,
        optimizer,
        letters(),
        lambda x, y: functional.cross_entropy(net(x).flatten(0, 1), y.flatten()),
    )


@ROWS.of()
def mixture_of_experts() -> Built:
    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Linear(64, 4)
            self.experts = nn.ModuleList(small(64, 10, 16) for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            shares = self.gate(x).softmax(-1)
            return (torch.stack([e(x) for e in self.experts], 2) * shares[:, None]).sum(2)

    net = Mixture()
    return classify(net, torch.optim.Adam(net.parameters(), lr=1e-3), flat())


@ROWS.of()
def attention_pooling() -> Built:
    class Pool(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.score, self.out = nn.Linear(8, 24), nn.Linear(24, 1), nn.Linear(24, 10)

        def forward(self, x: Tensor) -> Tensor:
            rows = torch.tanh(self.enter(x.squeeze(1)))
            return self.out((functional.softmax(self.score(rows), dim=1) * rows).sum(1))

    net = Pool()
    return classify(net, torch.optim.Adam(net.parameters(), lr=3e-3), glyphs())


@ROWS.of()
def sixteen_selu_layers() -> Built:
    layers: list[nn.Module] = [nn.Linear(13, 40), nn.SELU()]
    for _ in range(15):
        layers += [nn.Linear(40, 40), nn.SELU()]
    net = nn.Sequential(*layers, nn.Linear(40, 3))
    for module in net:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            nn.init.zeros_(module.bias)
    return classify(net, torch.optim.SGD(net.parameters(), lr=0.01), wine())


@ROWS.of()
def forty_residual_blocks() -> Built:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.wide, self.back = nn.LayerNorm(32), nn.Linear(32, 48), nn.Linear(48, 32)
            nn.init.zeros_(self.back.weight)  # each block starts as nothing
            nn.init.zeros_(self.back.bias)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.back(functional.gelu(self.wide(self.norm(x))))

    net = nn.Sequential(nn.Linear(64, 32), *[Block() for _ in range(40)], nn.Linear(32, 10))
    return classify(net, torch.optim.AdamW(net.parameters(), lr=1e-3), flat())


@ROWS.of()
def sines_of_coordinates() -> Built:
    class Sine(nn.Module):
        def __init__(self, n_in: int, n_out: int, bound: float) -> None:
            super().__init__()
            self.linear = nn.Linear(n_in, n_out)
            nn.init.uniform_(self.linear.weight, -bound, bound)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sin(30 * self.linear(x))

    image = glyphs()[0][0][0, 0]
    places = torch.cartesian_prod(torch.linspace(-1, 1, 8), torch.linspace(-1, 1, 8))
    order = torch.randperm(64)
    batches = [(places[part], image.flatten()[part, None]) for part in order.split(16)]
    bound = (6 / 32) ** 0.5 / 30
    net = nn.Sequential(Sine(2, 32, 0.5), Sine(32, 32, bound), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    return loop(net, optimizer, batches, lambda x, y: functional.mse_loss(net(x), y))


# ------------------------------------------------------------------ graphs cut on purpose


@ROWS.of()
def distillation_from_a_teacher() -> Built:
    teacher, student = small(64, 10, 96).eval().requires_grad_(False), small(64, 10, 16)
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            soft = (teacher(x) / 3).softmax(1)
        scores = student(x)
        near = functional.kl_div((scores / 3).log_softmax(1), soft, reduction="batchmean") * 9
        return 0.5 * near + 0.5 * functional.cross_entropy(scores, y)

    return loop(student, optimizer, flat(), loss_of)


@ROWS.of()
def target_network_by_moving_average() -> Built:
    online = nn.Sequential(small(64, 32), nn.BatchNorm1d(32))
    predictor = small(32, 32)
    target = copy.deepcopy(online).requires_grad_(False)
    net = nn.ModuleDict({"online": online, "predictor": predictor, "target": target})
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-3)

    def step(batch: Batch) -> Tensor:
        first, second = (batch[0] + 0.2 * torch.randn_like(batch[0]) for _ in range(2))
        guess = predictor(online(first))
        loss = 1 - functional.cosine_similarity(guess, target(second).detach()).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
                slow.lerp_(fast, 0.01)
        return loss

    return built(net, optimizer, flat(), step)


@ROWS.of()
def probe_on_detached_features() -> Built:
    class Probed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = small(64, 12), small(12, 64)
            self.probe = nn.Linear(12, 10)

    net = Probed()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        code = net.encoder(x)
        read = functional.cross_entropy(net.probe(code.detach()), y)
        return functional.mse_loss(net.decoder(code), x) + read

    return loop(net, optimizer, flat(), loss_of)


@ROWS.of()
def straight_through_codebook() -> Built:
    class Quantised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = small(64, 8), small(8, 64)
            self.codes = nn.Embedding(32, 8)

    net = Quantised()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        z = net.encoder(x)
        chosen = net.codes(torch.cdist(z, net.codes.weight).argmin(1))
        commit = functional.mse_loss(z, chosen.detach()) * 0.25 + functional.mse_loss(
            chosen, z.detach()
        )
        return functional.mse_loss(net.decoder(z + (chosen - z).detach()), x) + commit

    return loop(net, optimizer, flat(), loss_of)
