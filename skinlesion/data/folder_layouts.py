"""The usual layouts for people's own images and masks, recognized by the names of their folders.

- ``images`` and ``masks`` side by side, under any of their usual names (``imgs``/``labels``, ``image``/``gt``, ...);
- a folder for each part (``train``, ``val``, ``test``), with those two inside, or the parts inside those two;
- images and masks in one folder, where the masks' names say what they are (``a.jpg``, ``a_mask.png``);
- the PH2 archive: a folder for each image, with two more inside, and BMP files in those;
- any of these inside one more folder, which many archives add.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from skinlesion.data.decoding import IMAGE_SUFFIXES
from skinlesion.data.mask_values import DEFAULT_RULES, MaskRules
from skinlesion.data.pairing import left_out_line, list_images, listing, mask_names, match, pair_dataset
from skinlesion.data.sample import Dataset
from skinlesion.errors import SkinlesionError
from skinlesion.text import counted, printable

IMAGE_WORDS = frozenset({"images", "image", "imgs", "img", "photos", "inputs", "input", "originals", "jpegimages"})
MASK_WORDS = frozenset(
    {"masks", "mask", "labels", "label", "gt", "gts", "groundtruth", "groundtruths", "truth", "segmentation"}
    | {"segmentations", "segmentationclass", "annotations", "annotation", "targets", "target", "seg"}
)
PART_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
PART_NAMES = {"train": "training", "val": "validation", "test": "test"}
_DEPTH = 3  # folders that an archive may add around a layout


def find_folder_dataset(root: Path, rules: MaskRules = DEFAULT_RULES) -> Dataset | None:
    """The pairs under a folder, in any of the layouts; None if no layout is recognized.

    Raises:
        SkinlesionError: a layout is recognized, but a folder or file has no partner, or two folders have the same role.
    """
    for _ in range(_DEPTH):
        for find in (_side_by_side, _by_part, _ph2, _flat):
            if (found := find(root, rules)) is not None:
                return found
        inside = subfolders(root)
        if len(inside) != 1:
            return None
        root = inside[0]
    return None


def role_of(name: str) -> tuple[str | None, str | None]:
    """What a folder of this name holds: its part, and "images" or "masks"; ``train_images`` is both, ``docs`` neither.

    A name with any other word in it has no role.
    """
    words = [word for word in re.split(r"[ _.-]+", name.casefold()) if word]
    if words[-2:] == ["ground", "truth"]:
        words[-2:] = ["groundtruth"]
    parts = [PART_WORDS[word] for word in words if word in PART_WORDS]
    kinds = ["images" if word in IMAGE_WORDS else "masks" for word in words if word in IMAGE_WORDS | MASK_WORDS]
    if len(parts) > 1 or len(kinds) > 1 or len(parts) + len(kinds) != len(words):
        return None, None
    return next(iter(parts), None), next(iter(kinds), None)


def folders_by_role(root: Path) -> dict[tuple[str | None, str | None], Path]:
    """Role (see `role_of`) -> the folder that has it, of those directly below a folder.

    Raises:
        SkinlesionError: two folders have the same role.
    """
    found: dict[tuple[str | None, str | None], Path] = {}
    for path in subfolders(root):
        role = role_of(path.name)
        if role == (None, None):
            continue
        if role in found:
            what = f"the {role[1]}" if role[1] else f"the {PART_NAMES[role[0] or 'train']} set"
            raise SkinlesionError(
                f"{printable(root)} has two folders that could hold {what}: {printable(found[role].name)} and "
                f"{printable(path.name)}. Move one away, or name both folders with --images DIR --masks DIR."
            )
        found[role] = path
    return found


def subfolders(root: Path) -> list[Path]:
    """The folders directly below a folder, without hidden ones."""
    return [path for path in listing(root) if path.is_dir() and not path.name.startswith((".", "__MACOSX"))]


def describe_part(root: Path, part: str | None, folders: tuple[Path, Path], count: int) -> str:
    """Say which folder is which: "test set: 12 pairs from test/images and test/masks"."""
    what = f"{PART_NAMES[part]} set" if part else "images and masks"
    images, masks = (printable(os.path.relpath(folder, root)) for folder in folders)
    return f"{what}: {count} pairs from {images} and {masks}"


def join(datasets: list[Dataset]) -> Dataset:
    """Several datasets as one."""
    return Dataset(
        [sample for each in datasets for sample in each.samples],
        tuple(line for each in datasets for line in each.folders),
        tuple(dict.fromkeys(line for each in datasets for line in each.left_out)),
    )


def _side_by_side(root: Path, rules: MaskRules) -> Dataset | None:
    """images/ and masks/, perhaps with folders of the same names inside both; or train_images/, train_masks/, ..."""
    roles = {role: path for role, path in folders_by_role(root).items() if role[1]}
    parts = [part for part in (None, *PART_NAMES) if (part, "images") in roles or (part, "masks") in roles]
    found: list[Dataset] = []
    for part in parts:
        images, masks = roles.get((part, "images")), roles.get((part, "masks"))
        if images is None or masks is None:
            here, missing = (images, "masks") if images else (masks, "images")
            raise SkinlesionError(
                f"{printable(root)} has the folder {printable(here and here.name)} but none for the {missing}: name "
                "both with --images DIR --masks DIR."
            )
        found += _same_inside(root, images, masks, part, rules)
    return join(found) if found else None


def _same_inside(root: Path, images: Path, masks: Path, part: str | None, rules: MaskRules) -> Iterator[Dataset]:
    """The pairs directly in two folders, and those in folders of the same name in both."""
    inside = {path.name.lower(): path for path in subfolders(images)}
    twins = [(inside[path.name.lower()], path) for path in subfolders(masks) if path.name.lower() in inside]
    found = pair_dataset(images, masks, part, rules=rules)
    if found.samples or not twins:
        line = describe_part(root, part, (images, masks), len(found.samples))
        yield replace(found, folders=(line,))
    for image_dir, mask_dir in sorted(twins, key=lambda twin: _place(twin[0])):
        yield from _same_inside(root, image_dir, mask_dir, PART_WORDS.get(image_dir.name.lower(), part), rules)


def _place(folder: Path) -> tuple[int, str]:
    """Training, validation, test, then by name."""
    part = PART_WORDS.get(folder.name.lower())
    return list(PART_NAMES).index(part) if part else len(PART_NAMES), folder.name


def _by_part(root: Path, rules: MaskRules) -> Dataset | None:
    """train/, val/ and test/, each with its own layout."""
    roles = folders_by_role(root)
    parts = {part: roles[part, None] for part in PART_NAMES if (part, None) in roles}
    if not parts:
        return None
    found = []
    for part, folder in parts.items():
        inner = _side_by_side(folder, rules) or _flat(folder, rules)
        if inner is None:
            raise SkinlesionError(
                f"{printable(folder)} looks like the {PART_NAMES[part]} set but has no folders named images and "
                "masks: add them, or move it away."
            )
        lines = tuple(f"{PART_NAMES[part]} set: {printable(folder.name)}/, {line}" for line in inner.folders)
        found.append(replace(inner, samples=[replace(each, part=part) for each in inner.samples], folders=lines))
    return join(found)


def _ph2(root: Path, rules: MaskRules) -> Dataset | None:
    """The PH2 archive: IMD002/IMD002_Dermoscopic_Image/IMD002.bmp and IMD002/IMD002_lesion/IMD002_lesion.bmp."""
    samples, other = [], 0
    for folder, names, _ in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        pairs = {name.lower(): Path(folder, name) for name in names}
        stem = Path(folder).name
        images, masks = pairs.get(f"{stem}_dermoscopic_image".lower()), pairs.get(f"{stem}_lesion".lower())
        if images and masks:
            samples += pair_dataset(images, masks, rules=rules).samples
            other += f"{stem}_roi".lower() in pairs
        if depth >= _DEPTH or (images and masks):
            names.clear()
    if not samples:
        return None
    note = (
        (f"Left out in {printable(root)}: {counted(other, 'folder')} of regions of interest (*_roi).",) if other else ()
    )
    return Dataset(samples, (f"images and masks: {counted(len(samples), 'pair')} of the PH2 archive",), note)


def _flat(root: Path, rules: MaskRules) -> Dataset | None:
    """Images and masks in one folder: a mask's name is an image's plus a word such as "mask"."""
    if not any(path.suffix.lower() in IMAGE_SUFFIXES for path in listing(root)):
        return None
    files = list_images(root, "images and masks")
    stems = {stem.casefold() for stem in files.images}
    masks = {
        stem: path
        for stem, path in files.images.items()
        if any(name in stems for name in mask_names(stem) if name.casefold() != stem.casefold())
    }
    if not masks:
        return None
    images = {stem: path for stem, path in files.images.items() if stem not in masks}
    samples = [replace(each, rules=rules) for each in match(images, masks, root, root)]
    line = f"images and masks: {len(samples)} pairs from {printable(root.name)}, told apart by their names"
    left = left_out_line(root, files.left_out)
    return Dataset(samples, (line,), (left,) if left else ())
