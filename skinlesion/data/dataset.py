"""One part of a split as a PyTorch dataset, and its sampler.

Order and augmentation depend on (seed, epoch) and the image's index alone: not on workers, processes or history.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from skinlesion.data.images import Normalization, normalize
from skinlesion.data.transforms import TrainingTransform


class Draw(NamedTuple):
    """What a sampler asks the dataset for."""

    place: int
    epoch: int
    counted: bool  # False for an image repeated only so that every process gets as many


class LesionDataset(Dataset):
    """One part of a split, as arrays in memory or in a memory map.

    An item is ``{"image": float32 (3, H, W), "mask": float32 (1, h, w), "id": str, "counted": bool}``.

    Args:
        images: uint8 (N, H, W, 3) of the whole pool.
        masks: bool (N, h, w) of the whole pool; h x w may differ from H x W where nothing is augmented.
        rows: which rows of the pool belong to this part.
        ids: their ids, in the same order.
        transform: augmentation; None for validation and test.
        normalization: see :func:`skinlesion.data.images.normalize`.
    """

    def __init__(
        self,
        images: np.ndarray,
        masks: np.ndarray,
        rows: Sequence[int],
        ids: Sequence[str],
        *,
        transform: TrainingTransform | None = None,
        normalization: Normalization = "minmax",
    ):
        self.images, self.masks, self.rows, self.ids = images, masks, list(rows), list(ids)
        self.transform, self.normalization = transform, normalization

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: Draw | int) -> dict[str, torch.Tensor | str | bool]:
        """Return an item; a bare index means epoch 0."""
        index, epoch, counted = draw if isinstance(draw, tuple) else (draw, 0, True)
        row = self.rows[index]
        image, mask = np.asarray(self.images[row]), np.asarray(self.masks[row])
        if self.transform is not None:
            image, mask = self.transform(image, mask, epoch=epoch, index=index)
        pixels = normalize(image, self.normalization).transpose(2, 0, 1)  # (H, W, 3) -> (3, H, W)
        return {
            "image": torch.from_numpy(np.ascontiguousarray(pixels)),
            "mask": torch.from_numpy(mask.astype(np.float32)[None]),  # (1, h, w)
            "id": self.ids[index],
            "counted": counted,
        }


class EpochSampler(DistributedSampler):
    """Draws every image once per epoch, in an order that depends on (seed, epoch) alone.

    It is a DistributedSampler so that Lightning leaves it in place and calls ``set_epoch`` on it; unlike its
    parent, it passes the epoch along with each index, so that persistent workers receive it.
    Process r of W takes positions r, r + W, ...; the order is padded from its start to a multiple of W.

    Args:
        length: number of images.
        seed: of the run.
        shuffle: False keeps the order, for validation and test.
        num_replicas: W; default from ``torch.distributed``, 1 without it.
        rank: r; likewise.
    """

    def __init__(
        self,
        length: int,
        *,
        seed: int = 0,
        shuffle: bool,
        num_replicas: int | None = None,
        rank: int | None = None,
    ):
        if num_replicas is None or rank is None:
            running = torch.distributed.is_available() and torch.distributed.is_initialized()
            num_replicas = torch.distributed.get_world_size() if running else 1
            rank = torch.distributed.get_rank() if running else 0
        super().__init__(
            range(length),  # type: ignore[arg-type]  # only its length is used
            num_replicas=num_replicas,
            rank=rank,
            shuffle=shuffle,
            seed=seed,
        )
        self.length = length

    def __iter__(self) -> Iterator[Draw]:
        order = np.arange(self.length)
        if self.shuffle:
            np.random.default_rng((self.seed, self.epoch)).shuffle(order)
        filled = np.resize(order, self.total_size)
        for place in range(self.rank, self.total_size, self.num_replicas):
            yield Draw(int(filled[place]), self.epoch, place < self.length)
