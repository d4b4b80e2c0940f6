"""Arithmetic and machine: updates lost, steps skipped, a run cut short, steps that become slow."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.healthbench.planted.row import MID, START, Planted
from benchmarks.healthbench.program import Program
from benchmarks.healthbench.recipes import Recipe


def half_weights(recipe: Recipe, share: float) -> Recipe:
    """Weights held in bfloat16, and a rate whose updates are less than their last digit."""
    return replace(recipe, precision="bf16", lr=recipe.lr * share)


def half(recipe: Recipe, _: float) -> Recipe:
    return replace(recipe, precision="fp16")


def overflow(program: Program, share: float) -> None:
    """Something in the backward pass overflows, whatever the scale, in so many of the steps."""

    def spoil(step: int) -> None:
        if step >= program.onset and program.random.random() < share:
            for p in program.model.parameters():
                if p.grad is not None:
                    p.grad.view(-1)[0] = float("inf")
                    return

    program.gradients.append(spoil)


def cut(program: Program, share: float) -> None:
    """The log ends after this share of the planned steps."""
    program.end = int(program.end * share * program.random.uniform(0.9, 1.1))
    program.onset = program.end


def slow(program: Program, amount: float) -> None:
    """From the onset on every step takes longer, or more and more, or every so often."""
    onset, length = program.onset, program.end
    kind = program.random.choice(["at once", "more and more", "now and then"])
    program.notes["slowness"] = str(kind)

    def slowness(step: int) -> float:
        if step < onset:
            return 1.0
        if kind == "at once":
            return amount
        if kind == "more and more":
            return 1 + 2 * (amount - 1) * (step - onset) / (length - onset)
        return 12 * amount if (step - onset) % 12 < 2 else 1.0

    program.slowness = slowness


FAULTS = (
    Planted("lost-updates", ("TW401", "TW102", "TW103"), (0.3,), (0.02,), recipe=half_weights),
    Planted(
        *("skipped-steps", ("TW402",), (0.8,), (1.0,)),
        recipe=half,
        plant=overflow,
        when=(START, MID),
        rule="definition",
    ),
    Planted("truncated", ("TW403",), (0.7,), (0.4,), plant=cut, rule="definition"),
    Planted("slow-steps", ("TW404",), (3.0,), (10.0,), plant=slow, when=(MID,), rule="definition"),
)
