"""Optimizers with one fault each: state, layouts, types of numbers, companions."""

from __future__ import annotations

import contextlib
import copy
import pathlib
import pickle

import torch

from conformance.planted import plant
from conformance.sound import Averaging, Sound

# State: saved, loaded, copied.


@plant("state_dict_layout")
class SavesParameters(Sound):
    def state_dict(self):
        saved = super().state_dict()
        saved["anchor"] = self.param_groups[0]["params"][0]
        return saved


@plant("state_dict_layout", keeps_no_state=True)
class RemembersInSecret(Sound):
    """Remembers the last gradient outside of its state."""

    def state_of(self, p):
        if not hasattr(self, "_states"):
            self._states = {}
        state = super().state_of(p)
        kept = self._states.setdefault(p, state)
        self.state.pop(p)
        return kept


@plant("state_dict_layout", "dcp_init_is_noop", keeps_no_state=True)
class SaysItForgets(Sound):
    """Sound as it is; the row that says it keeps no state is the fault."""


@plant("state_dict_layout")
@plant("weights_only_roundtrip", "resume_bitwise_disk", raises=pickle.UnpicklingError)
class SavesAnObject(Sound):
    """A state that torch.load refuses."""

    def state_of(self, p):
        state = super().state_of(p)
        state["source"] = pathlib.PurePosixPath("here")
        return state


@plant("resume_bitwise", "resume_bitwise_disk", "resume_bitwise_bf16", "dcp_fqn_roundtrip")
class CountsOutsideOfState(Sound):
    def count(self, state):
        self._num_updates = getattr(self, "_num_updates", 0) + 1
        return torch.tensor(float(self._num_updates))


@plant("deepcopy_steps", "pickle_steps")
class CountsOutsideOfPickle(CountsOutsideOfState):
    """The same: torch's own __getstate__ does not keep it."""


@plant("resume_bitwise_bf16", "high_precision_state_survives_load")
class CastsWhenLoading(Sound):
    """As torch does: state takes the parameters' type."""

    load_state_dict = torch.optim.Optimizer.load_state_dict


@plant("load_does_not_alias_or_modify")
class EditsWhatItLoads(Sound):
    def load_state_dict(self, state_dict):
        for group in state_dict["param_groups"]:
            group.pop("foreach")
        super().load_state_dict(state_dict)


@plant("load_does_not_alias_or_modify")
class SharesLoadedGroups(Sound):
    def load_state_dict(self, state_dict):
        params = [group["params"] for group in self.param_groups]
        super().load_state_dict(state_dict)
        self.param_groups = state_dict["param_groups"]
        for group, own in zip(self.param_groups, params, strict=True):
            group["params"] = own


@plant("load_older_state_dict", raises=KeyError)
class NeedsNewFlags(Sound):
    __setstate__ = torch.optim.Optimizer.__setstate__


@plant("load_python_step", raises=AttributeError)
class CountsTensorsOnly(Sound):
    def count(self, state):
        return state["step"].add_(1)


@plant("load_python_step")
class CountsNumbersAnew(Sound):
    def count(self, state):
        return super().count(state) if torch.is_tensor(state["step"]) else torch.tensor(1.0)


@plant("deepcopy_steps")
class CopiesShallow(Sound):
    def __deepcopy__(self, memo):
        return copy.copy(self)


@plant("pickle_steps", "deepcopy_steps")
class PicklesWithoutState(Sound):
    def __getstate__(self):
        return {**super().__getstate__(), "state": type(self.state)(dict)}


@plant("wrong_shape_state_rejected")
class LoadsAnything(Sound):
    def load_state_dict(self, state_dict):
        with contextlib.suppress(ValueError):
            super().load_state_dict(state_dict)


@plant("no_python_attrs_needed")
class LosesAnAttribute(Sound):
    def build(self, params, defaults):
        super().build(params, defaults)
        self.rule = "adam"


@plant("train_eval_swap", averages_weights=True)
class ForgetsItsMode(Averaging):
    """Saved in eval mode, resumed as if in train mode."""

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["is_training"] = True


@plant("train_eval_swap", averages_weights=True)
class ShowsNoAverage(Averaging):
    def eval(self):
        pass


@plant("train_eval_swap", averages_weights=True)
class SwapsTwice(Averaging):
    """eval() twice goes on."""

    def eval(self):
        super().eval()
        for group in self.param_groups:
            for p in group["params"]:
                p.data.mul_(1.001)


# Companions.


@plant("dtensor", raises=RuntimeError)
class PlainStateOfShards(Sound):
    def state_of(self, p):
        state = super().state_of(p)
        return {
            name: v.full_tensor() if hasattr(v, "full_tensor") else v for name, v in state.items()
        }


@plant("dtensor")
class MovesShardsTwice(Sound):
    def write(self, p, value, state, group):
        super().write(p, value, state, group)
        if hasattr(p, "full_tensor"):
            super().write(p, 1.001 * value, state, group)


@plant("ema_model_and_swa")
class KeepsALowestRate(Sound):
    def step_group(self, group):
        super().step_group(group)
        if "swa_lr" in group:
            group["swa_lr"] = max(group["swa_lr"], 0.5 * group["initial_lr"])
