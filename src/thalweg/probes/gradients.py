"""Gradients of a step as they arrive, and what the optimizer's step makes of them.

Whether they were zeroed is asked at the one moment when it matters: as a backward pass is about to
add to `.grad`. What stands there then is compared with what stood there after the last step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.facts import SIGNED, Moved
from thalweg.probes.quiet import may_look, remove

MOST_JUDGED = 8
"""Parameters by which it is told whether gradients are zeroed."""

MOST_SAMPLED = 1024
"""Elements of a parameter that are followed over a step."""

_NO_VALUES = torch.empty(0)


def sample(tensor: Tensor) -> Tensor:
    """At most 1,024 elements, evenly spread; a copy."""
    values = tensor.detach()
    values = values.to_dense() if values.layout != torch.strided else values
    flat = values.reshape(-1)
    return flat[:: -(-max(1, flat.numel()) // MOST_SAMPLED)].clone()


@dataclass(slots=True)
class _Chain:
    """One parameter's `.grad` from a step to the next. held: what must not stand there again;
    is_restarted: it was zeroed before the first step
    """

    held: Tensor = field(default_factory=lambda: _NO_VALUES)
    num_added: int = 0
    is_broken: bool = False
    is_restarted: bool = False


class Gradients:
    """Listens to the parameters of a model. names: of those that are watched, by id"""

    def __init__(self, parameters: Mapping[str, nn.Parameter], held: set[str]):
        self._parameters = {n: p for n, p in parameters.items() if p.requires_grad}
        judged = sorted((p.numel(), n) for n, p in self._parameters.items() if n in held)
        middle = judged[:: -(-max(1, len(judged)) // MOST_JUDGED)]
        self._chains = {n: _Chain() for _, n in middle}
        self._arrived: dict[str, Tensor] = {}
        self._before: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}
        self._was: dict[str, tuple[Tensor, Tensor]] = {}
        self._handles: list[Any] = []
        self._has_stepped = False
        self.seconds = 0.0

    def start(self) -> None:
        """Begin to listen."""
        for name, p in self._parameters.items():
            self._handles.append(p.register_post_accumulate_grad_hook(self._after(name)))
            if name in self._chains:
                self._handles.append(p.register_hook(self._about_to_add(name, p)))

    def stop(self) -> None:
        """Take the hooks away, and let go of every tensor."""
        remove(self._handles)
        self._arrived.clear()
        self._before.clear()
        self._gradients.clear()
        self._was.clear()
        self._chains.clear()

    # ------------------------------------------------------------ a backward pass

    def _silent(self, look: Any) -> Any:
        """The hook, timed, and deaf from its first fault on: it must not end what it looks at."""
        is_deaf = False

        def heard(tensor: Tensor) -> None:
            nonlocal is_deaf
            if is_deaf or not may_look():
                return
            began = time.perf_counter()
            try:
                with torch.no_grad():
                    look(tensor)
            except Exception:
                is_deaf = True
            self.seconds += time.perf_counter() - began

        return heard

    def _after(self, name: str) -> Any:
        def look(p: Tensor) -> None:
            if p.grad is None:
                return
            norm = norm_of(p.grad)
            known = self._arrived.get(name)
            self._arrived[name] = norm if known is None else torch.maximum(known, norm)
            chain = self._chains.get(name)
            if chain is not None:
                chain.held = sample(p.grad)
                chain.num_added += 1

        return self._silent(look)

    def _about_to_add(self, name: str, p: nn.Parameter) -> Any:
        def look(_: Tensor) -> None:
            chain = self._chains.get(name)
            if chain is None or chain.is_broken or not (chain.num_added or self._has_stepped):
                return
            is_gone = p.grad is None or not torch.equal(sample(p.grad), chain.held)
            if self._has_stepped:
                chain.is_broken = is_gone
            else:
                chain.is_restarted |= is_gone

        return self._silent(look)

    @property
    def has_arrived(self) -> bool:
        """Has a backward pass reached any of them since the last step?"""
        return bool(self._arrived)

    @property
    def were_zeroed(self) -> bool:
        """Were gradients that had arrived zeroed before any step?"""
        return any(chain.is_restarted for chain in self._chains.values())

    # ------------------------------------------------------------ the optimizer's step

    def stale(self) -> float | None:
        """Of the judged parameters, the share whose gradient still holds that of the last step;
        None where no judgement is possible.
        """
        chains = [c for c in self._chains.values() if c.num_added and c.held.any()]
        if not self._has_stepped or not chains:
            return None
        return sum(not c.is_broken for c in chains) / len(chains)

    @torch.no_grad()
    def before_step(self, held: Mapping[int, Tensor]) -> None:
        """Note weights and gradients as an optimizer finds them. held: what it moves, by id"""
        for name, p in self._parameters.items():
            if id(p) not in held and name in self._before:
                continue
            self._before[name] = sample(p)
            if p.grad is not None:
                self._gradients[name] = sample(p.grad)

    @torch.no_grad()
    def moved(self, optimizer: str, peak: float) -> tuple[Moved, ...]:
        """What became of every weight, called right after the step; peak: of the rates."""
        if not self._before:
            return ()
        return tuple(self._moved(n, p, optimizer, peak) for n, p in self._parameters.items())

    def _moved(self, name: str, p: nn.Parameter, optimizer: str, peak: float) -> Moved:
        gradient, arrived = self._gradients.get(name), self._arrived.get(name)
        changed, lost = None, 0.0
        before = self._before.get(name)
        if gradient is not None and before is not None and gradient.shape == before.shape:
            has = gradient != 0
            if bool(has.any()):
                changed = float((sample(p) != before)[has].float().mean())
                if p.is_floating_point():
                    lost = lost_share(before[has], gradient[has], optimizer, peak)
        was = self._was.pop(name, None)
        gone, strayed = (0.0, 0.0) if was is None or before is None else between(*was, before)
        if before is not None and changed:
            self._was[name] = before, sample(p)
        return Moved(
            name=name,
            norm=float(norm_of(p)),
            gradient=None if p.grad is None and gradient is None else self._norm(p, gradient),
            arrived=None if arrived is None else float(arrived),
            changed=changed,
            lost_at_peak=lost,
            gone=gone,
            strayed=strayed,
        )

    @staticmethod
    def _norm(p: nn.Parameter, gradient: Tensor | None) -> float:
        """Of the gradient; of its sample, scaled, where it is gone already."""
        if p.grad is not None:
            return float(norm_of(p.grad))
        assert gradient is not None
        return float(norm_of(gradient)) * math.sqrt(p.numel() / max(1, gradient.numel()))

    @torch.no_grad()
    def after_step(self) -> None:
        """A new chain begins with what stands in `.grad` now."""
        self._has_stepped = True
        self._arrived.clear()
        self._before.clear()
        self._gradients.clear()
        for name, chain in self._chains.items():
            gradient = self._parameters[name].grad
            chain.num_added = 0
            chain.is_broken = gradient is None
            chain.held = _NO_VALUES if gradient is None else sample(gradient)


def norm_of(tensor: Tensor) -> Tensor:
    """Euclidean, 0-d, in float32 at least."""
    values = tensor.detach()
    values = values.to_dense() if values.layout != torch.strided else values
    wide = torch.float32 if values.itemsize < 4 else None
    return torch.linalg.vector_norm(values, dtype=wide)


def between(start: Tensor, end: Tensor, now: Tensor) -> tuple[float, float]:
    """Of a step from start to end, the share that is gone by now; and 1 less the cosine of the end
    and now: 0 where they are alike, 1 where they have nothing to do with each other.

    >>> between(torch.zeros(4), torch.ones(4), torch.full((4,), 0.25))
    (0.75, 0.0)
    """
    way, back = float(norm_of(end - start)), float(norm_of(now - start))
    sizes = float(norm_of(end)) * float(norm_of(now))
    cosine = float((end.double() * now.double()).sum()) / sizes if sizes else 1.0
    return max(0.0, 1 - back / way) if way else 0.0, max(0.0, 1 - cosine)


def lost_share(weights: Tensor, gradients: Tensor, optimizer: str, rate: float) -> float:
    """The share of weights that an update at this rate would leave as they are, by half an ulp."""
    is_signed = any(kind in optimizer for kind in SIGNED)
    updates = torch.full_like(weights, rate) if is_signed else rate * gradients.abs()
    bits = round(-math.log2(torch.finfo(weights.dtype).eps))
    _, exponent = torch.frexp(weights.float())
    half_ulp = torch.ldexp(torch.ones_like(updates.float()), exponent - 2 - bits)
    return float((updates.float() < half_ulp).float().mean())
