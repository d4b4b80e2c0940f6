"""Muon for hidden matrices, with AdamW for everything else in the same optimizer."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, Unpack

from torch import Tensor

from thalweg.errors import UsageError
from thalweg.optim.common import Common, Number, Params
from thalweg.optim.family import Family
from thalweg.optim.optimizer import Optimizer
from thalweg.rules import MATRIX_RULES, RULES, Hyper
from thalweg.rules.rule import SWITCH, check_choice

ADAMW_LR = 3e-4
"""AdamW's learning rate where Muon's own scale is no measure for it."""


class Muon(Optimizer):
    """Muon: momentum, made orthogonal as a matrix before it is subtracted; AdamW for the rest.

    params: best `muon_groups(model)`. A group with `use_muon` True is Muon's, with False AdamW's;
    one that does not say is split by dimensions: two or more are a matrix (a convolution's kernel
    as one row for each output), with one warning if others are among them
    lr, weight_decay, eps: >= 0; momentum: 0 <= momentum < 1; nesterov: look ahead along it
    ns_coefficients, ns_steps: the polynomial of Newton and Schulz, and how often, 0 .. 99
    adjust_lr_fn: "original" (None) scales lr by sqrt(max(1, rows / columns)), "match_rms_adamw" by
    0.2 sqrt(max(rows, columns)), for which AdamW's learning rates and decays serve
    ns_bf16: products in bfloat16, as torch's; False: in the parameter's type, float32 at least, as
    always with differentiable=True
    use_muon: what a group is that does not say; False gives all of them to AdamW
    adamw_lr: the lr of AdamW's groups that name none, >= 0; None: lr itself with "match_rms_adamw",
    else 3e-4; adamw_betas, adamw_eps: its other numbers, as `AdamW`; weight_decay is for both
    more: clip, options for storage such as NearestRounding, ...: see `Optimizer`; the groups of
    AdamW may have any options
    Raises UsageError (a ValueError) for a value out of range, for a vector in a group with use_muon
    True, for complex parameters, sparse gradients and options that work element by element.
    Sources: Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024; Liu et
    al., Muon is scalable for LLM training, 2025 ("match_rms_adamw").

    >>> import torch, thalweg
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    >>> optimizer = thalweg.Muon(thalweg.muon_groups(net), lr=0.02)
    >>> [(group["use_muon"], group["param_names"]) for group in optimizer.param_groups]
    [(True, ['0.weight']), (False, ['0.bias', '2.weight', '2.bias'])]
    """

    def __init__(
        self,
        params: Params,
        lr: Number = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.7750, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None,
        *,
        ns_bf16: bool = True,
        use_muon: bool = True,
        adamw_lr: Number | None = None,
        adamw_betas: tuple[float, float] = (0.9, 0.95),
        adamw_eps: float = 1e-8,
        **more: Unpack[Common],
    ):
        check_choice("use_muon", use_muon, SWITCH)
        super().__init__(
            _routed(params) if use_muon else params,
            _FAMILY,
            lr=lr,
            weight_decay=weight_decay,
            momentum=momentum,
            nesterov=nesterov,
            ns_coefficients=ns_coefficients,
            eps=eps,
            ns_steps=ns_steps,
            adjust_lr_fn=adjust_lr_fn,
            ns_bf16=ns_bf16,
            use_muon=use_muon,
            adamw_lr=adamw_lr,
            adamw_betas=adamw_betas,
            adamw_eps=adamw_eps,
            **more,
        )

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        parts = [param_group]
        if isinstance(param_group, dict) and self.defaults["use_muon"]:
            parts = _routed([param_group])
        for part in parts:
            if isinstance(part, dict):
                self._set_rate(part)
            super().add_param_group(part)

    def _set_rate(self, group: dict[str, Any]) -> None:
        """A group of AdamW's that names no learning rate gets AdamW's."""
        settings = {**self.defaults, **group}
        if settings["use_muon"] or "lr" in group:
            return
        given = settings["adamw_lr"]
        is_matched = settings["adjust_lr_fn"] == "match_rms_adamw"
        group["lr"] = given if given is not None else settings["lr"] if is_matched else ADAMW_LR


def _routed(params: Any) -> Any:
    """Groups, of which each that does not say whose it is is split by dimensions, with one warning.

    What is no list of parameters is left as it is, for torch to refuse.
    """
    if isinstance(params, Tensor) or not isinstance(params, Iterable):
        return params
    given = list(params)
    groups = given if not given or isinstance(given[0], dict) else [{"params": given}]
    parts = [part for group in groups for part in _split(group)]
    made = [part for part in parts if all(part is not group for group in groups)]
    num_others = sum(len(part["params"]) for part in made if not part["use_muon"])
    if num_others:
        warnings.warn(
            f"{num_others} of Muon's parameters are no matrices and go to AdamW; embeddings and "
            "the head, which should as well, cannot be told by dimensions: give muon_groups(model)",
            stacklevel=3,
        )
    return parts


def _split(group: Any) -> list[Any]:
    """The group; or Muon's part and AdamW's of one that does not say whose it is."""
    if not isinstance(group, dict) or not _is_list(group.get("params")):
        return [group]
    group["params"] = members = list(group["params"])
    vectors = [member for member in members if _num_dims(member) < 2]
    check_choice("use_muon", group.get("use_muon", True), SWITCH)
    if not vectors or not group.get("use_muon", True):
        return [group]
    if "use_muon" in group:
        shape = tuple(_tensor_of(vectors[0]).shape)
        raise UsageError(
            f"a group with use_muon=True has a parameter of shape {shape}: Muon takes matrices, "
            "so give it to a group with use_muon=False"
        )
    matrices = [member for member in members if _num_dims(member) >= 2]
    muons = [{**group, "params": matrices, "use_muon": True}] if matrices else []
    return [*muons, {**group, "params": vectors, "use_muon": False}]


def _is_list(params: Any) -> bool:
    """May it be the parameters of a group? torch refuses what has no order."""
    return isinstance(params, Iterable) and not isinstance(params, Tensor | set)


def _num_dims(member: Any) -> int:
    tensor = _tensor_of(member)
    return tensor.ndim if isinstance(tensor, Tensor) else 2


def _tensor_of(member: Any) -> Any:
    """A parameter, or that of a (name, parameter) pair."""
    return member[1] if isinstance(member, tuple) and len(member) == 2 else member


def _choose(settings: Mapping[str, Any]) -> str:
    return "muon" if settings["use_muon"] else "adamw"


_SPELLED = {"beta1": "adamw_betas", "beta2": "adamw_betas", "eps": "adamw_eps"}
_ADAMW = replace(
    RULES["adamw"],
    hypers=tuple(
        replace(row, key=_SPELLED.get(row.name, row.key)) for row in RULES["adamw"].hypers
    ),
)
"""AdamW, whose betas and eps are called otherwise beside Muon's momentum and eps."""


_FAMILY = Family(
    _choose,
    ("muon", "adamw"),
    {**MATRIX_RULES["muon"].switches, "use_muon": SWITCH},
    {"muon": MATRIX_RULES["muon"], "adamw": _ADAMW},
    more=(
        Hyper(
            "adamw_lr",
            ADAMW_LR,
            or_none=True,
            meaning="lr of AdamW's groups that name none; None: lr itself with "
            f'"match_rms_adamw", else {ADAMW_LR:g}',
        ),
    ),
)
