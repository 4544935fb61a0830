"""Opening every file of a dataset and reporting what is wrong, file by file and overall."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from skinlesion.data.images import read_image, read_mask
from skinlesion.data.layouts import OFFICIAL
from skinlesion.data.mask_values import looks_inverted
from skinlesion.data.sample import Sample, size_mismatch
from skinlesion.data.source import DataSource, describe_split
from skinlesion.data.splits import load_split
from skinlesion.errors import SkinlesionError
from skinlesion.text import counted, printable

_STRETCH = 0.05  # relative difference of the aspect ratios of image and mask that is worth a remark


@dataclass(frozen=True)
class Report:
    """What :func:`verify_samples` found: ``problems`` stop training or evaluation, ``remarks`` do not."""

    checked: int
    problems: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def __str__(self) -> str:
        counts = f"{counted(len(self.problems), 'problem')}, {counted(len(self.remarks), 'remark')}"
        lines = [f"{counted(self.checked, 'pair')} opened: {counts}"]
        lines += [f"problem: {text}" for text in self.problems]
        lines += [f"remark:  {text}" for text in self.remarks]
        return "\n".join(lines)


class MaskLook(NamedTuple):
    """What a mask looks like."""

    empty: bool
    inverted: bool


def verify_samples(samples: Sequence[Sample]) -> Report:
    """Open every file and report, per file, what is wrong, without stopping at the first.

    Problems: a file that cannot be read, a mask that is not binary, an image and mask of different sizes.
    Remarks: a mask without any lesion, or that covers the whole image; all masks empty, or most of them inverted.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(_verify, samples))
    looks = [look for *_, look in found if look is not None]
    return Report(
        checked=len(samples),
        problems=tuple(text for problems, _, _ in found for text in problems),
        remarks=(*(text for _, remarks, _ in found for text in remarks), *remarks_on(looks)),
    )


def verify(source: DataSource, dataset: str) -> tuple[Report, tuple[str, ...]]:
    """Open every image and mask of a dataset on disk and report what is wrong.

    An official part with fewer pairs than it was published with is a remark: it may be a deliberate subset.

    Returns:
        The report, and lines that say how each folder was interpreted, what was left out, and how the dataset is split
        by default.

    Raises:
        SkinlesionError: the folder does not hold the dataset's layout at all.
    """
    found = source.find(dataset)
    report = verify_samples(found.samples)
    remarks = []
    for official in OFFICIAL.get(dataset, ()):
        pairs = sum(sample.part == official.part for sample in found.samples)
        if 0 < pairs < official.pairs:
            remarks.append(f"{official.part}: {pairs} of the {official.pairs} published pairs are here.")
    try:
        split = describe_split(load_split(found.samples, dataset), found.samples)
    except SkinlesionError as error:  # nothing is wrong with the files; another split may work
        split = [f"No default split: {error}"]
    return replace(report, remarks=(*report.remarks, *remarks)), (*found.notes, *split)


def look_of(mask: np.ndarray) -> MaskLook:
    """The summary of a mask, bool (H, W), that `remarks_on` needs."""
    return MaskLook(empty=not mask.any(), inverted=looks_inverted(mask))


def remarks_on(looks: Sequence[MaskLook]) -> list[str]:
    """What is suspicious about all masks of a dataset together."""
    count = len(looks)
    if count and all(look.empty for look in looks):
        return [
            f"All {count} masks are empty: no pixel is lesion. Check that these are the masks; if they are dark, check "
            "--mask-threshold."
        ]
    inverted = sum(look.inverted for look in looks)
    if inverted > count / 2:
        return [
            f"{inverted} of {count} masks look inverted: the lesion fills the border and leaves out the middle. If "
            "black is the lesion, pass --invert-masks."
        ]
    return []


def _verify(sample: Sample) -> tuple[list[str], list[str], MaskLook | None]:
    problems: list[str] = []
    remarks: list[str] = []
    sizes = []
    look = None
    try:
        sizes.append(read_image(sample.image).shape[:2])
    except SkinlesionError as error:
        problems.append(str(error))
    if sample.mask is None:
        return problems, remarks, None
    try:
        mask = read_mask(sample.mask, rules=sample.rules)
        sizes.append(mask.shape)
        look = look_of(mask)
        if look.empty:
            remarks.append(f"{printable(sample.mask)}: the mask is empty (no lesion).")
        elif mask.all():
            remarks.append(f"{printable(sample.mask)}: the mask covers the whole image.")
    except SkinlesionError as error:
        problems.append(str(error))
    if len(sizes) == 2:
        if text := size_mismatch(sample, *sizes):
            problems.append(text)
        elif text := _stretched(sample, *sizes):
            remarks.append(text)
    return problems, remarks, look


def _stretched(sample: Sample, image_size: tuple[int, ...], mask_size: tuple[int, ...]) -> str | None:
    """A mask that --resize-masks would stretch; None if its sides have the image's proportions."""
    ratio = image_size[0] * mask_size[1] / (image_size[1] * mask_size[0])
    if abs(ratio - 1) <= _STRETCH:
        return None
    return (
        f"{printable(sample.mask)}: the mask's proportions differ from its image's, so it is stretched to fit; check "
        "that it covers the same part of the skin."
    )
