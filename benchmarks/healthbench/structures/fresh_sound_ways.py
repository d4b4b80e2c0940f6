"""Second blind set, sound programs: other ways to take a step."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint

from benchmarks.healthbench.structures.fresh_data import flowers, series, sums
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
    wine,
)

ROWS = Rows()


def _mlp(n_in: int, n_out: int, width: int = 40) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(n_in, width),
        nn.Tanh(),
        nn.Linear(width, width),
        nn.Tanh(),
        nn.Linear(width, n_out),
    )


@ROWS.of()
def lbfgs_in_a_closure() -> Built:
    net = _mlp(8, 1, 16)
    opt = optim.LBFGS(net.parameters(), lr=0.5, max_iter=4)

    def step(batch: Batch) -> Tensor:
        def closure() -> Tensor:
            opt.zero_grad()
            loss = F.mse_loss(net(batch[0]), batch[1])
            loss.backward()
            return loss

        return torch.as_tensor(opt.step(closure))

    return built(net, opt, sums(), step)


@ROWS.of()
def four_micro_batches_to_a_step() -> Built:
    net = _mlp(64, 10)
    opt = optim.Adam(net.parameters(), 1e-3)

    def step(batch: Batch) -> Tensor:
        opt.zero_grad(set_to_none=False)
        total = torch.zeros(())
        for x, y in zip(batch[0].chunk(4), batch[1].chunk(4), strict=True):
            loss = F.cross_entropy(net(x), y) / 4
            loss.backward()
            total += loss.detach()
        opt.step()
        return total

    return built(net, opt, flat(), step)


@ROWS.of()
def one_cycle_with_clipping() -> Built:
    net = nn.Sequential(
        nn.Conv1d(3, 16, 5),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(1),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    opt = optim.SGD(net.parameters(), 0.01, momentum=0.9)
    schedule = optim.lr_scheduler.OneCycleLR(opt, 0.1, total_steps=200)

    def step(batch: Batch) -> Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        opt.step()
        schedule.step()
        return loss

    return built(net, opt, series(), step)


@ROWS.of()
def warmed_up_from_a_rate_of_zero() -> Built:
    net = _mlp(13, 3)
    opt = optim.AdamW(net.parameters(), 1e-3)
    schedule = optim.lr_scheduler.LambdaLR(opt, lambda at: min(1.0, at / 50))

    def step(batch: Batch) -> Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        opt.step()
        schedule.step()
        return loss

    return built(net, opt, wine(), step)


@ROWS.of()
def half_the_digits_by_autocast() -> Built:
    net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 10))
    opt = optim.AdamW(net.parameters(), 1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return F.cross_entropy(net(x), y)

    return loop(net, opt, glyphs(), loss_of, is_shown_before=True)


@ROWS.of()
def no_decay_for_biases_and_slow_early_layers() -> Built:
    net = nn.Sequential(nn.Linear(64, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 10))
    groups = [
        {"params": [net[0].weight], "lr": 1e-4, "weight_decay": 0.05},
        {"params": [net[3].weight], "weight_decay": 0.05},
        {"params": [p for p in net.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    return classify(net, optim.AdamW(groups, lr=1e-3), flat())


@ROWS.of()
def gradients_by_torch_func() -> Built:
    net = _mlp(4, 3)
    opt = optim.Adam(net.parameters(), 3e-3)

    def loss_of(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(net, weights, (x,)), y)

    def step(batch: Batch) -> Tensor:
        weights = {name: p.detach() for name, p in net.named_parameters()}
        slopes, loss = torch.func.grad_and_value(loss_of)(weights, *batch)
        for name, p in net.named_parameters():
            p.grad = slopes[name]
        opt.step()
        return loss

    return built(net, opt, flowers(), step)


@ROWS.of()
def learning_to_learn_in_one_inner_step() -> Built:
    net = _mlp(8, 1)
    opt = optim.Adam(net.parameters(), 1e-3)

    def step(batch: Batch) -> Tensor:
        x, y = batch
        half = len(x) // 2
        weights = dict(net.named_parameters())
        inner = F.mse_loss(torch.func.functional_call(net, weights, (x[:half],)), y[:half])
        slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
        moved = {k: w - 0.05 * g for (k, w), g in zip(weights.items(), slopes, strict=True)}
        loss = F.mse_loss(torch.func.functional_call(net, moved, (x[half:],)), y[half:])
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    return built(net, opt, sums(), step)


@ROWS.of()
def sharpness_aware_in_two_passes() -> Built:
    net = _mlp(13, 3)
    opt = optim.SGD(net.parameters(), 0.1, momentum=0.9)

    def step(batch: Batch) -> Tensor:
        loss = F.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        weights = list(net.parameters())
        kept = [p.detach().clone() for p in weights]
        norm = nn.utils.get_total_norm([p.grad for p in weights])
        with torch.no_grad():
            for p in weights:
                p.add_(p.grad, alpha=0.05 / float(norm))
        opt.zero_grad()
        F.cross_entropy(net(batch[0]), batch[1]).backward()
        with torch.no_grad():
            for p, old in zip(weights, kept, strict=True):
                p.copy_(old)
        opt.step()
        opt.zero_grad()
        return loss

    return built(net, opt, wine(), step)


@ROWS.of()
def deep_residual_with_checkpoints_and_gates_of_zero() -> Built:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.out = nn.Linear(64, 48), nn.Linear(48, 10)
            self.body = nn.ModuleList(nn.Linear(48, 48) for _ in range(16))
            self.gates = nn.Parameter(torch.zeros(16))

        def forward(self, x: Tensor) -> Tensor:
            h = self.stem(x)
            for gate, layer in zip(self.gates, self.body, strict=True):
                h = h + gate * checkpoint(lambda v, f=layer: F.relu(f(v)), h, use_reentrant=False)
            return self.out(h)

    net = Deep()
    return classify(net, optim.Adam(net.parameters(), 1e-3), flat())


@ROWS.of()
def two_tasks_weighted_by_their_noise() -> Built:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(10, 48), nn.ReLU())
            self.number, self.sign = nn.Linear(48, 1), nn.Linear(48, 2)
            self.log_noise = nn.Parameter(torch.zeros(2))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            h = self.body(x)
            return self.number(h).squeeze(1), self.sign(h)

    net = Both()

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        number, sign = net(x)
        losses = torch.stack([F.mse_loss(number, y), F.cross_entropy(sign, (y > 0).long())])
        return ((-net.log_noise).exp() * losses + net.log_noise).sum()

    return loop(net, optim.Adam(net.parameters(), 1e-3), progress(), loss_of)


@ROWS.of()
def equation_solved_by_its_residual() -> Built:
    net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    batches = [(torch.rand(40, 1) * 3, torch.zeros(40, 1)) for _ in range(6)]

    def loss_of(t: Tensor, zero: Tensor) -> Tensor:
        t = t.requires_grad_()
        u = net(t)
        (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        (ddu,) = torch.autograd.grad(du.sum(), t, create_graph=True)
        return F.mse_loss(ddu + u, zero) + (net(torch.zeros(1, 1)) - 1).pow(2).sum()

    return loop(net, optim.Adam(net.parameters(), 1e-3), batches, loss_of)


@ROWS.of()
def reward_of_a_sampled_class() -> Built:
    net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
    opt = optim.Adam(net.parameters(), 5e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        policy = torch.distributions.Categorical(logits=net(x))
        action = policy.sample()
        reward = (action == y).float()
        return -(policy.log_prob(action) * (reward - reward.mean())).mean()

    return loop(net, opt, flowers(), loss_of)


@ROWS.of()
def values_towards_a_target_network() -> Built:
    net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    target = copy.deepcopy(net)
    opt = optim.RMSprop(net.parameters(), 1e-3)

    def loss_of(x: Tensor, y: Tensor) -> Tensor:
        action = (y[:, 0].abs() * 10).long() % 4
        with torch.no_grad():
            wanted = y[:, 0] + 0.9 * target(x.roll(1, 0)).amax(1)
        return F.smooth_l1_loss(net(x).gather(1, action[:, None])[:, 0], wanted)

    return loop(net, opt, sums(), loss_of)


@ROWS.of()
def judged_in_eval_and_back_to_train() -> Built:
    net = nn.Sequential(
        nn.Linear(30, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.5), nn.Linear(48, 2)
    )
    opt = optim.Adam(net.parameters(), 1e-3)
    batches = tumours()
    x_val, y_val = torch.cat([x for x, _ in batches[-5:]]), torch.cat([y for _, y in batches[-5:]])

    def step(batch: Batch) -> Tensor:
        net.train()
        opt.zero_grad()
        loss = F.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        opt.step()
        net.eval()
        with torch.inference_mode():
            (net(x_val).argmax(1) == y_val).float().mean()
        return loss

    return built(net, opt, batches[:-5], step)


@ROWS.of()
def averaged_weights_beside_the_run() -> Built:
    net = _mlp(13, 3)
    opt = optim.SGD(net.parameters(), 0.1)
    mean = optim.swa_utils.AveragedModel(
        net, multi_avg_fn=optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )

    def step(batch: Batch) -> Tensor:
        opt.zero_grad()
        loss = F.cross_entropy(net(batch[0]), batch[1])
        loss.backward()
        opt.step()
        mean.update_parameters(net)
        return loss

    return built(net, opt, wine(), step)


@ROWS.of()
def fixed_point_with_one_step_of_gradient() -> Built:
    class Equilibrium(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inject, self.turn = nn.Linear(64, 40), nn.Linear(40, 40)
            self.out = nn.Linear(40, 10)

        def forward(self, x: Tensor) -> Tensor:
            given, z = self.inject(x), torch.zeros(len(x), 40)
            with torch.no_grad():
                for _ in range(8):
                    z = torch.tanh(given + self.turn(z))
            return self.out(torch.tanh(given + self.turn(z)))

    net = Equilibrium()
    return classify(net, optim.Adam(net.parameters(), 1e-3), flat())


@ROWS.of()
def letters_chosen_softly_in_between() -> Built:
    emb, pick, back = nn.Embedding(128, 24), nn.Linear(24, 16), nn.Linear(16, 128, bias=False)
    net = nn.ModuleList([emb, pick, back])

    def loss_of(x: Tensor, _: Tensor) -> Tensor:
        code = F.gumbel_softmax(pick(emb(x)), tau=1.0, hard=True)
        return F.cross_entropy(back(code).mT, x)

    return loop(net, optim.Adam(net.parameters(), 5e-3), letters(), loss_of)


@ROWS.of()
def loss_shown_as_a_detached_number_of_doubles() -> Built:
    net = _mlp(8, 1).double()
    opt = optim.Adam(net.parameters(), 1e-3, amsgrad=True)

    def step(batch: Batch) -> Tensor:
        loss = F.l1_loss(net(batch[0].double()), batch[1].double())
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss.detach().clone()

    return built(net, opt, sums(), step)
