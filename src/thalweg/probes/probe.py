"""A later step looked at: norms of the layers' gradients and updates, dead and saturated units."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from thalweg.facts import Moved, StepFacts
from thalweg.probes.flow import Flow
from thalweg.probes.gradients import norm_of, sample
from thalweg.probes.setup import owners, rates_of

_norms = torch._foreach_norm  # pyright: ignore[reportPrivateImportUsage]


class Probe:
    """Looks at one step each time it is started. with_flow: at what flows through the model too;
    one_by_one: as of `Flow`

    >>> net = nn.Linear(2, 1)
    >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    >>> probe = Probe(net, [optimizer])
    >>> probe.start()
    >>> net(torch.ones(4, 2)).sum().backward()
    >>> probe.before_step()
    >>> optimizer.step()
    >>> facts, updates = probe.after_step(7)
    >>> facts.number, round(updates["bias"], 3)
    (7, 0.4)
    """

    def __init__(
        self,
        model: nn.Module,
        optimizers: Sequence[torch.optim.Optimizer],
        *,
        with_flow: bool = True,
        one_by_one: bool = False,
    ):
        own = owners(model)
        self._model = model
        self._optimizers = list(optimizers)
        self._trained = [(own[id(p)][0], p) for p in model.parameters() if p.requires_grad]
        modules = {name: module for _, name, module in own.values()}
        self._flow = Flow(modules, one_by_one=one_by_one) if with_flow else None
        self._before: list[tuple[str, nn.Parameter, Tensor]] = []
        self._gradients: dict[str, float] = {}

    @property
    def seconds(self) -> float:
        """What the hooks have taken since `start`."""
        return 0.0 if self._flow is None else self._flow.seconds

    def start(self) -> None:
        if self._flow is not None:
            self._flow.seconds = 0.0
            self._flow.start()

    def stop(self) -> None:
        """Take the hook away, and let go of every tensor."""
        self._before.clear()
        if self._flow is not None:
            self._flow.stop()
            self._flow.clear()

    @torch.no_grad()
    def before_step(self) -> None:
        """The optimizer is about to use the gradients."""
        found = [(name, p) for name, p in self._trained if p.grad is not None]
        self._gradients = norms_by_name([(name, p.grad) for name, p in found])
        self._before = [(name, p, sample(p)) for name, p in found]

    @torch.no_grad()
    def after_step(self, number: int) -> tuple[StepFacts, dict[str, float]]:
        """The facts of the step, and the norms of its updates by weight, from 1,024 elements."""
        updates = {name: update_norm(p, before) for name, p, before in self._before}
        norms = norms_by_name([(name, p.detach()) for name, p, _ in self._before])
        moved = [Moved(name, norms[name], self._gradients.get(name), None) for name in norms]
        rate, peak = rates_of(self._optimizers)
        facts = StepFacts(
            number=number,
            moved=tuple(moved),
            ran=() if self._flow is None else self._flow.ran,
            columns=None,
            lr=rate,
            peak=peak,
            stale=None,
            is_training=self._model.training,
        )
        self.stop()
        return facts, updates


def update_norm(p: nn.Parameter, before: Tensor) -> float:
    """How far a weight has moved, from its sample."""
    now = sample(p)
    return float(norm_of(now - before)) * math.sqrt(p.numel() / max(1, before.numel()))


def norms_by_name(tensors: Sequence[tuple[str, Tensor | None]]) -> dict[str, float]:
    """Euclidean norms, read from the device in one go."""
    dense = [(n, t) for n, t in tensors if t is not None and t.layout == torch.strided]
    if not dense:
        return {}
    names, values = zip(*dense, strict=True)
    found = torch.stack([norm.float().cpu() for norm in _norms(list(values), 2.0)])
    return dict(zip(names, found.tolist(), strict=True))


def total_norm(optimizers: Sequence[torch.optim.Optimizer]) -> Tensor | None:
    """Of all gradients that the optimizers hold, 0-d; None where there are none."""
    held = [p.grad for o in optimizers for g in o.param_groups for p in g["params"]]
    gradients = [g for g in held if g is not None and g.layout == torch.strided]
    if not gradients:
        return None
    return torch.linalg.vector_norm(torch.stack([n.float() for n in _norms(gradients, 2.0)]))
