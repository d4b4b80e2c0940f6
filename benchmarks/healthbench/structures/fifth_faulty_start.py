"""Mistakes as people report them, fourth blind set: starts, modes, masks, data and rates."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812

from benchmarks.healthbench.structures.fifth_parts import Lora, Writer, pixels, ring
from benchmarks.healthbench.structures.fresh_data import (
    flowers,
    mlp,
    scenes,
    sentences,
    tags,
    trained,
)
from benchmarks.healthbench.structures.parts import Batch, Built
from benchmarks.healthbench.structures.unseen_data import (
    Rows,
    built,
    classify,
    convnet,
    flat,
    glyphs,
    letters,
    loop,
    tumours,
    wine,
)

ROWS = Rows()


@ROWS.of("TW303", "TW309", "TW307", "TW005")
def both_matrices_of_the_adapters_zero() -> Built:
    net = trained(mlp(64, 48, 48, 10), flat()).requires_grad_(False)
    for at in (0, 2, 4):
        net[at] = Lora(net[at])
        nn.init.zeros_(net[at].down)
    opt = optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=2e-3)
    return classify(net, opt, [(x, 9 - y) for x, y in flat()])


@ROWS.of("TW303", "TW302", "TW004", "TW101")
def layers_by_hand_from_a_standard_normal() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w1, self.b1 = nn.Parameter(torch.randn(64, 256)), nn.Parameter(torch.zeros(256))
            self.w2, self.b2 = nn.Parameter(torch.randn(256, 256)), nn.Parameter(torch.zeros(256))
            self.w3, self.b3 = nn.Parameter(torch.randn(256, 10)), nn.Parameter(torch.zeros(10))

        def forward(self, x: Tensor) -> Tensor:
            h = torch.relu(x @ self.w1 + self.b1)
            return torch.relu(h @ self.w2 + self.b2) @ self.w3 + self.b3

    net = Net()
    return classify(net, optim.SGD(net.parameters(), 0.01), flat())


@ROWS.of("TW301", "TW303")
def prior_of_the_head_given_to_every_layer() -> Built:
    net = mlp(10, 64, 64, 5)
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, -4.595)
    opt = optim.Adam(net.parameters(), 1e-3)
    return loop(net, opt, tags(), lambda x, y: F.binary_cross_entropy_with_logits(net(x), y))


@ROWS.of("TW001")
def root_of_a_distance_that_is_zero() -> Built:
    net = mlp(13, 32, 8)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        z = net(x)
        apart = (z[:, None] - z[None]).pow(2).sum(2).sqrt()
        same = (y[:, None] == y[None]).float()
        return (same * apart**2 + (1 - same) * F.relu(1 - apart) ** 2).mean()

    return loop(net, optim.Adam(net.parameters(), 1e-3), wine(), loss_of)


@ROWS.of("TW001")
def graph_with_lonely_nodes() -> Built:
    x, near, y = ring(alone=2)
    scale = near.sum(1) ** -0.5
    near = scale[:, None] * near * scale

    class Gcn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(6, 16), nn.Linear(16, 2)

        def forward(self, x: Tensor) -> Tensor:
            return near @ self.two(F.relu(near @ self.one(x)))

    net = Gcn()
    return classify(net, optim.Adam(net.parameters(), 1e-2), [(x, y)] * 4)


@ROWS.of("TW001")
def mask_laid_over_the_rows_of_the_attention() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.qkv = nn.Embedding(200, 32, padding_idx=0), nn.Linear(32, 96)
            self.out = nn.Linear(32, 2)

        def forward(self, ids: Tensor) -> Tensor:
            q, k, v = self.qkv(self.emb(ids)).chunk(3, dim=2)
            scores = q @ k.mT / 32**0.5
            scores = scores.masked_fill((ids == 0)[:, :, None], float("-inf"))
            return self.out((scores.softmax(2) @ v).mean(1))

    net = Net()
    return classify(net, optim.AdamW(net.parameters(), 1e-3), sentences())


@ROWS.of("TW306")
def left_in_evaluation_after_the_first_validation() -> Built:
    net = convnet()
    opt = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    held_out = glyphs()[-1]
    net.eval()
    with torch.no_grad():
        (net(held_out[0]).argmax(1) == held_out[1]).float().mean().item()
    return classify(net, opt, glyphs()[:-1])


@ROWS.of("TW206", "TW204", "TW310")
def files_of_one_folder_after_another() -> Built:
    x = torch.cat([x for x, _ in pixels()])
    y = torch.cat([y for _, y in pixels()])
    order = y.argsort(stable=True)
    net = mlp(64, 64, 10)
    batches = list(zip(x[order].split(48), y[order].split(48), strict=True))
    return classify(net, optim.Adam(net.parameters(), 1e-3), batches)


@ROWS.of("TW207")
def first_batch_of_the_loader_every_time() -> Built:
    net = mlp(30, 64, 2)
    batches = tumours()
    opt = optim.Adam(net.parameters(), 1e-3)

    def step(_: Batch) -> Tensor:
        x, y = next(iter(batches))
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        return loss

    return built(net, opt, batches, step)


@ROWS.of("TW310", "TW204", "TW206")
def words_ignored_and_padding_learned() -> Built:
    net = Writer(ids=200)

    def loss_of(ids: Tensor, _: Tensor) -> Tensor:
        labels = ids[:, 1:].clone()
        labels[labels != 0] = -100
        return F.cross_entropy(net(ids[:, :-1]).flatten(0, 1), labels.flatten())

    return loop(net, optim.AdamW(net.parameters(), 1e-3), sentences(), loss_of)


@ROWS.of("TW310", "TW001", "TW309")
def class_weights_by_whole_division() -> Built:
    net = nn.Sequential(nn.Linear(13, 32), nn.Tanh(), nn.Linear(32, 3))
    labels = torch.cat([y for _, y in wine()])
    weight = (labels.bincount() // len(labels)).float()
    criterion = nn.CrossEntropyLoss(weight=weight, reduction="sum")
    opt = optim.Adam(net.parameters(), 1e-3)
    return loop(net, opt, wine(), lambda x, y: criterion(net(x), y) / len(x))


@ROWS.of("TW205")
def labels_are_the_ids_that_were_given() -> Built:
    net = Writer()
    opt = optim.AdamW(net.parameters(), 1e-3)
    return loop(net, opt, letters(), lambda ids, _: F.cross_entropy(net(ids).mT, ids))


@ROWS.of("TW205")
def next_letter_in_full_sight() -> Built:
    net = Writer(is_causal=False)
    opt = optim.AdamW(net.parameters(), 1e-3)
    return loop(net, opt, letters(), lambda ids, y: F.cross_entropy(net(ids).mT, y))


@ROWS.of("TW105", "TW102", "TW307")
def warm_up_by_whole_division() -> Built:
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1)
    )
    opt = optim.AdamW(net.parameters(), lr=1e-3)
    schedule = optim.lr_scheduler.LambdaLR(opt, lambda step: min(1, step // 1000))

    def step(batch: Batch) -> Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        opt.step()
        schedule.step()
        return loss

    return built(net, opt, scenes(), step)


@ROWS.of("TW401")
def all_in_bfloat16_at_a_small_rate() -> Built:
    net = mlp(4, 64, 64, 3).bfloat16()
    batches = [(x.bfloat16(), y) for x, y in flowers()]
    return classify(net, optim.AdamW(net.parameters(), lr=2e-6), batches)


@ROWS.of("TW305", "TW203", "TW206")
def encoder_that_takes_the_batch_for_the_time() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(200, 32)
            layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0)
            self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.out = nn.Linear(32, 2)

        def forward(self, ids: Tensor) -> Tensor:
            return self.out(self.body(self.emb(ids)).mean(1))

    net = Net()
    return classify(net, optim.Adam(net.parameters(), 1e-3), sentences())
