"""The figures of a run on pictures: samples as training saw them, and the worst mistakes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from thalweg.draw.markup import Markup, join, mapping, tag
from thalweg.draw.sentences import number, percent, several

if TYPE_CHECKING:
    from thalweg.record.history import History


def gallery(history: History) -> Markup:
    """Both figures; nothing for a run on anything else."""
    found = mapping(history.results.get("gallery"))
    samples = found.get("samples") or ()
    if not samples:
        return Markup()
    kind = mapping(mapping(history.results.get("summary")).get("task")).get("kind")
    return join([_samples(samples), _worst(found.get("worst") or (), kind)])


def _samples(rows: Sequence[Mapping[str, Any]]) -> Markup:
    sentence = (
        f"{several(len(rows), 'training picture')} as the model sees them: decoded, at the size of "
        "the model's inputs, and with the augmentation of one epoch."
    )
    cells = [_cell(row, [row.get("label", "")]) for row in rows]
    return _figure("samples", "What the model sees", sentence, cells)


def _worst(rows: Sequence[Mapping[str, Any]], kind: Any) -> Markup:
    if not rows:
        return _figure("worst", "Worst mistakes", "No test picture was answered wrongly.", [])
    wrong = "answered wrongly, those" if kind == "classification" else "those"
    sentence = f"Of the test pictures {wrong} with the largest losses, the largest first."
    cells = [_cell(row, _words(row), title=str(row.get("path", ""))) for row in rows]
    return _figure("worst", "Worst mistakes", sentence, cells)


def _words(row: Mapping[str, Any]) -> list[object]:
    """The true answer, the model's with its probability, the loss, and which file it is."""
    share, loss = row.get("probability"), row.get("loss")
    sure = "" if share is None else f" ({percent(share)})"
    size = "not finite" if loss is None or not math.isfinite(loss) else number(loss)
    name = str(row.get("path", "")).replace("\\", "/").rsplit("/", 1)[-1]
    return [
        tag("b", row.get("true", "")),
        f" taken for {row.get('answer', '')}{sure}, loss {size}",
        tag("small", name),
    ]


def _cell(row: Mapping[str, Any], words: Sequence[object], title: str | None = None) -> Markup:
    image = Markup(tag("img", src=row.get("image", ""), alt=title or str(row.get("label", ""))))
    image = Markup(image.removesuffix("</img>"))
    return tag("li", image, tag("span", *words), title=title)


def _figure(name: str, title: str, sentence: str, cells: Sequence[Markup]) -> Markup:
    caption = tag("figcaption", tag("h2", title), tag("p", sentence, class_="sentence"))
    body = [tag("ul", *cells, class_="gallery")] if cells else []
    return tag("figure", caption, *body, id=name, class_="card wide")
