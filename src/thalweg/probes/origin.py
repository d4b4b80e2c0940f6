"""Where a number that is not finite came from: the data, a parameter, a module, the loss, or the
gradient.

The batch is replayed with hooks on every module. They look at what goes in before a module runs, so
that one which works in place is seen rightly, and at what comes out as soon as it has run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

Kind = Literal["data", "parameter", "module", "loss", "gradient", "finite", "unknown"]

MOST_NAMED = 5
"""Samples that a sentence names; `Origin.samples` holds all of them."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a number that is not finite came from.

    kind: "data", "parameter" (or a buffer), "module", "loss", "gradient"; "finite": the replay was;
    "unknown": not traced
    name: of the part of the batch, the parameter or the module; empty for the others
    samples: indices of the samples of the batch that have it, where this can be told
    text: all of it in one plain sentence
    """

    kind: Kind
    name: str
    samples: tuple[int, ...]
    text: str


def trace(
    model: nn.Module,
    loss_of: Callable[[nn.Module, Any], Any],
    batch: Any,
    *,
    scale: float = 1.0,
) -> Origin:
    """Replay a batch and say where its first number that is not finite comes from.

    loss_of(model, batch) gives the loss, or a tuple that begins with it; `scale`: fp16's loss scale
    Model (mode, buffers, `.grad`) and torch's generators are left as they were. The weights and the
    generators have to be those of the step that is asked about: a replay that then is finite says
    so. Compiled models are replayed uncompiled. It costs one step, and a wait for every module.

    >>> import torch
    >>> net = torch.nn.Linear(2, 1)
    >>> x = torch.tensor([[1.0, 2.0], [3.0, float("nan")]])
    >>> trace(net, lambda model, batch: model(batch[0]).sum(), (x, None)).text
    'nan stands in the input, column 1, of sample 1 of the batch'
    """
    origin = in_data(batch) or in_parameters(model)
    if origin is not None:
        return origin
    with ExitStack() as stack:
        stack.enter_context(_left_as_it_was(model))
        stack.enter_context(torch.autograd.set_detect_anomaly(False))
        if "torch._dynamo" in sys.modules:  # else nothing is compiled, and asking takes 2 s
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        replay = stack.enter_context(_Replay(model, _length(batch)))
        try:
            return replay.run(loss_of, batch, scale)
        except Exception as error:  # a tracer must not end the run that it explains
            text = f"not traced: the replay raised {type(error).__name__}: {error}"
            return Origin("unknown", "", (), " ".join(text.split()))


def in_data(batch: Any) -> Origin | None:
    """The first value of a batch that is not finite, if there is one; costs a pass over it.

    >>> import torch
    >>> in_data((torch.ones(3, 2), torch.zeros(3))) is None
    True
    """
    for name, tensor in _parts(batch):
        if _is_finite(tensor):
            continue
        samples = _samples(tensor, _length(batch))
        where = name
        if tensor.ndim == 2:
            columns = (~torch.isfinite(tensor)).any(0).nonzero().flatten().tolist()
            where = f"{name}, column {columns[0]}"
        of = f", of {_named(samples)} of the batch" if samples else " of the batch"
        return Origin("data", where, samples, f"{_worst(tensor)} stands in the {where}{of}")
    return None


def in_parameters(model: nn.Module) -> Origin | None:
    """The first parameter that is not finite, or buffer that holds a NaN (masks hold -inf)."""
    for name, p in model.named_parameters():
        if not _is_finite(p.detach()):
            text = f"the parameter {_plain(name)} held {_worst(p.detach())} before the step"
            return Origin("parameter", _plain(name), (), text)
    for name, b in model.named_buffers():
        if b.is_floating_point() and bool(torch.isnan(b).any()):
            text = f"the buffer {_plain(name)} held nan before the step"
            return Origin("parameter", _plain(name), (), text)
    return None


class _Replay:
    """Forward and backward of one batch, with hooks on modules and tensors."""

    def __init__(self, model: nn.Module, length: int | None):
        self._model = model
        self._length = length
        self._handles: list[Any] = []
        self._stack: list[bool] = []
        self._kept: list[Tensor] = []  # so that no id is given twice
        self._first: Origin | None = None
        self._bad: tuple[int, str, str] | None = None

    def __enter__(self) -> _Replay:
        for name, module in self._model.named_modules():
            label = _label(name, module)
            before = partial(self._before, (_plain(name), label))
            after = partial(self._after, (_plain(name), label))
            self._handles += [
                module.register_forward_pre_hook(before, with_kwargs=True),
                module.register_forward_hook(after, with_kwargs=True),
            ]
        for name, p in self._model.named_parameters():
            if p.requires_grad:
                plain = _plain(name)
                self._listen(p, plain, f"at the parameter {plain}", is_input=False)
        return self

    def __exit__(self, *error: Any) -> None:
        for handle in self._handles:
            handle.remove()

    def run(self, loss_of: Callable[[nn.Module, Any], Any], batch: Any, scale: float) -> Origin:
        with torch.enable_grad():
            loss = loss_of(self._model, batch)
            loss = loss[0] if isinstance(loss, tuple) else loss
            if not _is_finite(loss.detach()):
                if self._first is not None:
                    return self._first
                text = f"every module's output was finite, and the loss was {_worst(loss.detach())}"
                return Origin("loss", "", (), text)
            (loss * scale).backward()
        if self._bad is None:
            return Origin("finite", "", (), "replayed, loss and gradients of the batch are finite")
        _, name, where = self._bad
        text = f"the loss was finite and its gradient was not, first {where}"
        return Origin("gradient", name, (), text)

    def _before(self, names: tuple[str, str], module: nn.Module, args: Any, kwargs: Any) -> None:
        name, label = names
        given = list(_tensors((args, kwargs)))
        self._stack.append(all(_is_finite(t.detach()) for t in given))
        for tensor in given:
            if tensor.requires_grad and not tensor.is_leaf:
                self._listen(tensor, name, f"in the backward of {label}", is_input=True)

    def _after(
        self, names: tuple[str, str], module: nn.Module, args: Any, kwargs: Any, output: Any
    ) -> None:
        name, label = names
        was_finite = self._stack.pop()
        found = list(_tensors(output))
        bad = next((t.detach() for t in found if not _is_finite(t.detach())), None)
        if bad is None:
            if not was_finite:
                self._first = None  # such as a softmax over masked scores: it did no harm
        elif was_finite and self._first is None:
            samples = _samples(bad, self._length)
            of = f" for {_named(samples)}" if samples else ""
            text = f"the output of {label} held {_worst(bad)}{of}, and its input was finite"
            self._first = Origin("module", name, samples, text)
        for tensor in found:
            if tensor.requires_grad and not tensor.is_leaf:
                self._listen(tensor, name, f"at the output of {label}", is_input=False)

    def _listen(self, tensor: Tensor, name: str, where: str, *, is_input: bool) -> None:
        """Note the first gradient that is not finite; a module's input says more than an output."""
        self._kept.append(tensor)
        key = id(tensor)

        def look(gradient: Tensor) -> None:
            is_same = self._bad is not None and self._bad[0] == key and is_input
            if (self._bad is None or is_same) and not _is_finite(gradient):
                self._bad = key, name, where

        self._handles.append(tensor.register_hook(look))


@contextmanager
def _left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Buffers, `.grad` and torch's generators are afterwards what they were."""
    grads = [(p, p.grad) for p in model.parameters()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    modes = [(module, module.training) for module in model.modules()]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices):
        try:
            for p, _ in grads:
                p.grad = None
            yield
        finally:
            for p, gradient in grads:
                p.grad = gradient
            with torch.no_grad():
                for module, name, buffer, before in buffers:
                    module._buffers[name] = buffer
                    buffer.copy_(before)
            for module, mode in modes:
                module.training = mode


def _parts(batch: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a batch by name: of a pair, the input and the target."""
    is_pair = isinstance(batch, Sequence) and not isinstance(batch, str) and len(batch) == 2
    parts = zip(("input", "target"), batch, strict=True) if is_pair else [("batch", batch)]
    for name, part in parts:
        yield from _flat(part, name)


def _flat(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of nested sequences, mappings and records, with its path."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{name}[{key!r}]")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _flat(item, f"{name}[{i}]")
    elif hasattr(value, "__dataclass_fields__"):
        for key in value.__dataclass_fields__:
            yield from _flat(getattr(value, key), f"{name}.{key}")


def _tensors(value: Any) -> Iterator[Tensor]:
    return (tensor for _, tensor in _flat(value, ""))


def _length(batch: Any) -> int | None:
    """The number of samples: the first dimension of the batch's first tensor that has one."""
    return next((t.shape[0] for t in _tensors(batch) if t.ndim), None)


def _values(tensor: Tensor) -> Tensor:
    return tensor._values() if tensor.layout == torch.sparse_coo else tensor


def _is_finite(tensor: Tensor) -> bool:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    return bool(torch.isfinite(_values(tensor)).all())


def _worst(tensor: Tensor) -> str:
    """The first value that is not finite, a NaN before an infinity."""
    values = _values(tensor).flatten()
    if bool(torch.isnan(values).any()):
        return "nan"
    return str(values[~torch.isfinite(values)][0].item())


def _samples(tensor: Tensor, length: int | None) -> tuple[int, ...]:
    """Indices of the samples that are not finite; none where the first dimension is not theirs."""
    if tensor.layout != torch.strided or tensor.ndim == 0 or tensor.shape[0] != length:
        return ()
    bad = ~torch.isfinite(tensor).flatten(1).all(1) if tensor.ndim > 1 else ~torch.isfinite(tensor)
    return tuple(bad.nonzero().flatten().tolist())


def _named(samples: Sequence[int]) -> str:
    """The samples in words.

    >>> _named([3]), _named(range(7))
    ('sample 3', 'samples 0, 1, 2, 3, 4 and 2 more')
    """
    first = ", ".join(map(str, samples[:MOST_NAMED]))
    more = f" and {len(samples) - MOST_NAMED} more" if len(samples) > MOST_NAMED else ""
    return f"sample{'s' if len(samples) > 1 else ''} {first}{more}"


def _plain(name: str) -> str:
    """A qualified name without what torch.compile puts into it."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


def _label(name: str, module: nn.Module) -> str:
    kind = type(module).__name__
    return f"{kind} {_plain(name)}" if _plain(name) else f"the model ({kind})"
