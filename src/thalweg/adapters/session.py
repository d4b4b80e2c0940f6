"""One training in another tool's loop: the monitor, the guard and the record, opened and closed
together. The callbacks translate; what is done is done here and below.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from thalweg.errors import UsageError
from thalweg.health.diagnosis import diagnose
from thalweg.health.explained import unexplained
from thalweg.jobs.results import verdict_object
from thalweg.loop.alerts import Alert, plain
from thalweg.loop.beside import Beside
from thalweg.loop.monitor import Monitor
from thalweg.loop.told import in_words
from thalweg.record import Memory, Record
from thalweg.record.as_log import as_log
from thalweg.record.files import find
from thalweg.record.foreign.log import Log, Series
from thalweg.state import folder as files
from thalweg.state.folder import Folder
from thalweg.types import Evaluation, Event, Finding, Mode, Step, Verdict

SHARE = 0.01
"""Of the time of the steps that the monitor's later looks may take."""


def say(text: str) -> None:
    """A line on stderr; above a progress bar of tqdm's, where there may be one."""
    bars = sys.modules.get("tqdm")
    if bars is None:
        print(f"thalweg: {text}", file=sys.stderr)
    else:
        bars.tqdm.write(f"thalweg: {text}", file=sys.stderr)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a callback was asked for. folder: of the record; None: kept in memory alone"""

    folder: Path | None
    guard: Mode
    alert: Alert | str | None
    tell: Callable[[str], None] | None

    @classmethod
    def of(
        cls,
        folder: str | os.PathLike[str] | None,
        guard: Mode,
        alert: Alert | str | None,
        tell: Callable[[str], None] | None,
    ) -> Wanted:
        """Raises UsageError for a mode that there is not."""
        if guard not in get_args(Mode):
            raise UsageError(f"guard is {guard!r}: it must be {', '.join(get_args(Mode))}")
        place = None if folder is None else Path(folder)
        return cls(folder=place, guard=guard, alert=alert, tell=tell)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """What a callback knows of its trainer's loop.

    tool: in whose words advice is given; settings: in ours; number: steps taken before
    rank, num_processes: of this process and in all; is_sharded: no process has whole gradients
    """

    model: nn.Module
    optimizers: Sequence[torch.optim.Optimizer]
    tool: str
    settings: Mapping[str, Any]
    number: int = 0
    scaler: Any = None
    rank: int = 0
    num_processes: int = 1
    is_sharded: bool = False


class Nowhere:
    """Takes what a Record takes, and keeps nothing: of processes that do not write."""

    def steps(self, steps: Sequence[Step]) -> None: ...
    def evaluation(self, evaluation: Evaluation) -> None: ...
    def event(self, event: Event) -> None: ...
    def scalars(self, number: int, values: Mapping[str, float]) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class Session:
    """Open from the start of a training to its end. Only rank 0 looks, tells and writes."""

    def __init__(self, wanted: Wanted, loop: Loop):
        self._wanted = wanted
        self._loop = loop
        is_main = loop.rank == 0
        self._tell = wanted.tell if is_main else None
        mode = self._possible(wanted.guard)
        self._record = _opened(wanted.folder, loop, self._say) if is_main else None
        self._guard = Beside(
            loop.model,
            loop.optimizers[-1],
            mode=mode,
            record=self._record or Nowhere(),
            number=loop.number,
            scaler=loop.scaler,
            is_alone=loop.num_processes == 1,
        )
        self._alert = Alert(wanted.alert) if isinstance(wanted.alert, str) else wanted.alert
        self._monitor = self._looking() if is_main else None

    def _possible(self, mode: Mode) -> Mode:
        """The mode of the guard that this loop allows; says so where it is not the one wanted."""
        loop, possible, why = self._loop, mode, ""
        if loop.is_sharded:
            why, possible = "gradients are sharded", "off"
        elif len(loop.optimizers) > 1:
            why, possible = "there are several optimizers", "off"
        elif isinstance(loop.optimizers[0], torch.optim.LBFGS):
            why, possible = "LBFGS takes several gradients a step", "off"
        elif mode == "act" and loop.num_processes > 1:
            why, possible = "there are several processes", "advise"
        if possible != mode:
            self._say(f"guard: {possible} in place of {mode}, for {why}")
        return possible

    def _looking(self) -> Monitor:
        begun = self._loop.number
        before = f"after step {begun:,}, " if begun else ""
        tell = None if self._tell is None else lambda text: self._say(before + text)
        monitor = Monitor(
            self._loop.model,
            self._loop.optimizers,
            tell=tell,
            alert=self._alert,
            share=SHARE,
            settings=self._loop.settings,
            tool=self._loop.tool,
        )
        return monitor.__enter__()

    def _say(self, text: str) -> None:
        if self._tell is not None:
            self._tell(text)

    # ------------------------------------------------------------ what the loop tells

    def saw_loss(self, loss: Tensor) -> None:
        """Of a micro-batch, with its graph; the mean over those of a step is the step's."""
        self._guard.saw_loss(loss)
        if self._monitor is not None:
            self._monitor(loss)

    def before_step(self, norm: Tensor | float | None = None) -> None:
        """All gradients stand. norm: theirs before the trainer clipped them, if it has"""
        self._guard.before_step(norm)

    def after_step(self, *, samples: int = 0, epoch: float = 0.0) -> None:
        """The step is over."""
        self._guard.after_step(samples=samples, epoch=epoch)
        for event in self._guard.news():
            self._say(event.text)

    def evaluation(self, values: Mapping[str, float]) -> None:
        """An evaluation was made; its loss is called loss."""
        if self._monitor is None or self._record is None or not values:
            return
        self._monitor.evaluation(**values)
        self._record.evaluation(Evaluation(self._guard.number, "validation", values))

    @property
    def number(self) -> int:
        return self._guard.number

    @property
    def is_stopped(self) -> bool:
        """Does the guard want the training to end?"""
        return self._guard.is_stopped

    # ------------------------------------------------------------ what came of it

    def _structural(self) -> list[Finding]:
        """What the monitor saw of the model itself, at steps of the whole run."""
        begun = self._loop.number
        found = [] if self._monitor is None else self._monitor.findings
        return [
            replace(each, since_step=each.since_step + begun)
            for each in found
            if "what" in each.evidence
        ]

    def verdict(self) -> Verdict:
        """Of the structure, and of the curves of the whole record, earlier attempts included."""
        if self._monitor is None or self._record is None:
            return Verdict("unknown", "the first process looks, and this is another one")
        log = _joined(as_log(self._record.history(), str(self._wanted.folder)), self._monitor.log)
        log.settings, log.tool = self._loop.settings, self._loop.tool
        read, mine = diagnose(log), self._structural()
        words = [str(each.evidence["what"]) for each in mine]
        sentence = "; ".join(filter(None, (*words, read.sentence)))
        missing = (*self._monitor.not_seen(), *read.not_checkable)
        more = unexplained(mine, read.findings)
        return Verdict(read.state, sentence, (*mine, *more), missing)

    def close(self) -> Verdict:
        """End in order or not: no hook left, the last words, the record closed, the folder sealed.
        Never raises what would end a training that went well.
        """
        verdict = Verdict("unknown", "the end could not be judged")
        try:
            self._guard.close()
            if self._monitor is not None:
                self._monitor.__exit__(None)
            verdict = self._last_words()
        except Exception as error:
            self._say(f"the end could not be judged: {type(error).__name__}: {error}")
        finally:
            self._shut(verdict)
        return verdict

    def _last_words(self) -> Verdict:
        for event in self._guard.news():
            self._say(event.text)
        if self._record is not None:
            self._record.flush()
        verdict = self.verdict()
        known = set() if self._monitor is None else {each.code for each in self._monitor.findings}
        for finding in verdict.findings:
            if finding.code not in known:
                self._say(in_words(finding))
                if self._alert is not None:
                    self._alert.send(finding)
        if self._record is not None:
            self._say(str(verdict))
        return verdict

    def _shut(self, verdict: Verdict) -> None:
        """A record of which rows were lost is not sealed: its run stays unfinished."""
        try:
            if self._record is not None:
                self._record.close()
                self._seal(verdict)
        except UsageError as error:
            self._say(str(error))
        except OSError as error:
            self._say(f"{self._wanted.folder} could not be sealed: {error.strerror}")
        finally:
            if self._alert is not None:
                self._alert.close()

    def _seal(self, verdict: Verdict) -> None:
        if self._wanted.folder is not None:
            folder = Folder(self._wanted.folder)
            text = json.dumps(plain(verdict_object(verdict)), indent=1) + "\n"
            folder.write(files.VERDICT, text)
            folder.seal()


def _opened(place: Path | None, loop: Loop, say: Callable[[str], None]) -> Record | Memory:
    """The record: a new one, or that of the run that goes on. Raises UsageError where there is a
    record already and the training begins anew.
    """
    if place is None:
        return Memory()
    if loop.number and find(place) is not None:
        with Folder(place).gone_on_with():
            record = Record.reopen(place, from_step=loop.number, on_error=say)
    else:
        record = Record(place, on_error=say)
    kept = {k: v for k, v in loop.settings.items() if isinstance(v, str | int | float | bool)}
    record.facts(settings=kept, environment={"tool": loop.tool, "torch": torch.__version__})
    Folder(place).write_toml(files.SETTINGS, {"schema": 1, "tool": loop.tool, "settings": kept})
    return record


def _joined(whole: Log, looked: Log) -> Log:
    """The record's log, and what only the monitor has, its steps counted as the record's."""
    own, theirs = whole.get("seconds"), looked.get("seconds")
    begun = (own.steps[-1] - theirs.steps[-1]) if own and theirs else 0.0
    for role, series in looked.series.items():
        if role not in whole.series:
            whole.series[role] = Series(series.name, series.steps + begun, series.values)
    return whole
