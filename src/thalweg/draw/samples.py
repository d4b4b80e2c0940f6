"""What a language model wrote: each prompt, and what follows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from thalweg.draw.markup import Markup, mapping, tag

LOOKS = "white-space: pre-wrap; overflow-wrap: anywhere"


def samples(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """A figure of samples; prompts stand in the validation text, and are printed bold."""
    sentence = (
        f"After {len(rows)} passages of the validation text (bold) the model wrote this, drawn at "
        "temperature 0.8."
    )
    caption = tag("figcaption", tag("h2", "Samples"), tag("p", sentence, class_="sentence"))
    texts = [_sample(mapping(row)) for row in rows]
    return tag("figure", caption, *texts, id="samples", class_="card wide")


def _sample(row: Mapping[str, Any]) -> Markup:
    prompt, text = str(row.get("prompt", "")), str(row.get("text", ""))
    return tag("pre", tag("strong", prompt), tag("span", text), class_="sample", style=LOOKS)
