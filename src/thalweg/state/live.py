"""A model and its optimizer as trees of plain values and tensors, and back.

Tensors are named by the model's qualified names, so that a checkpoint says what it holds and does
not depend on the order of parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.errors import RunError

Tree = Any


def model_tree(model: nn.Module) -> dict[str, Any]:
    """Every parameter and buffer by name, and what modules add of their own; nothing is copied."""
    extra = {
        name: module.get_extra_state()
        for name, module in model.named_modules()
        if type(module).get_extra_state is not nn.Module.get_extra_state
    }
    return {"weights": dict(_tensors(model)), "extra": extra}


@torch.no_grad()
def restore_model(model: nn.Module, tree: Mapping[str, Any]) -> None:
    """Copy the values back into the model's own tensors.

    Raises RunError, and has then changed nothing, where they are those of another model.
    """
    own, saved = dict(_tensors(model)), tree["weights"]
    _check_names(own, saved)
    for name, tensor in own.items():
        tensor.copy_(saved[name])
    for name, module in model.named_modules():
        if name in tree["extra"]:
            module.set_extra_state(deepcopy(tree["extra"][name]))


def _check_names(own: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    for name in [*own, *saved]:
        shapes = [_form(where.get(name)) for where in (own, saved)]
        if shapes[0] != shapes[1]:
            raise RunError(
                f"the checkpoint is of another model: {name} is {shapes[1]} there and {shapes[0]} "
                "here: bring the model that the run was started with"
            )


def _form(tensor: Tensor | None) -> str:
    if tensor is None:
        return "missing"
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers; one that has several names comes with each."""
    for name, parameter in model.named_parameters(remove_duplicate=False):
        yield name, parameter.detach()
    yield from model.named_buffers(remove_duplicate=False)


def optimizer_tree(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Any]:
    """The optimizer's state dict with parameters named; large tensors are not copied."""
    found = _plainly(type(optimizer).state_dict)(optimizer)
    names = names_of(optimizer, model)
    groups = [
        {**group, "params": [names[i] for i in group["params"]]} for group in found["param_groups"]
    ]
    return {"state": {names[i]: state for i, state in found["state"].items()}, "groups": groups}


def check_optimizer_tree(
    optimizer: torch.optim.Optimizer, model: nn.Module, tree: Mapping[str, Any]
) -> None:
    """Raise RunError where the tree is that of an optimizer over other parameters."""
    saved = [name for group in tree["groups"] for name in group["params"]]
    names = names_of(optimizer, model)
    if saved != names:
        odd = sorted(set(saved) ^ set(names)) or ["their order"]
        raise RunError(
            f"the checkpoint's optimizer trains other parameters ({odd[0]} differs): bring the "
            "optimizer that the run was started with"
        )


def restore_optimizer(
    optimizer: torch.optim.Optimizer, model: nn.Module, tree: Mapping[str, Any]
) -> None:
    """Load what `optimizer_tree` gave, every state in the type in which it was saved."""
    number = {name: i for i, name in enumerate(names_of(optimizer, model))}
    states = {number[name]: state for name, state in tree["state"].items()}
    groups = [
        {**group, "params": [number[name] for name in group["params"]]} for group in tree["groups"]
    ]
    loaded = deepcopy({"state": states, "param_groups": groups})
    _plainly(type(optimizer).load_state_dict)(optimizer, loaded)
    for i, p in enumerate(_params(optimizer)):
        for name, value in states.get(i, {}).items():
            if isinstance(value, Tensor):  # torch's own loading casts to the parameter's type
                optimizer.state[p][name] = value.detach().clone().to(p.device)


def names_of(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[str]:
    """The model's name of each parameter, in the optimizer's order; "group.index" for others."""
    known = {id(p): name for name, p in model.named_parameters()}
    return [
        known.get(id(p), f"{k}.{i}")
        for k, group in enumerate(optimizer.param_groups)
        for i, p in enumerate(group["params"])
    ]


def _plainly(method: Callable[..., Any]) -> Callable[..., Any]:
    """torch's method without the guard that imports its compiler, which takes two seconds."""
    return getattr(method, "__wrapped__", method)


def _params(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from group["params"]
