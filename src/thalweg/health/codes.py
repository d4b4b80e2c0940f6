"""The table of findings: one row each, with its code, what it is called, and what to change.

A remedy is written once, in neutral words with gaps such as {lower_lr} or {clip}; `words.py` fills
them with this run's numbers in the words of the tool that made the log. The documentation of a
finding is `docs/findings/CODE.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Code:
    """A row. key: its name in code; name: in words; severity: "act" makes a run unhealthy;
    remedy: what to change, most likely cause first; needs: what a log must hold to be checked for
    it, in words, empty where a model must be at hand
    """

    code: str
    key: str
    name: str
    severity: Literal["warn", "act"]
    remedy: str
    needs: str = ""


_LIVE = ""
_LOSS = "training loss"
_BOTH = "validation loss beside a training loss"
_NORM = "gradient norms"
_EVERY = "training loss of every step"
_CLASSES = "number of classes"

CODES = {
    row.code: row
    for row in (
        # ---------------------------------------------------- numbers that break
        Code(
            "TW001",
            "nonfinite",
            "non-finite loss or gradient",
            "act",
            "{lower_lr}; if it happens again at the first steps, look for extreme values in the "
            "data",
            _LOSS,
        ),
        Code("TW002", "divergence", "divergence", "act", "{lower_lr}, or {clip}; {go_back}", _LOSS),
        Code(
            "TW003",
            "spikes",
            "loss spikes",
            "warn",
            "{clip}; look at the batches of these steps; where they come back, {lower_lr}",
            _LOSS,
        ),
        Code(
            "TW004",
            "exploding_gradient",
            "exploding gradient",
            "act",
            "{clip}, {longer_warmup}, or {lower_lr}",
            _NORM,
        ),
        Code(
            "TW005",
            "vanishing_gradient",
            "vanishing gradient",
            "act",
            "use ReLU-like units, a normalisation between layers, or residual connections; initial "
            "weights with variance 2 / inputs",
            "gradient norms of the layers",
        ),
        # ---------------------------------------------------- the descent
        Code("TW101", "lr_too_high", "learning rate too high", "act", "{lower_lr}", _LOSS),
        Code("TW102", "lr_too_low", "learning rate too low", "act", "{raise_lr}", _LOSS),
        Code(
            "TW103",
            "plateau",
            "plateau",
            "warn",
            "{lower_lr} from here on (a plateau that noise keeps up gives way within an epoch); "
            "else more width or other features: more steps alone bring little",
            _CLASSES,
        ),
        Code(
            "TW104",
            "stuck_at_chance",
            "stuck at chance",
            "act",
            "check that inputs and targets belong together and that the loss reaches the weights; "
            "try to overfit 16 samples: a model that cannot has a bug, not a bad setting; then "
            "{other_lr}",
            _LOSS,
        ),
        Code(
            "TW105",
            "schedule_fault",
            "schedule fault",
            "act",
            "{schedule}",
            "learning rates",
        ),
        Code(
            "TW106",
            "weight_decay_too_strong",
            "weight decay too strong",
            "act",
            "{lower_decay}",
            "norms of the parameters",
        ),
        Code(
            "TW107",
            "batch_too_small",
            "gradient mostly noise",
            "warn",
            "{larger_batch}, or accumulate gradients over several batches",
            "batch size",
        ),
        # ---------------------------------------------------- the data
        Code(
            "TW201",
            "overfitting",
            "overfitting",
            "act",
            "{keep_best} {more_decay}, dropout, augmentation or more data",
            _BOTH,
        ),
        Code(
            "TW202",
            "underfitting",
            "underfitting",
            "warn",
            "a larger model, {less_decay}, less dropout, or longer training",
            _CLASSES,
        ),
        Code(
            "TW203",
            "label_noise",
            "labels that do not fit their inputs",
            "act",
            "look at the samples with the largest losses; check that the file's rows and labels "
            "were not shuffled apart; where they belong together, there are too few samples for "
            "what is learnt: fewer inputs, a smaller model, or more data",
            _BOTH,
        ),
        Code(
            "TW204",
            "class_imbalance",
            "a class that is never predicted",
            "act",
            "weight the classes {class_weights}, and watch balanced accuracy or recall instead of "
            "accuracy",
            "balanced accuracy beside an accuracy",
        ),
        Code(
            "TW205",
            "leakage",
            "leakage between splits",
            "act",
            "{no_leak}",
            _CLASSES,
        ),
        Code(
            "TW206",
            "unshuffled",
            "batches in an order that matters",
            "act",
            "shuffle the samples each epoch {shuffle}",
            _EVERY,
        ),
        Code(
            "TW207",
            "repeated_batches",
            "the same batches again and again",
            "act",
            "check the sampler: each epoch must see every sample {shuffle}",
            _EVERY,
        ),
        Code(
            "TW208",
            "unnormalised_inputs",
            "inputs of very different size",
            "act",
            "subtract each column's mean and divide by its standard deviation, measured on the "
            "training part",
            _LIVE,
        ),
        Code(
            "TW209",
            "forgetting",
            "forgetting of the earlier task",
            "act",
            "{lower_lr}, freeze the lower layers, or mix in samples of the earlier task",
            "score on the earlier task",
        ),
        # ---------------------------------------------------- the model
        Code(
            "TW301",
            "dead_units",
            "dead units",
            "act",
            "{lower_lr}; else a unit that never dies, such as leaky ReLU or GELU; check the "
            "biases at the start",
            "share of dead units",
        ),
        Code(
            "TW302",
            "saturated_units",
            "saturated units",
            "act",
            "smaller initial weights, normalised inputs, a normalisation between layers; or units "
            "that do not saturate",
            "share of saturated units",
        ),
        Code(
            "TW303",
            "bad_initialisation",
            "bad initialisation",
            "act",
            "draw each layer's weights with variance 2 / inputs (torch's own initialisation is of "
            "this kind), no layer all alike",
            _LIVE,
        ),
        Code(
            "TW304",
            "no_normalisation",
            "a deep net without normalisation",
            "warn",
            "put batch norm or layer norm between the layers, or residual connections around them",
            _LIVE,
        ),
        Code(
            "TW305",
            "loss_mismatch",
            "loss and last layer that do not belong together",
            "act",
            "{pairing}",
            _LIVE,
        ),
        Code(
            "TW306",
            "wrong_mode",
            "batch norm or dropout in the wrong mode",
            "act",
            "call model.train() before the training steps and model.eval() before an evaluation",
            _LIVE,
        ),
        Code(
            "TW307",
            "not_trained",
            "parameters that are not trained",
            "act",
            "give the optimizer all parameters, after the last change to the model: "
            "optimizer(model.parameters()); register layers in nn.ModuleList, not in a list",
            _LIVE,
        ),
        Code(
            "TW308",
            "no_zero_grad",
            "gradients that are never zeroed",
            "act",
            "call optimizer.zero_grad() before each backward pass",
            _LIVE,
        ),
        Code(
            "TW309",
            "detached",
            "a graph that is cut",
            "act",
            "look for .detach(), .item(), .numpy(), torch.no_grad() or argmax between these "
            "parameters and the loss",
            _LIVE,
        ),
        Code(
            "TW310",
            "all_masked",
            "labels that are all masked",
            "act",
            "check the label mask (ignore_index): at least one label of each batch must count",
            _LIVE,
        ),
        # ---------------------------------------------------- arithmetic and machine
        Code(
            "TW401",
            "lost_updates",
            "updates lost to rounding",
            "act",
            "keep the weights in float32 {master_weights}, or round stochastically",
            _LIVE,
        ),
        Code(
            "TW402",
            "skipped_steps",
            "steps skipped for overflow",
            "act",
            "use bf16 instead of fp16 {precision}, or look for what overflows",
            "loss scale or count of skipped steps",
        ),
        Code(
            "TW403",
            "truncated",
            "run cut short",
            "warn",
            "{resume}",
            "number of planned steps",
        ),
        Code(
            "TW404",
            "stalled_throughput",
            "steps that became slow",
            "warn",
            "look at what reads the data and at what else runs on the machine at these times",
            "times of the steps",
        ),
    )
}
"""By code."""

BY_KEY = {row.key: row for row in CODES.values()}

NON_FINITE, DIVERGENCE = CODES["TW001"], CODES["TW002"]

NON_FINITE_AT_ONCE = (
    "no update had been made yet, so the learning rate is not the cause: look for values in the "
    "data that are NaN, infinite or extreme, and for a loss that cannot take these outputs"
)
"""The advice for TW001 where it stands at the first step."""
