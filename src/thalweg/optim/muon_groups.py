"""Which parameters of a model are hidden matrices, for Muon, and which are not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from thalweg.errors import UsageError

_TABLES = (nn.Embedding, nn.EmbeddingBag)


def muon_groups(model: nn.Module, head: str | Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Parameter groups for `Muon`: hidden matrices with use_muon True, all others with False.

    Hidden are matrices and kernels of convolutions, but not embeddings (a parameter with "embed" in
    its own name is one), not the head, and not what shares its weights with either.
    head: names of the modules that make the output, as `model.named_modules` has them; () for none.
    By default linear layers whose weights are an embedding's; else those with as many outputs as an
    embedding has rows; else the last linear layer or convolution
    Raises UsageError for what is no module, or a head that the model does not have.

    >>> import torch, thalweg
    >>> from torch.nn import Conv2d, Flatten, Linear
    >>> net = torch.nn.Sequential(Conv2d(1, 8, 3), Flatten(), Linear(72, 2))
    >>> for group in thalweg.muon_groups(net):
    ...     print(group["use_muon"], [name for name, _ in group["params"]])
    True ['0.weight']
    False ['0.bias', '2.weight', '2.bias']
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"muon_groups takes a torch module, not {type(model).__name__}")
    tables = [m for m in model.modules() if isinstance(m, _TABLES)]
    ends = [*tables, *_heads(model, head)]
    at_the_ends = {id(p) for module in ends for p in module.parameters()}
    kernels = {id(m.weight) for m in model.modules() if isinstance(m, _ConvNd)}

    groups: dict[bool, list[tuple[str, nn.Parameter]]] = {True: [], False: []}
    for name, p in model.named_parameters():
        is_matrix = p.ndim == 2 or id(p) in kernels
        is_table = "embed" in name.rpartition(".")[2]
        groups[is_matrix and not is_table and id(p) not in at_the_ends].append((name, p))
    return [
        {"params": members, "use_muon": use_muon} for use_muon, members in groups.items() if members
    ]


def _heads(model: nn.Module, names: str | Sequence[str] | None) -> Sequence[nn.Module]:
    """The modules that make the output."""
    if names is None:
        return _found_heads(model)
    modules = dict(model.named_modules(remove_duplicate=False))
    wanted = [names] if isinstance(names, str) else list(names)
    for name in wanted:
        if name not in modules:
            raise UsageError(
                f"head is {name!r}: the model has no such module, it has "
                f"{', '.join(filter(None, modules))}"
            )
    return [modules[name] for name in wanted]


def _found_heads(model: nn.Module) -> Sequence[nn.Module]:
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    tables = [m for m in model.modules() if isinstance(m, _TABLES)]
    tied = [m for m in linear if any(m.weight is table.weight for table in tables)]
    sizes = {table.num_embeddings for table in tables}
    as_wide = [m for m in linear if m.out_features in sizes]
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | _ConvNd)]
    return tied or as_wide or layers[-1:]
