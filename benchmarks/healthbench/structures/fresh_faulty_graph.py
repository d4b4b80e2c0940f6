"""Second blind set, faulty programs: graphs that are cut, parameters left out, gradients kept."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812

from benchmarks.healthbench.structures.fresh_data import (
    flowers,
    ratings,
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
    tumours,
    wine,
)

ROWS = Rows()

# ------------------------------------------------------------------ graphs that are cut


@ROWS.of("TW309", "TW307")
def encoder_detached_before_its_head() -> Built:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.rnn = nn.Embedding(200, 16), nn.LSTM(16, 32, batch_first=True)
            self.head = nn.Linear(32, 2)

        def forward(self, ids: Tensor) -> Tensor:
            states, _ = self.rnn(self.emb(ids))
            return self.head(states.max(dim=1).values.detach())

    net = Reader()
    return classify(net, optim.Adam(net.parameters(), 1e-3), sentences())


@ROWS.of("TW309", "TW307")
def features_through_numpy() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(1, 8, 3), nn.Linear(8 * 36, 10)

        def forward(self, x: Tensor) -> Tensor:
            h = F.relu(self.conv(x)).detach().numpy().reshape(len(x), -1)
            return self.fc(torch.from_numpy(h))

    net = Net()
    return classify(net, optim.SGD(net.parameters(), 0.05), glyphs())


@ROWS.of("TW309", "TW307")
def embedding_looked_up_without_gradients() -> Built:
    users, films = nn.Embedding(50, 8), nn.Embedding(80, 8)
    mix = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))
    net = nn.ModuleList([users, films, mix])
    opt = optim.Adam(net.parameters(), 5e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            pair = torch.cat([users(x[:, 0]), films(x[:, 1])], dim=1)
        return F.mse_loss(mix(pair).squeeze(1), y)

    return loop(net, opt, ratings(), loss_of)


@ROWS.of("TW309")
def loss_wrapped_in_a_new_tensor() -> Built:
    net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        total = sum(F.cross_entropy(net(row[None]), y[i : i + 1]).item() for i, row in enumerate(x))
        return torch.tensor(total / len(x), requires_grad=True)

    return loop(net, optim.Adam(net.parameters(), 1e-3), flowers(size=10), loss_of)


@ROWS.of("TW309")
def error_rate_as_a_loss() -> Built:
    net = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 3))
    opt = optim.Adam(net.parameters(), 1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        return (net(x).argmax(1) != y).float().mean().requires_grad_()

    return loop(net, opt, wine(), loss_of)


@ROWS.of("TW309", "TW307")
def backward_on_a_copy_of_the_model() -> Built:
    net = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))
    opt = optim.AdamW(net.parameters(), 1e-3)
    return loop(net, opt, tumours(), lambda x, y: F.cross_entropy(copy.deepcopy(net)(x), y))


@ROWS.of("TW309", "TW307", "TW005")
def codes_rounded_between_encoder_and_decoder() -> Built:
    encode = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 12))
    decode = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 64))
    net = nn.Sequential(encode, decode)
    opt = optim.Adam(net.parameters(), 1e-3)
    return loop(net, opt, flat(), lambda x, _: F.mse_loss(decode(torch.round(encode(x))), x))


@ROWS.of("TW309", "TW307")
def generator_trained_on_detached_fakes() -> Built:
    make = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 13))
    judge = nn.Sequential(nn.Linear(13, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
    opt_g, opt_d = optim.Adam(make.parameters(), 1e-3), optim.Adam(judge.parameters(), 1e-3)

    def step(batch: Batch) -> Tensor:
        x, _ = batch
        fake = make(torch.randn(len(x), 8)).detach()
        opt_d.zero_grad()
        (F.softplus(-judge(x)).mean() + F.softplus(judge(fake)).mean()).backward()
        opt_d.step()
        opt_g.zero_grad()
        loss = F.softplus(-judge(fake)).mean()
        loss.backward()
        opt_g.step()
        return loss

    return built(make, opt_g, wine(), step)


@ROWS.of("TW309", "TW307", "TW308")
def gradients_cleared_just_before_the_step() -> Built:
    net = nn.Sequential(nn.Linear(8, 40), nn.Tanh(), nn.Linear(40, 1))
    opt = optim.Adam(net.parameters(), 3e-3)

    def step(batch: Batch) -> Tensor:
        loss = F.mse_loss(net(batch[0]), batch[1])
        loss.backward()
        opt.zero_grad()
        opt.step()
        return loss

    return built(net, opt, sums(), step)


@ROWS.of("TW309", "TW307", "TW005", "TW102")
def clipped_to_a_norm_of_zero() -> Built:
    net = SmallUNet()
    opt = optim.SGD(net.parameters(), 0.1, momentum=0.9)

    def step(batch: Batch) -> Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), max_norm=0)
        opt.step()
        return loss.detach()

    return built(net, opt, scenes(), step)


class SmallUNet(nn.Module):
    """Down once, up once, with the way across."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(16, 8, 2, stride=2), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.a(x))
        b = F.relu(self.b(F.max_pool2d(a, 2)))
        return self.out(torch.cat([a, self.up(b)], dim=1))


# ------------------------------------------------------------------ parameters left out


@ROWS.of("TW307")
def layers_in_a_python_list() -> Built:
    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = [nn.Linear(64, 64) for _ in range(3)]
            self.out = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.hidden:
                x = F.relu(layer(x))
            return self.out(x)

    net = Stack()
    return classify(net, optim.Adam(net.parameters(), 1e-3), flat())


@ROWS.of("TW307")
def attention_weights_as_plain_tensors() -> Built:
    class Attend(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(200, 16)
            self.wq = (torch.randn(16, 16) / 4).requires_grad_()
            self.wk = (torch.randn(16, 16) / 4).requires_grad_()
            self.out = nn.Linear(16, 2)

        def forward(self, ids: Tensor) -> Tensor:
            h = self.emb(ids)
            scores = (h @ self.wq) @ (h @ self.wk).transpose(1, 2) / 4
            return self.out((scores.softmax(-1) @ h).mean(1))

    net = Attend()
    return classify(net, optim.Adam(net.parameters(), 2e-3), sentences())


@ROWS.of("TW307")
def optimizer_of_the_last_layer_alone() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Sequential(nn.Conv1d(3, 16, 7, stride=2), nn.BatchNorm1d(16), nn.ReLU())
            self.fc = nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.conv(x).mean(2))

    net = Net()
    return classify(net, optim.Adam(net.fc.parameters(), 1e-3), series())


@ROWS.of("TW307", "TW309")
def head_replaced_after_the_optimizer_was_made() -> Built:
    net = nn.Sequential(nn.Linear(13, 48), nn.ReLU(), nn.Linear(48, 1000))
    opt = optim.AdamW(net.parameters(), 1e-3)
    net[2] = nn.Linear(48, 3)
    return classify(net, opt, wine())


@ROWS.of("TW307", "TW309")
def optimizer_of_the_model_before_the_last() -> Built:
    def fresh() -> nn.Module:
        return nn.Sequential(nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 2))

    net = fresh()
    opt = optim.SGD(net.parameters(), 0.1)
    net = fresh()
    return classify(net, opt, tumours())


@ROWS.of("TW307")
def frozen_by_a_name_that_fits_too_much() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1, self.fc2, self.fc3 = nn.Linear(64, 80), nn.Linear(80, 80), nn.Linear(80, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))

    net = Net()
    for name, p in net.named_parameters():
        p.requires_grad = "fc3" in name
    return classify(net, optim.Adam(net.parameters(), 1e-3), flat())


class LoRALinear(nn.Module):
    """A frozen linear layer and a product of two thin ones."""

    def __init__(self, base: nn.Linear, rank: int, alpha: int) -> None:
        super().__init__()
        self.base, self.scale = base, alpha // rank
        self.lora_a = nn.Parameter(torch.randn(rank, base.in_features) * 0.02)
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.scale * (x @ self.lora_a.T @ self.lora_b.T)


@ROWS.of("TW307", "TW309", "TW303", "TW005")
def lora_scaled_by_a_whole_number_of_nothing() -> Built:
    net = nn.Sequential(
        nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
    )
    warm = classify(net, optim.Adam(net.parameters(), 3e-3), flat())
    for batch in warm.batches * 2:
        warm.train_step(batch)
    net.requires_grad_(False)
    net[0], net[2] = LoRALinear(net[0], 8, 4), LoRALinear(net[2], 8, 4)
    opt = optim.AdamW([p for p in net.parameters() if p.requires_grad], 1e-3)
    return classify(net, opt, flat())


@ROWS.of("TW307", "TW309")
def every_block_is_the_first() -> Built:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(13, 32)
            self.blocks = nn.ModuleList(nn.Linear(32, 32) for _ in range(4))
            self.head = nn.Linear(32, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.stem(x)
            for _ in self.blocks:
                h = h + torch.relu(self.blocks[0](h))
            return self.head(h)

    net = Deep()
    return classify(net, optim.Adam(net.parameters(), 1e-3), wine())


@ROWS.of("TW307")
def best_weights_loaded_before_every_step() -> Built:
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    opt = optim.Adam(net.parameters(), 1e-3)
    best = copy.deepcopy(net.state_dict())

    def step(batch: Batch) -> Tensor:
        net.load_state_dict(best)
        opt.zero_grad()
        loss = F.mse_loss(net(batch[0]), batch[1])
        loss.backward()
        opt.step()
        return loss

    return built(net, opt, sums(), step)


@ROWS.of("TW102", "TW307")
def body_in_a_group_at_rate_zero() -> Built:
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    groups = [{"params": net[0].parameters(), "lr": 0.0}, {"params": net[3].parameters()}]
    return classify(net, optim.SGD(groups, lr=0.05, momentum=0.9), glyphs())


# ------------------------------------------------------------------ gradients kept


@ROWS.of("TW308")
def letters_without_zero_grad() -> Built:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.at = nn.Embedding(128, 32), nn.Embedding(24, 32)
            self.layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0)
            self.head = nn.Linear(32, 128)

        def forward(self, ids: Tensor) -> Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
            h = self.emb(ids) + self.at(torch.arange(ids.shape[1]))
            return self.head(self.layer(h, src_mask=mask, is_causal=True))

    net = Model()
    opt = optim.AdamW(net.parameters(), 3e-4)

    def step(batch: Batch) -> Tensor:
        loss = F.cross_entropy(net(batch[0]).flatten(0, 1), batch[1].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        return loss

    return built(net, opt, letters(), step)


@ROWS.of("TW308")
def the_other_optimizer_zeroed_twice() -> Built:
    encode = nn.Sequential(nn.Linear(64, 32), nn.ReLU())
    decode = nn.Linear(32, 64)
    net = nn.Sequential(encode, decode)
    first, second = optim.Adam(encode.parameters(), 1e-3), optim.Adam(decode.parameters(), 1e-3)

    def step(batch: Batch) -> Tensor:
        second.zero_grad()
        second.zero_grad()
        loss = F.mse_loss(net(batch[0]), batch[0])
        loss.backward()
        first.step()
        second.step()
        return loss

    return built(net, first, flat(), step)
