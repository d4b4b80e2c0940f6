"""One attempt in a process of its own: forked, watched, and its outcome read from a file."""

import contextlib
import json
import logging
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import xxhash
from torch import nn

from benchmarks.faultbench.job import Job
from benchmarks.faultbench.tasks import Task
from benchmarks.network import predictor
from benchmarks.referee import score

PATIENCE = 600
"""Seconds that an attempt may take before it counts as hanging."""


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt.

    loss: the final validation loss, by the referee, or None where there is no network to score
    digest: of the final weights; error: one line of what ended it; stopped: why it ended early
    said: what the contender and the libraries said, a line each
    """

    loss: float | None = None
    digest: str = ""
    error: str = ""
    stopped: str | None = None
    said: tuple[str, ...] = ()
    seconds: float = 0.0
    was_killed: bool = False


def attempted(train: Callable[[Job], nn.Module], job: Job) -> Outcome:
    """Make one attempt in a forked process; whatever happens there is an outcome."""
    job.folder.mkdir(parents=True, exist_ok=True)
    report = job.folder / "outcome.json"
    report.unlink(missing_ok=True)
    start = time.perf_counter()
    child = os.fork()
    if child == 0:
        _in_child(train, job, report)
    code = _exit_code(child)
    seconds = round(time.perf_counter() - start, 2)
    if report.exists():
        found = json.loads(report.read_text())
        return Outcome(**{**found, "said": tuple(found["said"]), "seconds": seconds})
    if code == -signal.SIGKILL:
        return Outcome(error="killed", was_killed=True, seconds=seconds)
    return Outcome(error=f"the process ended with {code}", seconds=seconds)


def _exit_code(child: int) -> int:
    """Wait for a process; one that hangs is ended with all that it started."""
    deadline = time.perf_counter() + PATIENCE
    while time.perf_counter() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            _end_group(child)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    _end_group(child)
    os.waitpid(child, 0)
    return -signal.SIGALRM


def _end_group(child: int) -> None:
    """End what a process has started: its data workers outlive a SIGKILL for some seconds."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def _in_child(train: Callable[[Job], nn.Module], job: Job, report: Path) -> None:
    """Train, score, write the outcome, and leave without the parent's clean-up."""
    os.setpgid(0, 0)
    torch.set_num_threads(1)
    try:
        outcome = _outcome(train, job)
        _lift_limits()
        report.write_text(json.dumps(asdict(outcome)))
    finally:
        os._exit(0)


def _outcome(train: Callable[[Job], nn.Module], job: Job) -> Outcome:
    with listening(job.said), silence():
        try:
            network = train(job)
        except Exception as error:
            return Outcome(error=_line(error), said=tuple(job.said))
    return Outcome(
        loss=final_loss(network, job.task),
        digest=digest(network),
        stopped=job.stopped,
        said=tuple(job.said),
    )


def final_loss(network: nn.Module, task: Task) -> float:
    """The referee's loss on the validation part; NaN where the network predicts none."""
    with np.errstate(invalid="ignore"):
        predict = predictor(network, task.problem.kind)
        return score(predict, task.problem.validation, task.problem).loss


def digest(network: nn.Module) -> str:
    """A checksum of all weights and buffers."""
    found = xxhash.xxh3_128()
    for tensor in network.state_dict().values():
        found.update(tensor.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


@contextlib.contextmanager
def listening(said: list[str]) -> Iterator[None]:
    """Collect warnings, and log records from WARNING up, while the block runs."""
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(f"{record.name}: {record.getMessage()}")
    names = ["", "transformers", "lightning.pytorch", "lightning.fabric", "torch", "accelerate"]
    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = lambda message, *_: said.append(f"warning: {message}")
        yield
    for logger in loggers:
        logger.removeHandler(handler)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Send stdout and stderr to nowhere, those of C code and of other processes too.

    Into a file they would meet the full disk, and a contender would fail for what it prints.
    """
    with open(os.devnull, "w") as nowhere:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
        yield


def _lift_limits() -> None:
    """The disk is no longer full: what is written now is not the contender's."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def _line(error: Exception) -> str:
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}"[:300]


def run(train: Callable[[Job], nn.Module], job: Job) -> list[Outcome]:
    """Attempts at one run: a second one where the first was ended by a fault of the process."""
    outcomes = [attempted(train, job)]
    if job.fault.is_exact and outcomes[0].error:
        if job.fault.between is not None:
            job.fault.between(job.folder)
        outcomes.append(attempted(train, replace(job, is_again=True, said=[], stopped=None)))
    return outcomes
