"""Finding pairs of image and mask in the folder layouts that people really have.

- ``isic2016``, ``isic2017``, ``isic2018``: the official archives unzipped under one root, each in a folder of its
  own name;
- ``vmunet``: ``train/{images,masks}`` and ``val/{images,masks}``, the layout of VM-UNet's harness, which tests on its
  ``val`` folder; with a ``test`` folder beside them each part is what its name says;
- ``folder``: any layout of :mod:`skinlesion.data.folder_layouts`; ``synthetic`` is the same.

Beside the images lie superpixel maps, metadata and licenses, which are left out, and :class:`Dataset` says so. Masks
are matched by name, see :mod:`skinlesion.data.pairing`.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from skinlesion.data.folder_layouts import describe_part, find_folder_dataset, folders_by_role, join
from skinlesion.data.mask_values import DEFAULT_RULES, MaskRules
from skinlesion.data.pairing import listing, pair_dataset, pair_folders
from skinlesion.data.registered import find_registered
from skinlesion.data.same_lesion import FILE, with_groups
from skinlesion.data.sample import Dataset, Sample
from skinlesion.errors import SkinlesionError
from skinlesion.plugins import EXTRA_DATASETS, load_plugins
from skinlesion.text import counted, printable

__all__ = [
    "DATASETS",
    "OFFICIAL",
    "OfficialPart",
    "Sample",
    "check_dataset_name",
    "find_dataset",
    "find_samples",
    "pair_folders",
]


class OfficialPart(NamedTuple):
    """Folder names of one official part as they come out of the archives, and how many pairs it holds."""

    part: str
    images: str
    masks: str
    pairs: int


OFFICIAL: dict[str, tuple[OfficialPart, ...]] = {
    "isic2016": (
        OfficialPart("train", "ISBI2016_ISIC_Part1_Training_Data", "ISBI2016_ISIC_Part1_Training_GroundTruth", 900),
        OfficialPart("test", "ISBI2016_ISIC_Part1_Test_Data", "ISBI2016_ISIC_Part1_Test_GroundTruth", 379),
    ),
    "isic2017": (
        OfficialPart("train", "ISIC-2017_Training_Data", "ISIC-2017_Training_Part1_GroundTruth", 2000),
        OfficialPart("val", "ISIC-2017_Validation_Data", "ISIC-2017_Validation_Part1_GroundTruth", 150),
        OfficialPart("test", "ISIC-2017_Test_v2_Data", "ISIC-2017_Test_v2_Part1_GroundTruth", 600),
    ),
    "isic2018": (
        OfficialPart("train", "ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth", 2594),
        OfficialPart("val", "ISIC2018_Task1-2_Validation_Input", "ISIC2018_Task1_Validation_GroundTruth", 100),
        OfficialPart("test", "ISIC2018_Task1-2_Test_Input", "ISIC2018_Task1_Test_GroundTruth", 1000),
    ),
}
DATASETS = (*OFFICIAL, "vmunet", "folder", "synthetic")


def check_dataset_name(dataset: str) -> None:
    """Raise SkinlesionError if no data set of this name is built in or registered; the message lists the names."""
    if dataset not in (*DATASETS, *EXTRA_DATASETS):
        load_plugins()
    if dataset not in (*DATASETS, *EXTRA_DATASETS):
        names = ", ".join((*DATASETS, *EXTRA_DATASETS))
        raise SkinlesionError(f"Unknown dataset {printable(dataset)!r}: choose one of {names}.")


def find_samples(root: str | Path, dataset: str, *, rules: MaskRules = DEFAULT_RULES) -> list[Sample]:
    """List a dataset's pairs of image and mask, sorted by id; as `find_dataset` without its notes."""
    return find_dataset(root, dataset, rules=rules).samples


def find_dataset(
    root: str | Path, dataset: str, *, rules: MaskRules = DEFAULT_RULES, groups: str | Path | None = None
) -> Dataset:
    """List a dataset's pairs of image and mask, and say which folder was taken for what; no image is opened.

    Args:
        root: the folder that holds the layout's folders.
        dataset: one of ``DATASETS``, or a registered one. For the official layouts every part that is on disk is
            returned, the official test set too: ``Sample.part`` keeps them apart.
        rules: how the masks are read.
        groups: the table of images that belong together; default ``groups.csv`` in `root`, if there is one.

    Returns:
        Samples sorted by id, ids unique. Where the parts number their images alike, ids begin with the part.

    Raises:
        SkinlesionError: a missing root, another dataset's layout, an image without mask or a mask without image,
            one image in two parts, or nothing at all.
    """
    check_dataset_name(dataset)
    root = Path(root)
    if not root.is_dir():
        raise SkinlesionError(
            f"{printable(root)}: there is no such folder. Give the folder that holds the {dataset} data."
        )
    if dataset in OFFICIAL:
        found = _find_official(root, dataset, rules)
    elif dataset in EXTRA_DATASETS:
        found = find_registered(root, dataset, rules)
    elif dataset == "vmunet":
        found = _find_vmunet(root, rules)
    else:
        found = _find_folder(root, dataset, rules)
    table = Path(groups) if groups is not None else root / FILE
    return complete(found, table if groups is not None or table.is_file() else None)


def complete(found: Dataset, groups: Path | None) -> Dataset:
    """The dataset with unique ids, sorted, and with the groups of a table."""
    samples = _unique(found.samples)
    if groups is None:
        return replace(found, samples=samples)
    samples = with_groups(samples, groups)
    names = {sample.group for sample in samples if sample.group is not None}
    together = sum(sample.group is not None for sample in samples)
    found_in = f"{counted(together, 'image')} in {counted(len(names), 'group')}"
    line = f"{printable(groups)}: {found_in}, each kept on one side of a split"
    return replace(found, samples=samples, folders=(*found.folders, line))


def _find_official(root: Path, dataset: str, rules: MaskRules) -> Dataset:
    folders = _subfolders(root)
    found = []
    for part in OFFICIAL[dataset]:
        images, masks = folders.get(part.images.lower()), folders.get(part.masks.lower())
        if images and masks:
            pairs = pair_dataset(images, masks, part.part, rules=rules)
            line = describe_part(root, part.part, (images, masks), len(pairs.samples))
            found.append(replace(pairs, folders=(line,)))
        elif images or masks:
            here, missing = (part.images, part.masks) if images else (part.masks, part.images)
            raise SkinlesionError(
                f"{root} has the folder {here} but not {missing}: unzip {missing}.zip there as well, "
                f"or move {here} away to do without this part."
            )
    if not found:
        first = OFFICIAL[dataset][0]
        raise SkinlesionError(
            f"{root} does not hold the {dataset} layout (no folder {first.images}). {_looks_like(root, dataset)}"
        )
    return join(found)


def _find_vmunet(root: Path, rules: MaskRules) -> Dataset:
    for part in ("train", "val"):
        if not (root / part / "images").is_dir():
            raise SkinlesionError(
                f"{root} does not hold the vmunet layout (no folder {part}/images). {_looks_like(root, 'vmunet')}"
            )
    found = find_folder_dataset(root, rules)
    assert found is not None
    if any(sample.part == "test" for sample in found.samples):
        return found
    line = "there is no test folder: the split `official` tests on val, as VM-UNet's harness does, and cuts a "
    return replace(found, folders=(*found.folders, line + "validation set from train"))


def _find_folder(root: Path, dataset: str, rules: MaskRules) -> Dataset:
    found = find_folder_dataset(root, rules)
    if found is None:
        raise SkinlesionError(
            f"{root} has no folder named images with a folder masks beside it. {_looks_like(root, dataset)}"
        )
    return found


def _looks_like(root: Path, asked: str) -> str:
    """Say which layout a folder does hold, for the end of an error message."""
    names = _subfolders(root).keys()
    for dataset, parts in OFFICIAL.items():
        known = {name.lower() for part in parts for name in (part.images, part.masks)}
        if root.resolve().name.lower() in known:
            return f"It is one of the folders of {dataset}: give the folder above it, {root.resolve().parent}."
        if dataset != asked and known & names:
            return f"It looks like {dataset}: choose that dataset, or another folder."
    try:
        has_roles = bool(folders_by_role(root))
    except SkinlesionError:  # two folders could be one thing: a layout all the same
        has_roles = True
    if has_roles and asked not in ("folder", "synthetic"):
        return "It looks like folder (images and masks): choose that dataset, or another folder."
    return "Check the path, unzip the official archives without renaming their folders, or give --images and --masks."


def _subfolders(root: Path) -> dict[str, Path]:
    """Return folders by lower-case name; where unzipping made one inside another of the same name, the inner."""
    folders = {}
    for path in listing(root):
        if path.is_dir():
            inner = path / path.name
            folders[path.name.lower()] = inner if inner.is_dir() else path
    return folders


def _unique(samples: list[Sample]) -> list[Sample]:
    if not samples:
        raise SkinlesionError("The folders are there but hold no images. Unzip the archives again.")
    by_id: dict[str, Sample] = {}
    for sample in samples:
        other = by_id.setdefault(sample.id, sample)
        if other is not sample:
            if _same_content(other.image, sample.image):
                raise SkinlesionError(
                    f"{printable(other.image)} and {printable(sample.image)} have the same name and content: an image "
                    "must be in one part only."
                )
            return _unique_by_folder(samples)
    return [by_id[id] for id in sorted(by_id)]


def _unique_by_folder(samples: list[Sample]) -> list[Sample]:
    """Ids that begin with the part, or the folder, where the folders number their images alike."""
    named = {f"{sample.part or sample.image.parent.name}-{sample.id}": sample for sample in samples}
    if len(named) < len(samples):
        raise SkinlesionError("Two folders of the same name hold images of the same name: rename one of the folders.")
    return [replace(named[id], id=id) for id in sorted(named)]


def _same_content(one: Path, other: Path) -> bool:
    try:
        return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()
    except OSError:
        return False  # the error comes where the file is opened
