"""Finding pairs of image and mask in the folder layouts that people really have.

- ``isic2016``, ``isic2017``, ``isic2018``: the official archives unzipped under one root, each in a folder of its
  own name;
- ``vmunet``: ``train/{images,masks}`` and ``val/{images,masks}``, the layout of VM-UNet's harness;
- ``folder``: ``images`` and ``masks``, or any two folders by :func:`pair_folders`; ``synthetic`` is the same.

Beside the images lie superpixel maps, metadata and licenses, which are left out; masks are matched by name, with or
without ``_segmentation`` or ``_mask`` at the end, in any case of letters.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from skinlesion.data.images import IMAGE_SUFFIXES, read_image, read_mask
from skinlesion.errors import SkinlesionError


@dataclass(frozen=True)
class Sample:
    """One image with its mask.

    Attributes:
        id: the image's file name without suffix, unique in its dataset.
        image: path of the image.
        mask: path of the mask; None where there is no truth.
        part: the part that the publisher put it in (``train``, ``val``, ``test``), if any. It is not the split
            that a run uses: that is a :class:`~skinlesion.data.splits.Manifest`.
    """

    id: str
    image: Path
    mask: Path | None
    part: str | None = None


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
_MASK_ENDINGS = ("_segmentation", "_mask")
_VMUNET_PARTS = ("train", "val")


def find_samples(root: str | Path, dataset: str) -> list[Sample]:
    """List a dataset's pairs of image and mask, sorted by id; no file is opened.

    Args:
        root: the folder that holds the layout's folders.
        dataset: one of ``DATASETS``. For the official layouts every part that is on disk is returned, the
            official test part too: ``Sample.part`` keeps them apart.

    Returns:
        Samples sorted by id, ids unique.

    Raises:
        SkinlesionError: a missing root, another dataset's layout, an image without mask or a mask without image,
            two images of the same name, or nothing at all.
    """
    if dataset not in DATASETS:
        raise SkinlesionError(f"Unknown dataset {dataset!r}: choose one of {', '.join(DATASETS)}.")
    root = Path(root)
    if not root.is_dir():
        raise SkinlesionError(f"{root}: there is no such folder. Give the folder that holds the {dataset} data.")
    if dataset in OFFICIAL:
        samples = _find_official(root, dataset)
    elif dataset == "vmunet":
        samples = _find_vmunet(root)
    else:
        samples = _find_folder(root, dataset)
    return _unique(samples)


def pair_folders(image_dir: str | Path, mask_dir: str | Path, part: str | None = None) -> list[Sample]:
    """Pair the images of one folder with the masks of another by name; sorted by id.

    Raises:
        SkinlesionError: a folder is missing or empty, or an image or a mask has no partner.
    """
    images = _index(Path(image_dir), masks=False)
    masks = _index(Path(mask_dir), masks=True)
    _complain_about_singles(images.keys() - masks.keys(), images, "image", "mask", mask_dir)
    _complain_about_singles(masks.keys() - images.keys(), masks, "mask", "image", image_dir)
    return [Sample(id, images[id], masks[id], part) for id in sorted(images)]


@dataclass(frozen=True)
class Report:
    """What :func:`verify_samples` found: ``problems`` stop training or evaluation, ``remarks`` do not."""

    checked: int
    problems: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """True without problems."""
        return not self.problems

    def __str__(self) -> str:
        lines = [f"{self.checked} pairs opened: {len(self.problems)} problems, {len(self.remarks)} remarks"]
        lines += [f"problem: {text}" for text in self.problems]
        lines += [f"remark:  {text}" for text in self.remarks]
        return "\n".join(lines)


def verify_samples(samples: Sequence[Sample]) -> Report:
    """Open every file and report, per file, what is wrong, without stopping at the first.

    Problems: a file that cannot be read, a mask that is not binary, an image and mask of different sizes.
    Remarks: a mask without any lesion, or that covers the whole image.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(_verify, samples))
    return Report(
        checked=len(samples),
        problems=tuple(text for problems, _ in found for text in problems),
        remarks=tuple(text for _, remarks in found for text in remarks),
    )


def size_mismatch(sample: Sample, image_size: tuple[int, ...], mask_size: tuple[int, ...]) -> str | None:
    """Return what is wrong with the sizes (height, width) of a pair, or None."""
    if tuple(image_size) == tuple(mask_size):
        return None
    (image_height, image_width), (mask_height, mask_width) = image_size, mask_size
    return (
        f"{sample.mask}: the mask is {mask_width} x {mask_height} pixels but its image {sample.image} is "
        f"{image_width} x {image_height}. Use the mask that belongs to this image, at the same size."
    )


def _verify(sample: Sample) -> tuple[list[str], list[str]]:
    problems: list[str] = []
    remarks: list[str] = []
    sizes = []
    try:
        sizes.append(read_image(sample.image).shape[:2])
    except SkinlesionError as error:
        problems.append(str(error))
    if sample.mask is None:
        return problems, remarks
    try:
        mask = read_mask(sample.mask)
        sizes.append(mask.shape)
        if not mask.any():
            remarks.append(f"{sample.mask}: the mask is empty (no lesion).")
        elif mask.all():
            remarks.append(f"{sample.mask}: the mask covers the whole image.")
    except SkinlesionError as error:
        problems.append(str(error))
    if len(sizes) == 2 and (text := size_mismatch(sample, *sizes)):
        problems.append(text)
    return problems, remarks


def _find_official(root: Path, dataset: str) -> list[Sample]:
    folders = _subfolders(root)
    samples: list[Sample] = []
    for part in OFFICIAL[dataset]:
        images, masks = folders.get(part.images.lower()), folders.get(part.masks.lower())
        if images and masks:
            samples += pair_folders(images, masks, part.part)
        elif images or masks:
            here, missing = (part.images, part.masks) if images else (part.masks, part.images)
            raise SkinlesionError(
                f"{root} has the folder {here} but not {missing}: unzip {missing}.zip there as well, "
                f"or move {here} away to do without this part."
            )
    if not samples:
        first = OFFICIAL[dataset][0]
        raise SkinlesionError(
            f"{root} does not hold the {dataset} layout (no folder {first.images}). {_looks_like(root, dataset)}"
        )
    return samples


def _find_vmunet(root: Path) -> list[Sample]:
    samples: list[Sample] = []
    for part in _VMUNET_PARTS:
        if not (root / part / "images").is_dir():
            raise SkinlesionError(
                f"{root} does not hold the vmunet layout (no folder {part}/images). {_looks_like(root, 'vmunet')}"
            )
        samples += pair_folders(root / part / "images", root / part / "masks", part)
    return samples


def _find_folder(root: Path, dataset: str) -> list[Sample]:
    if not (root / "images").is_dir():
        raise SkinlesionError(
            f"{root} has no folder named images with a folder masks beside it. {_looks_like(root, dataset)}"
        )
    return pair_folders(root / "images", root / "masks")


def _looks_like(root: Path, asked: str) -> str:
    """Say which layout a folder does hold, for the end of an error message."""
    names = _subfolders(root).keys()
    for dataset, parts in OFFICIAL.items():
        known = {name.lower() for part in parts for name in (part.images, part.masks)}
        if root.resolve().name.lower() in known:
            return f"It is one of the folders of {dataset}: give the folder above it, {root.resolve().parent}."
        if dataset != asked and known & names:
            return f"It looks like {dataset}: choose that dataset, or another folder."
    if (root / "train" / "images").is_dir() and asked != "vmunet":
        return "It looks like vmunet (train/images): choose that dataset, or another folder."
    if (root / "images").is_dir() and (root / "masks").is_dir():
        return "It looks like folder (images and masks): choose that dataset, or another folder."
    return "Check the path, or unzip the official archives there without renaming their folders."


def _subfolders(root: Path) -> dict[str, Path]:
    """Return folders by lower-case name; where unzipping made one inside another of the same name, the inner."""
    folders = {}
    for path in _listing(root):
        if path.is_dir():
            inner = path / path.name
            folders[path.name.lower()] = inner if inner.is_dir() else path
    return folders


def _listing(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise SkinlesionError(f"{folder} cannot be listed ({error.strerror}).") from error


def _index(folder: Path, *, masks: bool) -> dict[str, Path]:
    """Return the folder's image files by id, leaving out hidden files and superpixel maps."""
    if not folder.is_dir():
        what = "masks" if masks else "images"
        raise SkinlesionError(f"{folder}: there is no such folder. It should hold the {what}.")
    index: dict[str, Path] = {}
    for path in _listing(folder):
        stem = path.stem
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        if stem.lower().endswith("_superpixels"):
            continue
        if masks:
            ending = next((end for end in _MASK_ENDINGS if stem.lower().endswith(end)), "")
            stem = stem[: len(stem) - len(ending)]
        if stem in index:
            raise SkinlesionError(f"{index[stem]} and {path.name} are two files for {stem}: keep one of them.")
        index[stem] = path
    return index


def _complain_about_singles(
    ids: set[str], files: dict[str, Path], what: str, partner: str, partner_dir: str | Path
) -> None:
    if not ids:
        return
    first = min(ids)
    more = f" ({len(ids)} such files)" if len(ids) > 1 else ""
    raise SkinlesionError(
        f"{files[first]}: this {what} has no {partner} in {partner_dir}{more}. "
        f"Add the {partner} or move the {what} away."
    )


def _unique(samples: list[Sample]) -> list[Sample]:
    if not samples:
        raise SkinlesionError("The folders are there but hold no images. Unzip the archives again.")
    by_id: dict[str, Sample] = {}
    for sample in samples:
        if sample.id in by_id:
            raise SkinlesionError(
                f"{by_id[sample.id].image} and {sample.image} have the same name: an image must be in one part only."
            )
        by_id[sample.id] = sample
    return [by_id[id] for id in sorted(by_id)]
