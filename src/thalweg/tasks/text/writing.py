"""A language model writes: one byte after the other, each drawn under the seed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from thalweg.keys import Purpose, key
from thalweg.tasks.measure import evaluating

BEGINNING = b"\n"
"""What an empty prompt stands for: the beginning of a line."""


@torch.no_grad()
def written(
    model: nn.Module,
    prompts: Sequence[bytes],
    *,
    length: int,
    context: int,
    temperature: float,
    seed: int,
) -> list[bytes]:
    """The next `length` bytes of prompts that are equally long.

    context: bytes that the model sees at most; temperature: 0 takes the likeliest byte each time
    """
    generator = torch.Generator().manual_seed(key(Purpose.WRITING, seed))
    device = next(p.device for p in model.parameters())
    ids = torch.tensor([list(prompt or BEGINNING) for prompt in prompts], device=device)
    with evaluating(model):
        for _ in range(length):
            logits = model(ids[:, -context:])[:, :, -1].float().cpu()
            ids = torch.cat([ids, _drawn(logits, temperature, generator).to(device)], dim=1)
    return [bytes(row[-length:] if length else []) for row in ids.tolist()]


def _drawn(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """A byte for each row, (n, 1)."""
    if temperature == 0:
        return logits.argmax(dim=1, keepdim=True)
    chances = torch.softmax(logits.double() / temperature, dim=1)
    return torch.multinomial(chances, 1, generator=generator)
