"""Mistakes as people report them, fourth blind set: weights left out by the loss or the step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from benchmarks.healthbench.structures.fifth_parts import Lora, Vae, divergence, pixels
from benchmarks.healthbench.structures.fresh_data import flowers, mlp, series, sums, trained
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
    progress,
    tumours,
    waves,
    wine,
)

ROWS = Rows()


@ROWS.of("TW309", "TW307")
def loss_made_a_new_tensor() -> Built:
    net = mlp(13, 32, 3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        losses = F.cross_entropy(net(x), y, reduction="none").tolist()
        return torch.tensor(sum(losses) / len(losses), requires_grad=True)

    return loop(net, optim.Adam(net.parameters(), 1e-3), wine(), loss_of)


@ROWS.of("TW309", "TW307")
def generator_judged_on_detached_pictures() -> Built:
    generator = nn.Sequential(*mlp(8, 48, 64), nn.Sigmoid())
    critic = mlp(64, 48, 1)
    opt_g = optim.Adam(generator.parameters(), 2e-4, betas=(0.5, 0.999))
    opt_d = optim.Adam(critic.parameters(), 2e-4, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()

    def step(batch: Batch) -> Tensor:
        real = batch[0]
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        fake = generator(torch.randn(len(real), 8)).detach()
        opt_d.zero_grad()
        (criterion(critic(real), ones) + criterion(critic(fake), zeros)).backward()
        opt_d.step()
        opt_g.zero_grad()
        loss = criterion(critic(fake), ones)
        loss.backward()
        opt_g.step()
        return loss

    program = built(generator, opt_g, pixels(), step)
    program.others.append(opt_d)
    return program


@ROWS.of("TW309", "TW307")
def spectrum_taken_by_numpy() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv1d(3, 8, 5, padding=2), nn.Linear(8 * 21, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = torch.tanh(self.conv(x))
            power = np.abs(np.fft.rfft(h.detach().cpu().numpy())).astype(np.float32)
            return self.fc(torch.from_numpy(power).flatten(1))

    net = Net()
    return classify(net, optim.Adam(net.parameters(), 1e-3), series())


@ROWS.of("TW307")
def hidden_layers_in_a_list() -> Built:
    class FeedForward(nn.Module):
        def __init__(self, features: int, hidden: int, width: int) -> None:
            super().__init__()
            self.hidden = [nn.Linear(width if i else features, width) for i in range(hidden)]
            self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(hidden))
            self.out = nn.Linear(width, 1)

        def forward(self, x: Tensor) -> Tensor:
            for layer, norm in zip(self.hidden, self.norms, strict=True):
                x = F.relu(norm(layer(x)))
            return self.out(x)

    net = FeedForward(10, 3, 48)
    opt = optim.AdamW(net.parameters(), 1e-3)
    return loop(net, opt, progress(), lambda x, y: F.smooth_l1_loss(net(x).squeeze(-1), y))


@ROWS.of("TW307")
def head_changed_after_the_optimizer_was_made() -> Built:
    net = trained(convnet(), glyphs())
    opt = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    net[-1] = nn.Linear(384, 2)
    batches = [(x, y % 2) for x, y in glyphs()]
    return classify(net, opt, batches)


@ROWS.of("TW307")
def new_layers_missing_from_the_groups() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.GRU(1, 32, batch_first=True)
            self.fc, self.head = nn.Linear(32, 32), nn.Linear(32, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.tanh(self.fc(self.encoder(x)[0][:, -1])))

    net = Net()
    groups = [
        {"params": [p for n, p in net.named_parameters() if "encoder" in n], "lr": 1e-4},
        {"params": [p for n, p in net.named_parameters() if "classifier" in n or "head" in n]},
    ]
    opt = optim.Adam(groups, lr=1e-3)
    return loop(net, opt, waves(), lambda x, y: F.mse_loss(net(x), y))


@ROWS.of("TW308")
def gradients_of_all_steps_summed() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.emb, self.lstm = nn.Embedding(128, 24), nn.LSTM(24, 48, batch_first=True)
            self.out = nn.Linear(48, 128)

        def forward(self, ids: Tensor) -> Tensor:
            return self.out(self.lstm(self.emb(ids))[0])

    net = Net()
    opt = optim.SGD(net.parameters(), lr=0.05)

    def step(batch: Batch) -> Tensor:
        loss = F.cross_entropy(net(batch[0]).transpose(1, 2), batch[1])
        loss.backward()
        opt.step()
        return loss

    return built(net, opt, letters(), step)


@ROWS.of("TW307", "TW309", "TW005", "TW104")
def zeroed_between_backward_and_step() -> Built:
    net = mlp(30, 32, 16, 2)
    opt = optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)

    def step(batch: Batch) -> Tensor:
        loss = F.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        opt.zero_grad()
        opt.step()
        return loss

    return built(net, opt, tumours(), step)


@ROWS.of("TW307")
def schedule_stepped_and_not_the_optimizer() -> Built:
    net = convnet()
    opt = optim.Adam(net.parameters(), lr=1e-3)
    schedule = optim.lr_scheduler.CosineAnnealingLR(opt, T_max=100)

    def step(batch: Batch) -> Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        schedule.step()
        return loss

    return built(net, opt, glyphs(), step)


@ROWS.of("TW307")
def parameter_scaled_when_it_was_made() -> Built:
    class Mixture(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.centres = nn.Parameter(torch.randn(16, 8)) * 0.5
            self.out = nn.Linear(16, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.exp(-0.2 * torch.cdist(x, self.centres)))

    net = Mixture()
    opt = optim.Adam(net.parameters(), lr=1e-2)

    def step(batch: Batch) -> Tensor:
        opt.zero_grad()
        loss = F.mse_loss(net(batch[0]), batch[1])
        loss.backward(retain_graph=True)
        opt.step()
        return loss

    return built(net, opt, sums(), step)


@ROWS.of("TW309", "TW307")
def adapters_behind_an_old_checkpoint() -> Built:
    class Net(nn.Module):
        def __init__(self, base: nn.Sequential) -> None:
            super().__init__()
            self.first, self.second = Lora(base[0]), Lora(base[2])
            self.head = nn.Linear(48, 10)

        def forward(self, x: Tensor) -> Tensor:
            h = checkpoint(lambda x: F.relu(self.first(x)), x, use_reentrant=True)
            h = checkpoint(lambda h: F.relu(self.second(h)), h, use_reentrant=True)
            return self.head(h)

    net = Net(trained(mlp(64, 48, 48, 10), flat()))
    opt = optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-3)
    return classify(net, opt, flat())


@ROWS.of("TW309", "TW307")
def encoder_of_the_inference_code() -> Built:
    class Twins(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.out = mlp(13, 48, 24), nn.Linear(24, 1)

        @torch.no_grad()
        def encode(self, x: Tensor) -> Tensor:
            return F.normalize(self.body(x), dim=1)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.out((self.encode(a) - self.encode(b)).abs())[:, 0]

    net = Twins()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        same = (y[::2] == y[1::2]).float()
        return F.binary_cross_entropy_with_logits(net(x[::2], x[1::2]), same)

    return loop(net, optim.Adam(net.parameters(), 1e-3), wine(), loss_of)


@ROWS.of("TW309", "TW307")
def drawn_without_the_reparameterisation() -> Built:
    class Sampled(Vae):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            mean, log_var = self.encode(x)
            z = torch.distributions.Normal(mean, (0.5 * log_var).exp()).sample()
            return self.decoder(z), mean, log_var

    net = Sampled()

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        logits, mean, log_var = net(x)
        shown = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        return shown + divergence(mean, log_var)

    return loop(net, optim.Adam(net.parameters(), 1e-3), pixels(), loss_of)


@ROWS.of("TW309", "TW307")
def codes_without_straight_through() -> Built:
    class Codes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = mlp(64, 48, 8), mlp(8, 48, 64)
            self.book = nn.Embedding(32, 8)

        def forward(self, x: Tensor) -> Tensor:
            z = self.encoder(x)
            return self.decoder(self.book(torch.cdist(z, self.book.weight).argmin(1)))

    net = Codes()
    opt = optim.Adam(net.parameters(), 1e-3)
    return loop(net, opt, pixels(), lambda x, _: F.mse_loss(net(x), x))


@ROWS.of("TW307")
def optimizer_of_the_model_that_was_saved() -> Built:
    saved = mlp(4, 32, 3)
    opt = optim.SGD(saved.parameters(), lr=0.1, momentum=0.9)
    net = mlp(4, 32, 3)
    net.load_state_dict(saved.state_dict())
    return classify(net, opt, flowers())
