"""Where a command's images and masks come from: one set of flags for all commands that take a data set."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from skinlesion.data.folder_layouts import PART_NAMES, describe_part
from skinlesion.data.layouts import DATASETS, check_dataset_name, complete, find_dataset
from skinlesion.data.mask_values import MaskRules
from skinlesion.data.pairing import left_out_line, list_images, pair_dataset
from skinlesion.data.sample import Dataset, Sample
from skinlesion.data.splits import PARTS, Manifest
from skinlesion.errors import SkinlesionError
from skinlesion.text import counted, printable


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """A data set: a folder in a known layout, or a folder of images and one of masks."""

    root: Path | None = None
    """The folder that holds the data."""
    images: Path | None = None
    """The folder of images, instead of --root; with --masks."""
    masks: Path | None = None
    """The folder of masks that belong to --images."""
    groups: Path | None = None
    """Table of images that belong together (columns image and lesion_id, say): they stay on one side of a split.
    By default groups.csv in --root."""
    mask_threshold: int | None = None
    """Lowest gray value (1 to 255) that counts as lesion in masks with soft edges or JPEG compression."""
    resize_masks: bool = False
    """Resize masks whose size differs from their image's."""
    invert_masks: bool = False
    """Black pixels are the lesion."""

    def __post_init__(self) -> None:
        for name in ("root", "images", "masks", "groups"):  # from Python a string does, too
            if isinstance(value := getattr(self, name), str):
                object.__setattr__(self, name, Path(value))

    @property
    def rules(self) -> MaskRules:
        """How the masks are read."""
        return MaskRules(self.mask_threshold, self.resize_masks, self.invert_masks)

    @property
    def folder(self) -> Path:
        """Where tables about the images are stored: in --root, otherwise beside --images."""
        return self.root or (self.images.absolute().parent if self.images else Path())

    def find(self, dataset: str) -> Dataset:
        """List the pairs; no image is opened.

        Args:
            dataset: the layout of `root`, one of :data:`~skinlesion.data.layouts.DATASETS` or a registered one.

        Raises:
            SkinlesionError: as `find_dataset`, or the options cannot be combined.
        """
        if (self.images is None) != (self.masks is None):
            raise SkinlesionError("--images and --masks go together: give both folders, or --root.")
        if self.images is None or self.masks is None:
            if self.root is None:
                raise SkinlesionError(
                    f"Where are the data ({dataset})? Give the folder that holds them with --root DIR, or two folders "
                    "with --images DIR --masks DIR."
                )
            return find_dataset(self.root, dataset, rules=self.rules, groups=self.groups)
        check_dataset_name(dataset)
        if dataset not in DATASETS:  # its function decides which images belong to it, and needs their folder
            raise SkinlesionError(
                f"The data set {dataset!r} is read from --root DIR; with --images and --masks, use --data folder."
            )
        if self.root is not None:
            raise SkinlesionError("--root cannot be combined with --images and --masks: give one or the other.")
        found = pair_dataset(self.images, self.masks, rules=self.rules)
        line = describe_part(Path(), None, (self.images, self.masks), len(found.samples))
        return complete(replace(found, folders=(line,)), self.groups)

    def find_images(self, dataset: str) -> Dataset:
        """Like `find`, but --images alone is enough: no masks are required."""
        if self.images is None or self.masks is not None:
            return self.find(dataset)
        files = list_images(self.images, "images")
        left = left_out_line(self.images, files.left_out)
        samples = [Sample(id, path, None) for id, path in files.images.items()]
        return complete(Dataset(samples, left_out=(left,) if left else ()), self.groups)


def describe_split(manifest: Manifest, samples: Sequence[Sample]) -> list[str]:
    """Say how many images each part of a split has, from which folders, and warn about groups that it divides."""
    by_id = {sample.id: sample for sample in samples}
    folders = {part: _folders(by_id[id] for id in manifest.parts[part]) for part in PARTS}
    shared = len({each for each in folders.values() if each}) == 1
    lines = []
    for part in PARTS:
        where = f" from {folders[part]}" if folders[part] and not shared else ""
        lines.append(f"{len(manifest.parts[part])} {PART_NAMES[part]}{where}")
    if shared and any(folders.values()):
        lines[-1] += f" images, all from {next(filter(None, folders.values()))}"
    used = {id for ids in manifest.parts.values() for id in ids}
    rest = len(by_id.keys() - used)
    unused = f"; not used: {counted(rest, 'image')}" if rest else ""
    return [f"Split {manifest.name}: {'; '.join(lines)}{unused}.", *_divided_groups(manifest, by_id)]


def _folders(samples: Iterable[Sample]) -> str:
    """The folders of some images; "" if there are many, such as one per image."""
    names = list(dict.fromkeys(printable(sample.image.parent) for sample in samples))
    return ", ".join(names) if len(names) < 4 else ""


def _divided_groups(manifest: Manifest, by_id: dict[str, Sample]) -> list[str]:
    parts_of: dict[str, set[str]] = {}
    for part in PARTS:
        for id in manifest.parts[part]:
            if (group := by_id[id].group) is not None:
                parts_of.setdefault(group, set()).add(part)
    divided = [group for group, parts in parts_of.items() if len(parts) > 1]
    if not divided:
        return []
    return [
        f"Warning: this split divides {counted(len(divided), 'group')} of images, such as {printable(divided[0])}, "
        "between its parts: scores will be too high. The split `random` keeps groups together."
    ]
