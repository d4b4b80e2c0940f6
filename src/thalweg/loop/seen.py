"""Seen: the samples that a model is given, in training and in evaluations, as plain counts.

Tensors are taken in as they come and wait where they are; they are read when facts are asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from thalweg.loop.known import Known
from thalweg.loop.sizes import Sizes
from thalweg.loop.telling import FEWEST, MOST, MOST_COLUMNS, telling_of
from thalweg.loop.together import Together
from thalweg.probes.rows import MOST_ROWS, prints_of
from thalweg.sample_facts import Overlap, Recent, Samples, Telling

WINDOW = 30
"""Batches among which the same ones are looked for."""

MOST_PASSES = 512
BLOCK = 32
"""Rows of a block in which equals are counted, so that small batches are put together."""

FEWEST_ROWS = 20
FEW, MANY = 0.1, 0.97
"""Shares of a pass's rows that were trained on: hardly any, nearly all."""

FEWEST_PLACES = 8
"""Rows of a batch in which one that fills half of the places stands out."""

WHOLE = 1.8
"""Times that a row has come, on average, when training has come round."""


@dataclass(slots=True)
class _Batch:
    step: int
    place: int
    size: int
    prints: Tensor
    values: Tensor | None
    targets: Tensor | None = None
    ignored: int | None = None


@dataclass(slots=True)
class _Evaluation:
    step: int
    place: int
    is_told: bool = False
    rows: int = 0
    passes: list[Tensor] = field(default_factory=list)
    overlap: Overlap | None = None


class Seen:
    """Counts. Nothing of what is given is changed, and nothing of it is kept after `facts`.

    >>> seen = Seen()
    >>> for step in range(1, 4):
    ...     seen.trained(step, [torch.arange(8.0).view(4, 2)], torch.tensor([0, 1, 1, 0]))
    >>> _ = seen.evaluated(3, [torch.arange(60.0).view(30, 2)])
    >>> facts = seen.facts()
    >>> facts.rows, facts.different, facts.overlap.rows, facts.overlap.shared
    (12, 4, 30, 4)
    """

    def __init__(self) -> None:
        self.num_waiting = 0
        """Rows that wait to be read."""
        self._waiting: list[_Batch] = []
        self._evaluations: deque[_Evaluation] = deque(maxlen=2)
        self._num_evaluations = 0
        self._step = 0
        self._place = 0
        self._known = Known()
        self._together: Together | None = None
        self._window: deque[tuple[int, int, np.ndarray]] = deque(maxlen=WINDOW)
        self._block: list[np.ndarray] = []
        self._twins = self._pairs = 0.0
        self._labelled = self._masked = self._first_masked = 0
        self._last_targets: np.ndarray | None = None
        self._num_same = self._num_compared = 0
        self._kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._num_kept = 0
        self._telling: Telling | None = None
        self._sizes = Sizes()
        self._num_batches = 0
        self._num_filled = 0
        self._filling: set[int] = set()

    # ------------------------------------------------------------ taking in

    def skipped(self, num: int) -> None:
        """So many batches were trained on that nobody looked at."""
        self._place += num

    def trained(
        self,
        step: int,
        inputs: Sequence[Tensor],
        targets: Tensor | None = None,
        *,
        ignored: int | None = -100,
    ) -> None:
        """A batch that is trained on, of which step. ignored: the class that does not count"""
        self._step = step
        self._place += 1
        self._sizes.trained(inputs)
        size = len(inputs[0])
        prints = prints_of(inputs)
        is_first = self._num_kept < MOST and len(inputs) == 1
        keeps = is_first and inputs[0].numel() <= size * MOST_COLUMNS
        values = inputs[0].detach()[:MOST].reshape(min(MOST, size), -1).clone() if keeps else None
        self._waiting.append(_Batch(step, self._place, size, prints, values))
        self._num_kept += size if keeps else 0
        self.num_waiting += len(prints)
        if targets is not None:
            self.answered(targets, ignored)

    def answered(self, targets: Tensor, ignored: int | None = -100) -> None:
        """The targets of the batch that was taken in last, as far as they fit its rows."""
        batch = self._waiting[-1] if self._waiting else None
        if batch is not None and batch.targets is None and targets.numel() % batch.size == 0:
            rows = targets.detach().reshape(batch.size, -1)[:MOST_ROWS]
            is_long = rows.shape[1] > MOST_COLUMNS
            batch.targets = None if is_long else rows.clone()
            batch.ignored = ignored

    def evaluated(self, step: int, inputs: Sequence[Tensor]) -> bool:
        """A pass without gradients after a step. Has its evaluation had rows enough by now?"""
        last = self._evaluations[-1] if self._evaluations else None
        if last is None or last.step != step or last.overlap is not None:
            last = _Evaluation(step, self._place)
            self._evaluations.append(last)
            self._num_evaluations += 1
        self._sizes.evaluated(inputs)
        if last.rows < MOST_ROWS and len(last.passes) < MOST_PASSES:
            last.passes.append(prints_of(inputs)[: MOST_ROWS - last.rows])
            last.rows += len(last.passes[-1])
        return last.rows >= MOST_ROWS

    def told(self, step: int) -> None:
        """The passes after this step were an evaluation on rows that are not to be trained on."""
        if self._evaluations and self._evaluations[-1].step == step:
            self._evaluations[-1].is_told = True

    # ------------------------------------------------------------ reading

    def facts(self) -> Samples:
        """All of it so far."""
        self._read()
        known, together = self._known, self._together
        overlap = self._overlap()
        is_placed = self._num_compared >= 3 and self._num_same > self._num_compared / 2
        facts = Samples(
            step=self._step,
            rows=known.rows,
            different=known.different,
            twins=self._twin_chance(2.0) * known.different,
            least_twins=self._twin_chance(-2.0) * known.different,
            overlap=overlap,
            new=0 if overlap is None else overlap.rows - overlap.shared,
            recent=self._recent(),
            telling=None if is_placed else self._find_telling(),
            masked=self._masked,
            labelled=self._labelled,
            first_masked=self._first_masked,
            apart=self._sizes.facts(),
            few=known.few,
            batches=self._num_batches,
            filled=self._num_filled,
            filling=len(self._filling),
        )
        if together is None or is_placed:
            return facts
        return self._with_targets(facts, together)

    def _with_targets(self, facts: Samples, together: Together) -> Samples:
        alike, error = together.alike
        common = together.counts.most_common()
        return replace(
            facts,
            again=self._known.again,
            differing=self._known.differing,
            counts=tuple(count for _, count in common),
            rarest=self._known.of_class(common[-1][0]) if common else 0,
            alike=alike,
            alike_error=error,
            next_alike=together.next_alike,
            are_classes=together.are_classes,
            target_batches=together.num_batches,
        )

    @torch.no_grad()
    def _read(self) -> None:
        """In the order in which it came: evaluations are held against what came before them."""
        waiting, self._waiting = self._waiting, []
        self.num_waiting = 0
        prints = _on_host([batch.prints for batch in waiting])
        both = list(zip(waiting, prints, strict=True))
        for each in self._evaluations:
            if each.passes:
                before = [pair for pair in both if pair[0].place <= each.place]
                both = both[len(before) :]
                self._take(before)
                self._resolve(each)
        self._take(both)

    def _take(self, batches: Sequence[tuple[_Batch, np.ndarray]]) -> None:
        labels = []
        for batch, rows in batches:
            labels.append(self._targets(batch, rows))
            self._look_for_copies(rows)
            self._add_to_window(batch, rows)
            self._add_to_block(rows)
        for rows, classes in _joined([rows for _, rows in batches], labels):
            self._known.add(rows, classes)

    def _resolve(self, each: _Evaluation) -> None:
        """Count its rows that were trained on; passes on one of the last batches are left out."""
        passes = [rows for rows in _on_host(each.passes) if self._is_new(rows)]
        each.passes.clear()
        if not passes:
            return
        rows, shared = self._known.shared(np.concatenate(passes))
        counts = [self._known.shared(of_pass) for of_pass in passes]
        shares = [few / num for num, few in counts if num >= FEWEST_ROWS]
        is_apart = any(s < FEW for s in shares) and any(s > MANY for s in shares)
        is_whole = self._known.rows >= WHOLE * self._known.different
        each.overlap = Overlap(each.step, rows, shared, False, is_apart, is_whole)

    def _targets(self, batch: _Batch, rows: np.ndarray) -> np.ndarray | None:
        """Take in a batch's targets; its classes, one a row, where it has such."""
        if batch.targets is None:
            return None
        targets = batch.targets.cpu()
        targets = (targets.float() if targets.is_floating_point() else targets.long()).numpy()
        is_whole = targets.dtype == np.int64
        if is_whole:
            self._count_masked(batch, targets)
        is_single = targets.shape[1] == 1
        if batch.values is not None and (is_single or is_whole) and self._is_new(rows):
            values = batch.values.cpu().double().numpy()
            few = targets[: len(values)]
            self._kept.append((rows[: len(values)], values, few[:, 0] if is_single else few))
        if not is_single:
            return None
        targets = targets[:, 0]
        is_flag = not is_whole and bool(np.isin(targets, (0, 1)).all())
        if self._together is None:
            self._together = Together(are_classes=is_whole or is_flag)
        are_classes = self._together.are_classes
        if are_classes:
            if not (is_whole or is_flag):  # flags that turned out to be numbers
                self._together = Together(are_classes=False)
                return None
            targets = targets.astype(np.int64)
            self._compare(targets)
            if batch.ignored is not None and (targets == batch.ignored).any():
                return None
        self._together.add(batch.place, targets)
        return targets if are_classes else None

    def _count_masked(self, batch: _Batch, targets: np.ndarray) -> None:
        self._labelled += 1
        if batch.ignored is not None and (targets == batch.ignored).all():
            self._masked += 1
            self._first_masked = self._first_masked or batch.step

    def _compare(self, targets: np.ndarray) -> None:
        """Labels that are the same in each batch, whatever goes in, are places and not classes."""
        before, self._last_targets = self._last_targets, targets
        if before is not None and len(before) == len(targets) and targets.min() < targets.max():
            self._num_compared += 1
            self._num_same += bool((before == targets).all())

    def _is_new(self, rows: np.ndarray) -> bool:
        """Are these not the rows of one of the last batches?"""
        whole = int(rows.sum())
        return all(whole != other for _, other, _ in self._window)

    def _add_to_window(self, batch: _Batch, rows: np.ndarray) -> None:
        whole = int(rows.sum())
        last = self._window[-1] if self._window else None
        if last is None or last[:2] != (batch.step, whole):
            self._window.append((batch.step, whole, rows))

    def _add_to_block(self, rows: np.ndarray) -> None:
        """Count rows that are equal within a block: by the data's nature, as no epoch is over."""
        self._block.append(rows)
        if sum(map(len, self._block)) >= BLOCK:
            block = np.concatenate(self._block)
            self._block.clear()
            counts = np.unique(block, return_counts=True)[1].astype(np.float64)
            self._twins += float((counts * (counts - 1)).sum())
            self._pairs += len(block) * (len(block) - 1.0)

    def _look_for_copies(self, rows: np.ndarray) -> None:
        """Does one row fill half of the places of a batch?"""
        if len(rows) < FEWEST_PLACES:
            return
        found, counts = np.unique(rows, return_counts=True)
        self._num_batches += 1
        if 2 * counts.max() >= len(rows):
            self._num_filled += 1
            self._filling.add(int(found[counts.argmax()]))

    def _twin_chance(self, errors: float) -> float:
        """The chance that two rows are equal, and so many errors above it."""
        if not self._pairs:
            return 1.0 if errors > 0 else 0.0
        found = self._twins / 2
        return max(0.0, found + errors * (found**0.5 + 1)) / (self._pairs / 2)

    # ------------------------------------------------------------ facts

    def _overlap(self) -> Overlap | None:
        """Of the last evaluation; one that was told goes before."""
        is_usual = self._num_evaluations > max(5, 0.3 * self._place)
        told = [each for each in self._evaluations if each.is_told]
        able = told or ([] if is_usual else self._evaluations)
        found = [replace(e.overlap, is_told=e.is_told) for e in able if e.overlap is not None]
        return found[-1] if found else None

    def _recent(self) -> Recent | None:
        if len(self._window) < WINDOW:
            return None
        each = {whole: rows for _, whole, rows in self._window}
        if len(each) > WINDOW / 2 or any(2 * len(np.unique(r)) < len(r) for r in each.values()):
            return None  # of the second kind are inputs that are all the same
        rows = len(np.unique(np.concatenate(list(each.values()))))
        before = max(0, self._known.different - rows)
        return Recent(self._window[0][0], WINDOW, len(each), rows, before)

    def _find_telling(self) -> Telling | None:
        """Looked for once, when there are samples enough."""
        if self._kept and sum(len(rows) for rows, _, _ in self._kept) >= MOST:
            kept, self._kept = self._kept, []
            if len({(values.shape[1:], targets.shape[1:]) for _, values, targets in kept}) == 1:
                prints, values, targets = map(np.concatenate, zip(*kept, strict=True))
                num = len(np.unique(prints))
                is_small = num < FEWEST and self._twin_chance(2.0) * num < 0.5
                are_classes = self._together is None or self._together.are_classes
                if not is_small:  # a small set that came round
                    self._telling = telling_of(values, targets, are_classes=are_classes)
        return self._telling


def _on_host(parts: Sequence[Tensor]) -> list[np.ndarray]:
    """Read in one go, where they are in one place."""
    if len({part.device for part in parts}) > 1:
        parts = [part.cpu() for part in parts]
    if not parts:
        return []
    whole = torch.cat(list(parts)).cpu().numpy()
    return np.split(whole, np.cumsum([len(part) for part in parts])[:-1])


def _joined(
    blocks: Sequence[np.ndarray], labels: Sequence[np.ndarray | None]
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Those with classes in one piece, those without in another."""
    found: list[tuple[np.ndarray, np.ndarray | None]] = []
    known = [(rows, each) for rows, each in zip(blocks, labels, strict=True) if each is not None]
    other = [rows for rows, each in zip(blocks, labels, strict=True) if each is None]
    if known:
        found.append((np.concatenate([r for r, _ in known]), np.concatenate([c for _, c in known])))
    if other:
        found.append((np.concatenate(other), None))
    return found
