"""What docs/optimizers.md says of each optimizer besides its rows: when to choose it, and where
libraries mean something else by its name.

The distances were measured in float64 against torch.optim: how far apart two libraries end, divided
by how far torch has come.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Note:
    """Two short texts in Markdown; differs may be empty."""

    when: str
    differs: str = ""


NOTES: dict[str, Note] = {
    "SGD": Note(
        when="You can afford to tune the learning rate, or follow a recipe that has: picture "
        "networks with `momentum=0.9` and a falling rate are its home. Without momentum it keeps "
        "no state at all, and its formula is the one to learn from.",
        differs="Keras keeps lr inside the momentum buffer: the path is the same at a constant "
        "rate, and another one while the rate changes.",
    ),
    "Adagrad": Note(
        when="Features that are rare and count when they come: bags of words, clicks, sparse "
        "embeddings. Its steps only get smaller, so long runs of deep networks come to a halt.",
        differs="Keras and optax end 0.76 away: they start the sum at 0.1, torch and thalweg at 0. "
        "`initial_accumulator_value=0.1` is theirs.",
    ),
    "RMSprop": Note(
        when="A recipe asks for it (reinforcement learning, recurrent networks). Otherwise AdamW, "
        "which also corrects the first steps.",
        differs="Keras and optax end 0.51 away: eps stands under the root there and outside it "
        "here, and their decay is 0.9 where `alpha` is 0.99.",
    ),
    "Adam": Note(
        when="You have no weight decay, or reproduce somebody's run. With weight decay choose "
        "AdamW: here the decay is divided by the root of v like any gradient, so that it hardly "
        "holds parameters whose gradients are large.",
        differs="With weight decay bitsandbytes and Keras end 0.92 away: what they call Adam then "
        "is AdamW. `decoupled_weight_decay=True` is theirs.",
    ),
    "AdamW": Note(
        when="You do not know what to choose. It is the default of `fit`, and what most published "
        "recipes for transformers and tables use.",
        differs="The same formula everywhere, and another default decay: 0.01 in torch and here, "
        "0.004 in Keras, 0.0001 in optax. Say which you mean.",
    ),
    "Adadelta": Note(
        when="Rarely: to reproduce old results. It needs no rate in the unit of the parameters, "
        "but its first steps are tiny, of the order of sqrt(eps).",
        differs="Keras's default rate is 0.001, torch's 1.0: with Keras's it hardly moves.",
    ),
    "Adamax": Note(
        when="Gradients that are mostly zero with rare large values, such as embeddings: one large "
        "gradient is forgotten more evenly than by a mean of squares.",
        differs="Keras adds eps to the divisor, torch and thalweg to the size of each gradient.",
    ),
    "NAdam": Note(
        when="AdamW works and you want somewhat faster progress at the same rate; with "
        "`decoupled_weight_decay=True` it is of the kind that is AlgoPerf's baseline.",
        differs="Every library has its own: against torch optax ends 0.43 away, timm 0.53, Keras "
        "0.16. `variant=\"constant\"` is optax's formula, `momentum_decay=1.0` Keras's.",
    ),
    "RAdam": Note(
        when="Adam without a warm-up: its first steps are plain averages of the gradient, until "
        "the mean of squares can be trusted. With a warm-up you do not need it.",
        differs="The paper begins to divide when its measure of trust passes 4, torch and thalweg "
        "when it passes 5.",
    ),
    "Lion": Note(
        when="Memory is short (one state, where Adam has two) and batches are large. Every element "
        "moves by lr, so lr is a third to a tenth of AdamW's, and the decay as many times larger.",
    ),
    "LAMB": Note(
        when="Very large batches (thousands of samples), where AdamW's rate cannot be raised "
        "further: each tensor moves in proportion to its own size.",
        differs="timm leaves tensors without weight decay out of the scaling; here every tensor "
        "that is not zero is scaled.",
    ),
    "Prodigy": Note(
        when="You want no search for a learning rate. On a language model of characters it reached "
        "a validation loss of 2.00 untouched; AdamW tuned over 6 rates with a cosine schedule "
        "reached 2.00, at its default rate 2.17 (one seed).",
    ),
    "ScheduleFreeSGD": Note(
        when="As ScheduleFreeAdamW, for problems on which SGD with momentum is at home. The rate "
        "still has to be found; it is larger than SGD's.",
    ),
    "ScheduleFreeAdamW": Note(
        when="You do not know how long the run will be, so that no schedule can be planned: its "
        "average is good at every moment. It won AlgoPerf's self-tuning track (0.8542; the NAdamW "
        "baseline has 0.8194), and reached 1.94 on the language model of characters on which tuned "
        "AdamW with a cosine schedule reached 2.00 (one seed).",
    ),
    "Muon": Note(
        when="The hidden matrices of transformers and of other networks that are mostly matrices. "
        "Embeddings, heads, biases and gains belong to AdamW.",
        differs="Libraries end 0.21 to 0.68 away from torch: they scale the rate by other "
        "functions of the matrix's shape, and use other polynomials.",
    ),
    "Adafactor": Note(
        when="The optimizer's memory is what does not fit: for a matrix it remembers a row and a "
        "column of squares.",
    ),
}
"""By the name of the class. An optimizer without a note is shown without these two paragraphs."""
