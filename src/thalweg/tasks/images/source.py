"""Pictures as batches: kept bytes, augmented by counted draws, scaled as the model reads them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

from thalweg.tasks.images.augment import augmented
from thalweg.tasks.images.form import Form
from thalweg.tasks.images.shelf import Pictures
from thalweg.types import LOOK, Stretch

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class PictureSource:
    """Pictures and their targets, (n,) or (n, k).

    pictures: decoded, by place; places: of the samples' among them; form: what they are made into
    rows: where each sample stands in the data it came with; augment: of AUGMENTS, in training
    keys: a number of each sample's file; paths: where these are
    """

    pictures: Pictures
    places: np.ndarray
    form: Form
    targets: Tensor
    rows: np.ndarray
    keys: np.ndarray
    paths: tuple[str, ...]
    augment: str = "none"
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.places)

    def fetch(self, stretch: Stretch) -> tuple[Tensor, Tensor]:
        pictures = augmented(self.bytes_of(stretch.indices), stretch, self.augment)
        inputs = self.form.inputs(pictures).to(self.device, non_blocking=True)
        where = torch.from_numpy(stretch.indices).to(self.targets.device)
        return inputs, self.targets.index_select(0, where)

    def bytes_of(self, indices: np.ndarray) -> np.ndarray:
        """The pictures as they are kept, uint8 (n, height, width, channels)."""
        return self.pictures.take(self.places[indices])

    def to(self, device: torch.device) -> PictureSource:
        return replace(self, device=torch.device(device), targets=self.targets.to(device))

    @property
    def checksum(self) -> str:
        """Of the files' content, the targets and the augmentation: other ones make another run."""
        hasher = blake2b(f"{self.form} {self.augment}".encode(), digest_size=8)
        hasher.update(self.keys.tobytes())
        hasher.update(self.targets.numpy(force=True).tobytes())
        return hasher.hexdigest()


def drawn(source: PictureSource, indices: np.ndarray, seed: int) -> np.ndarray:
    """Bytes of some samples as training in its first epoch may draw them."""
    stretch = Stretch(indices, seed=seed, epoch=LOOK + 1)
    return augmented(source.bytes_of(indices), stretch, source.augment)
