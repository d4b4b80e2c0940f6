"""Data workers: processes that fetch the coming stretches ahead of the step that needs them."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterator
from itertools import dropwhile
from multiprocessing import forkserver
from typing import Any

import torch
from torch.utils.data import DataLoader

from thalweg.errors import DataError
from thalweg.types import Source, Stretch

MOST_DEATHS = 3
"""Times in a row that workers may die over the same stretch before it is given up."""


class Workers:
    """Fetches stretches of a source in worker processes, some ahead, in order.

    What a sample draws is counted by its place, so that it does not matter which worker fetches it,
    or whether it was fetched before. Workers that die are replaced, and the stretch fetched anew.

    upcoming: gives all stretches from a batch's position on
    tell: hears when workers died and were replaced
    """

    def __init__(
        self,
        source: Source,
        num_workers: int,
        upcoming: Callable[[Any], Iterator[Stretch]],
        tell: Callable[[str], None] = lambda text: None,
    ):
        self.tell = tell
        self._source = source
        self._num_workers = num_workers
        self._upcoming = upcoming
        self._iterator: Iterator[Any] | None = None

    def fetch(self, stretch: Stretch, position: Any) -> Any:
        """A stretch of the batch at this position, on the CPU.

        Raises DataError where workers keep dying over it.
        """
        for _ in range(MOST_DEATHS):
            try:
                return self._fetch(stretch, position)
            except (RuntimeError, ConnectionError, EOFError) as error:
                if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                    raise
                self.close()
                text = " ".join(str(error).split())
                self.tell(f"a data worker died and was replaced ({text})")
        raise DataError(
            f"data workers died {MOST_DEATHS} times over samples {_shown(stretch.indices)}: is "
            "there too little memory, or does one of them crash? (workers=0 shows the error)"
        )

    def _fetch(self, stretch: Stretch, position: Any) -> Any:
        if self._iterator is not None:
            place, batch = next(self._iterator)
            if tuple(place) == (stretch.epoch, stretch.start):  # a list on the way through torch
                return batch
            self.close()  # the run went elsewhere: it was restored
        upcoming = dropwhile(lambda each: each.start != stretch.start, self._upcoming(position))
        self._iterator = self._start(upcoming)
        return next(self._iterator)[1]

    def _start(self, upcoming: Iterator[Stretch]) -> Iterator[Any]:
        loader = DataLoader(
            _Stretches(self._source),  # pyright: ignore[reportArgumentType]
            batch_size=None,
            sampler=upcoming,  # pyright: ignore[reportArgumentType]
            num_workers=self._num_workers,
            worker_init_fn=_begin,
            generator=torch.Generator(),  # whose draws nobody needs; the global one is left alone
        )
        with warnings.catch_warnings():  # Python warns of forks beside threads; ours hold no lock
            warnings.filterwarnings("ignore", "This process .* is multi-threaded")
            return iter(loader)

    def close(self) -> None:
        """End the processes."""
        self._iterator = None


class _Stretches:
    """What a worker sees: the batch of a stretch, with its place."""

    def __init__(self, source: Source):
        self._source = source

    def __getitem__(self, stretch: Stretch) -> tuple[tuple[int, int], Any]:
        return (stretch.epoch, stretch.start), self._source.fetch(stretch)


def _begin(number: int) -> None:
    """In a worker: Ctrl-C is for the training process, which ends the workers in its own time."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _let_the_server_end()


def _let_the_server_end() -> None:
    """Where Python's fork server makes the workers, let both end when the training process does.

    torch's workers end when their parent does. The server, which is their parent, ends when all
    have closed a pipe that the training process opened, and each worker has a copy of it: after a
    kill -9 the workers and the server would wait for one another for ever.
    """
    server: Any = forkserver._forkserver  # pyright: ignore[reportAttributeAccessIssue]
    pipe = getattr(server, "_forkserver_alive_fd", None)
    if pipe is not None:
        os.close(pipe)
        server._forkserver_alive_fd = None


def _shown(indices: Any) -> str:
    first = ", ".join(str(int(i)) for i in indices[:5])
    return first if len(indices) <= 5 else f"{first}, ... ({len(indices):,} in all)"
