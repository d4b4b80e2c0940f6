"""The libraries beside which each rule is measured, in every way that they offer."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import nn

import thalweg
from benchmarks.steps.contenders import Make

COMPILED = "torch.compile"


@dataclass(frozen=True, slots=True)
class Peer:
    """An optimizer of a library.

    find: its class; is_same: has it our formula, so that its numbers can be compared
    compiles: does it start a compiler at its first step
    takes_grads: does its step take the gradients away
    """

    name: str
    find: Callable[[], Callable[..., torch.optim.Optimizer]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    is_same: bool = True
    compiles: bool = False
    takes_grads: bool = False

    def make(self, common: Mapping[str, Any]) -> Make:
        """Raises ImportError if the library is not here."""
        kind, own = self.find(), {**common, **self.settings}
        return lambda params: kind(params, **own)


@dataclass(frozen=True, slots=True)
class Rule:
    """Our optimizer, the settings that all get, and the peers."""

    ours: Callable[..., torch.optim.Optimizer]
    settings: Mapping[str, Any]
    peers: tuple[Peer, ...]


def of(library: str, name: str, **settings: Any) -> Peer:
    """A class of a library that runs as it comes."""
    return Peer(f"{library}", lambda: getattr(importlib.import_module(library), name), settings)


def timms(module: str, name: str, **settings: Any) -> Peer:
    return Peer("timm", lambda: getattr(_timm(module), name), settings, is_same=False)


def heavyballs(name: str, **settings: Any) -> Peer:
    """heavyball compiles its steps; its rules begin otherwise (debiasing), so they only race."""
    return Peer(
        "heavyball",
        lambda: getattr(importlib.import_module("heavyball"), name),
        settings,
        is_same=False,
        compiles=True,
        takes_grads=True,
    )


def torchs(name: str) -> tuple[Peer, ...]:
    """torch's optimizer in the ways that it has for these rules: there is no fused one."""
    kind = getattr(torch.optim, name)
    return (
        Peer("torch foreach", lambda: kind, {"foreach": True}),
        Peer("torch for-loop", lambda: kind, {"foreach": False}),
        Peer(COMPILED, lambda: _compiled(kind), {"foreach": True}, compiles=True),
    )


def both_ways(library: str, name: str, **settings: Any) -> Iterator[Peer]:
    """A class that takes `foreach`, with and without."""
    for foreach in (True, False):
        peer = of(library, name, foreach=foreach, **settings)
        label = f"{library} {'foreach' if foreach else 'for-loop'}"
        yield Peer(label, peer.find, peer.settings)


RULES: dict[str, Rule] = {
    "RMSprop": Rule(
        thalweg.RMSprop,
        {"lr": 1e-3},
        (*torchs("RMSprop"), timms("rmsprop_tf", "RMSpropTF", alpha=0.99), heavyballs("RMSprop")),
    ),
    "NAdam": Rule(thalweg.NAdam, {"lr": 1e-3}, (*torchs("NAdam"), heavyballs("NAdam"))),
    "Adadelta": Rule(
        thalweg.Adadelta,
        {"lr": 1.0},
        (*torchs("Adadelta"), *both_ways("pytorch_optimizer", "AdaDelta")),
    ),
    "Adamax": Rule(
        thalweg.Adamax,
        {"lr": 1e-3},
        (*torchs("Adamax"), *both_ways("pytorch_optimizer", "AdaMax")),
    ),
    "RAdam": Rule(
        thalweg.RAdam,
        {"lr": 1e-3},
        (*torchs("RAdam"), *both_ways("pytorch_optimizer", "RAdam", degenerated_to_sgd=True)),
    ),
    "Lion": Rule(
        thalweg.Lion,
        {"lr": 1e-4},
        (
            of("lion_pytorch", "Lion"),
            *both_ways("pytorch_optimizer", "Lion"),
            timms("lion", "Lion", foreach=True),
        ),
    ),
}
"""The rules for which torch has no fused CPU kernel."""


def installed(rule: Rule, *, compiles: bool) -> list[tuple[Peer, Make]]:
    """The peers whose libraries are here; the others are named and left out."""
    found = []
    for peer in rule.peers:
        if peer.compiles and not compiles:
            continue
        try:
            found.append((peer, peer.make(rule.settings)))
        except ImportError as missing:
            print(f"without {peer.name}: {missing}", file=sys.stderr)
    return found


def _compiled(kind: type[torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """A torch optimizer whose step goes through torch.compile."""

    def make(params: list[nn.Parameter], **settings: Any) -> torch.optim.Optimizer:
        optimizer = kind(params, **{**settings, "lr": torch.tensor(settings["lr"])})
        optimizer.step = torch.compile(optimizer.step)
        return optimizer

    return make


def _timm(module: str) -> ModuleType:
    """A module of timm.optim, without the rest of timm, which wants torchvision."""
    for package in ("timm", "timm.optim"):
        if package not in sys.modules:
            spec = importlib.util.find_spec(package)
            if spec is None:
                raise ImportError(f"No module named {package!r}")
            sys.modules[package] = importlib.util.module_from_spec(spec)  # named, but not run
    return importlib.import_module(f"timm.optim.{module}")
