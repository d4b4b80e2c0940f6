"""Where a fault gets in: the clock of a run's steps, its network, its loss and its samples."""

import os
import signal
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, get_worker_info

from benchmarks.faultbench.tasks import Stream
from benchmarks.network import criterion


class Clock:
    """Counts a network's forward passes in training, from 1, and acts at given ones.

    `now` is the step under way in an attempt that starts from the beginning.
    """

    def __init__(self) -> None:
        self.now = 0
        self._acts: dict[int, list[Callable[[], None]]] = defaultdict(list)

    def at(self, step: int, act: Callable[[], None]) -> None:
        """Do this at the start of a step."""
        self._acts[step].append(act)

    def watch(self, network: nn.Module) -> None:
        """Count this network's steps."""
        network.register_forward_pre_hook(self._tick)

    def _tick(self, network: nn.Module, _: object) -> None:
        if network.training and torch.is_grad_enabled():
            self.now += 1
            for act in self._acts.pop(self.now, ()):
                act()


class Loss(nn.Module):
    """The mean loss of a batch; `nan_at`: the step in which it is NaN instead."""

    def __init__(self, kind: str, clock: Clock):
        super().__init__()
        self.nan_at: int | None = None
        self._mean = criterion(kind)
        self._clock = clock

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss = self._mean(outputs, targets)
        is_hit = torch.is_grad_enabled() and self._clock.now == self.nan_at
        return loss * float("nan") if is_hit else loss


class Samples(Dataset):
    """A stream's samples, as pairs one by one or as a batch of them at once.

    places: position of each sample in the stream; by default its own number
    deadly: the data worker that is first asked for this position is killed; `marker` is the file
    that says it was, also to the other workers and to a later attempt
    """

    def __init__(
        self,
        stream: Stream,
        marker: Path,
        *,
        places: Tensor | None = None,
        deadly: int | None = None,
    ):
        self.x = torch.from_numpy(stream.x)
        self.y = torch.from_numpy(stream.y)
        self._marker = marker
        self._places = torch.arange(len(self.x)) if places is None else places
        self._deadly = deadly

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        place = int(self._places[i])
        self._die_if([place])
        return self.x[place], self.y[place]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        places = self._places[indices]
        self._die_if(places.tolist())
        return self.x[places], self.y[places]

    def arrays(self) -> tuple[Tensor, Tensor]:
        """All samples by number."""
        return self.x[self._places], self.y[self._places]

    def _die_if(self, places: list[int]) -> None:
        is_hit = self._deadly in places and get_worker_info() is not None
        if is_hit and not self._marker.exists():
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
