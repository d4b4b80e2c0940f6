"""Less memory for a deep model: what its blocks computed is computed again in the backward pass.

Elsewhere this is called activation or gradient checkpointing. Of each block only the input is
kept; the rest of a step's activations are those of one block at a time, for one more forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from thalweg.errors import UsageError

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)

LEAST_LAYERS = 4
"""Of a plain nn.Sequential, to be cut into runs."""

Contexts = tuple[AbstractContextManager[None], AbstractContextManager[None]]


class Recompute:
    """Makes the blocks of a model compute again what their backward pass needs.

    blocks: modules of one class that repeat as children of nn.Sequential, nn.ModuleList or
    nn.ModuleDict; where there are none, the longest nn.Sequential, which is cut into runs of about
    sqrt(n) of its n layers
    Raises UsageError for a model that has neither.

    Gradients and buffers are those of the plain step to the bit: draws (dropout) are repeated, and
    buffers such as batch norm's running statistics are written once.

    >>> net = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(3)))
    >>> len(Recompute(net).blocks)
    3
    """

    def __init__(self, model: nn.Module):
        self.blocks = repeated(model)
        method: Callable[..., Any] = _block
        if not self.blocks:
            self.blocks, method = longest(model), _in_runs
        if not self.blocks:
            raise UsageError(
                "recompute finds no blocks in the model: modules of one class that repeat in an "
                f"nn.Sequential or nn.ModuleList, or an nn.Sequential of {LEAST_LAYERS} layers or "
                "more; call torch.utils.checkpoint in the model's forward instead"
            )
        self._methods = [(vars(block), MethodType(method, block)) for block in self.blocks]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """A forward pass inside keeps only the blocks' inputs; the model is as ever afterwards."""
        for own, method in self._methods:
            own["forward"] = method
        try:
            yield
        finally:
            for own, _ in self._methods:
                del own["forward"]


def repeated(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model: the class that repeats most, of those that hold most of it."""
    groups: dict[type[nn.Module], list[nn.Module]] = {}
    for container in model.modules():
        for child in container.children() if isinstance(container, CONTAINERS) else ():
            if _is_block(child) and child not in groups.setdefault(type(child), []):
                groups[type(child)].append(child)
    sizes = {kind: sum(map(_size, blocks)) for kind, blocks in groups.items() if len(blocks) > 1}
    large = [kind for kind, size in sizes.items() if 2 * size >= max(sizes.values())]
    if not large:
        return []
    blocks = groups[max(large, key=lambda kind: len(groups[kind]))]
    inner = {id(module) for block in blocks for module in block.modules() if module is not block}
    return [block for block in blocks if id(block) not in inner]


def longest(model: nn.Module) -> list[nn.Module]:
    """The nn.Sequential with most layers, if it has enough of them."""
    found: list[nn.Module] = [
        module
        for module in model.modules()
        if isinstance(module, nn.Sequential)
        and type(module).forward is nn.Sequential.forward
        and "forward" not in vars(module)
        and len(module) >= LEAST_LAYERS
    ]
    return sorted(found, key=lambda module: len(list(module.children())))[-1:]


def _is_block(module: nn.Module) -> bool:
    """Does it hold layers with weights, and a forward pass that is its class's own?"""
    has_layers = next(module.children(), None) is not None
    is_called = type(module).forward is not nn.ModuleList.forward and "forward" not in vars(module)
    return has_layers and is_called and _size(module) > 0


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _block(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Stands in for a block's forward."""
    return _again(MethodType(type(self).forward, self), (self,), *args, **kwargs)


def _in_runs(self: nn.Sequential, x: Any) -> Any:
    """Stands in for the forward of a nn.Sequential."""
    layers = list(self)
    size = math.ceil(math.sqrt(len(layers)))
    for first in range(0, len(layers), size):
        run = layers[first : first + size]
        x = _again(_chained(run), run, x)
    return x


def _chained(layers: Sequence[nn.Module]) -> Callable[[Any], Any]:
    def run(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return x

    return run


def _again(run: Callable[..., Any], modules: Sequence[nn.Module], *args: Any, **kwargs: Any) -> Any:
    """run(...), whose inner values are computed again when the backward pass asks for them."""
    if torch.compiler.is_compiling():  # the compiler writes buffers once by itself
        return checkpoint(run, *args, use_reentrant=False, **kwargs)
    owners = [owner for module in modules for owner in module.modules()]
    return checkpoint(
        run, *args, use_reentrant=False, context_fn=lambda: _written_once(owners), **kwargs
    )


def _written_once(owners: Sequence[nn.Module]) -> Contexts:
    """Around the forward pass and around its repetition, which begins with the buffers as they
    were, and leaves them as it found them.
    """
    before: list[tuple[Tensor, Tensor]] = []

    @contextmanager
    def first() -> Iterator[None]:
        copies = [
            (buffer, buffer.detach().clone(), _NEVER if _is_norm(owner) else buffer._version)
            for owner in owners
            for buffer in owner.buffers(recurse=False)
        ]
        yield
        before.extend((b, copy) for b, copy, version in copies if b._version != version)

    @contextmanager
    def again() -> Iterator[None]:
        after = [(buffer, buffer.detach().clone()) for buffer, _ in before]
        _write(before)
        try:
            yield
        finally:
            _write(after)

    return first(), again()


_NEVER = -1
"""No tensor's version: batch norm writes its statistics without counting it as a change."""


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, _NormBase)


@torch.no_grad()
def _write(values: Sequence[tuple[Tensor, Tensor]]) -> None:
    for buffer, value in values:
        buffer.copy_(value)
