"""Feeds training, validation and test: the same batches on one process, on several, and after a resume.

Which images make up step k of epoch e, and how each is augmented, is a function of (seed, e, k) alone. With W
processes of batch size b each, the union of their batches is the batch of one process of batch size W * b.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader

from skinlesion.data import groups
from skinlesion.data.cache import cached_arrays
from skinlesion.data.dataset import EpochSampler, LesionDataset
from skinlesion.data.folder_layouts import PART_NAMES
from skinlesion.data.groups import Balance
from skinlesion.data.images import Normalization, resize_image, resize_mask
from skinlesion.data.layouts import Sample, find_samples
from skinlesion.data.source import describe_split
from skinlesion.data.splits import PARTS, Manifest, load_split
from skinlesion.data.transforms import TrainingTransform, source_size
from skinlesion.data.verify import look_of, remarks_on
from skinlesion.errors import SkinlesionError
from skinlesion.protocol import TRUTH_SIZE

_DARKER_DRAWS = 3  # of an image on a tan, brown or dark background, with --balance tone
_SYNTHETIC_SIZE = 256


class SegmentationData(pl.LightningDataModule):
    """Image and mask batches of one dataset under one split.

    A batch is ``{"image": float32 (B, 3, size, size), "mask": float32 (B, 1, s, s) of 0 and 1, "id": list[str],
    "counted": bool (B,)}``; s is ``size`` in training and ``truth_size`` in validation and test. With several
    processes, exclude from the metrics the images whose ``counted`` is False.

    The last training batch is kept even when it is smaller, unless it would hold a single image in a process
    (batch normalization cannot be trained on one value).

    Args:
        dataset: a name in :data:`skinlesion.data.layouts.DATASETS`, or a registered one.
        root: where the data are; None only for ``synthetic``, which is then drawn in memory.
        samples: the pairs themselves, instead of ``root`` (e.g. from :func:`skinlesion.data.layouts.pair_folders`).
        notes: lines about how they were found, see :meth:`notes`.
        manifest: the split itself, or
        split: its name or file, see :func:`skinlesion.data.splits.load_split`.
        split_seed: of a split that is drawn here; default the dataset's fixed one.
        size: side of the network's input, in pixels.
        truth_size: side of the masks that validation and test measure against.
        batch_size: images per process and step.
        balance: "tone" draws training images on tan, brown and dark backgrounds three times an epoch.
        recipe: augmentation, a name in :data:`skinlesion.data.transforms.RECIPES`.
        normalization: ``minmax`` or ``minmax255`` (A32).
        seed: of order and augmentation.
        num_workers: loader processes. 0 is usually right: images come decoded from the cache, and augmenting one of
            128 x 128 takes under a millisecond. Where processes are spawned (Windows, macOS) each copies the arrays.
        cache_dir: see :func:`skinlesion.data.cache.cached_arrays`.
        synthetic_count: how many images to draw where root is None.

    Raises:
        SkinlesionError: the data or the split cannot be used. Raised here, before any training starts, except for
            damaged files, which show when they are first decoded (``prepare_data``).
    """

    def __init__(
        self,
        dataset: str,
        root: str | Path | None = None,
        *,
        samples: Sequence[Sample] | None = None,
        notes: Sequence[str] = (),
        manifest: Manifest | None = None,
        split: str | Path | None = None,
        split_seed: int | None = None,
        size: int = 256,
        truth_size: int = TRUTH_SIZE,
        batch_size: int = 8,
        recipe: str = "paper",
        balance: Balance = "none",
        normalization: Normalization = "minmax",
        seed: int = 42,
        num_workers: int = 0,
        cache_dir: str | Path | None = None,
        synthetic_count: int = 64,
    ):
        super().__init__()
        for name, value in (("size", size), ("truth_size", truth_size), ("batch_size", batch_size)):
            if value < 1:
                raise SkinlesionError(f"{name} must be at least 1, not {value}.")
        if normalization not in get_args(Normalization):
            raise SkinlesionError(
                f"Unknown normalization {normalization!r}: choose one of {', '.join(get_args(Normalization))}."
            )
        if manifest is not None and split is not None:
            raise SkinlesionError("Give a manifest or the name of a split, not both.")
        self.pool = _find_pool(dataset, root, samples, synthetic_count)
        self.manifest = manifest or load_split(self.pool, dataset, split, split_seed)
        self.manifest.check(self.pool)
        self._notes = [*notes, *(() if samples is None else describe_split(self.manifest, self.pool))]
        used = {id for part in PARTS for id in self.manifest.parts[part]}
        self.pool = [sample for sample in self.pool if sample.id in used]
        self.dataset, self.in_memory = dataset, dataset == "synthetic" and root is None and samples is None
        self.size, self.truth_size, self.batch_size = size, truth_size, batch_size
        self.normalization, self.seed, self.num_workers = normalization, seed, num_workers
        self.cache_dir = cache_dir
        self.transform, self.balance = TrainingTransform(recipe, seed, size), balance
        self._parts: dict[str, LesionDataset] = {}
        self._drawn: list[tuple[np.ndarray, np.ndarray]] = []

    def prepare_data(self) -> None:
        """Fill the cache; Lightning calls this in one process of each machine, before the others go on."""
        if not self.in_memory:
            self._arrays(*self._sizes("train"))
            self._arrays(*self._sizes("val"))

    def notes(self) -> list[str]:
        """Lines on the parts' folders, files that were left out, and suspicious masks; call `prepare_data` first."""
        odd = []
        for name in ("train", "val"):
            part = self.part(name)
            looks = [look_of(np.asarray(part.masks[row])) for row in part.rows]
            odd += [f"Warning: {PART_NAMES[name]} set: {text}" for text in remarks_on(looks)]
        return [*self._notes, *odd]

    def part(self, name: str) -> LesionDataset:
        """Return a part as a dataset: ``train`` is augmented, ``val`` and ``test`` are not."""
        if name not in PARTS:
            raise SkinlesionError(f"Unknown part {name!r}: choose one of {', '.join(PARTS)}.")
        if name not in self._parts:
            training = name == "train"
            images, masks = self._arrays(*self._sizes(name))
            ids = self.manifest.parts[name]
            if not ids:
                raise SkinlesionError(f"The part {name} of this split is empty.")
            row_of = {sample.id: row for row, sample in enumerate(self.pool)}
            if training and self.balance == "tone":
                ids = tuple(id for id in ids for _ in range(_draws(images[row_of[id]], masks[row_of[id]])))
            self._parts[name] = LesionDataset(
                images,
                masks,
                [row_of[id] for id in ids],
                ids,
                transform=self.transform if training else None,
                normalization=self.normalization,
            )
        return self._parts[name]

    def train_dataloader(self) -> DataLoader:
        """Augmented batches, shuffled anew each epoch."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader:
        """The validation set, in order."""
        return self._loader("val")

    def _loader(self, name: str) -> DataLoader:
        part = self.part(name)
        training = name == "train"
        sampler = EpochSampler(len(part), seed=self.seed, shuffle=training)
        alone = len(sampler) % self.batch_size == 1 and len(sampler) > 1
        return DataLoader(
            part,
            batch_size=self.batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            drop_last=training and self.batch_size > 1 and alone,
        )

    def _sizes(self, name: str) -> tuple[int, int]:
        """Sides of a part's images and masks: training's before augmentation, those that are measured as measured."""
        if name == "train":
            size = source_size(self.transform.recipe, self.size)
            return size, size
        return self.size, self.truth_size

    def _arrays(self, size: int, mask_size: int) -> tuple[np.ndarray, np.ndarray]:
        if self.in_memory:
            self._drawn = self._drawn or _draw(self.pool)
            images = [resize_image(image, (size, size)) for image, _ in self._drawn]
            masks = [resize_mask(mask, (mask_size, mask_size)) for _, mask in self._drawn]
            return np.stack(images), np.stack(masks)
        return cached_arrays(self.pool, size, self.cache_dir, mask_size=mask_size)


def _find_pool(
    dataset: str, root: str | Path | None, samples: Sequence[Sample] | None, synthetic_count: int
) -> list[Sample]:
    if samples is not None:
        return sorted(samples, key=lambda sample: sample.id)
    if root is not None:
        return find_samples(root, dataset)
    if dataset == "synthetic":
        names = [f"synthetic-{number:05d}" for number in range(synthetic_count)]
        return [Sample(name, Path(name), None) for name in names]
    raise SkinlesionError(f"{dataset} needs a root: the folder that holds the data (--root).")


def _draws(image: np.ndarray, mask: np.ndarray) -> int:
    """How often an epoch shows a training image, balanced by tone."""
    return _DARKER_DRAWS if groups.tone(groups.typology_angle(image, mask)) in ("tan", "brown", "dark") else 1


def _draw(pool: Sequence[Sample]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw the pool's synthetic lesions; image i is always the same one."""
    from skinlesion.data.synthetic import synthesize  # not needed for real data

    lesions = [synthesize(int(sample.id.rpartition("-")[2]), _SYNTHETIC_SIZE) for sample in pool]
    return [(lesion.image, lesion.mask) for lesion in lesions]
