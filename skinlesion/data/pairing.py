"""Pairing images with masks by name, whatever prefix or suffix the masks' names have.

``ISIC_1.jpg`` goes with ``ISIC_1.png``, ``ISIC_1_segmentation.png``, ``ISIC_1_gt.bmp``, ``mask_ISIC_1.png`` and so on,
in upper or lower case. An exact match takes precedence.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from skinlesion.data.decoding import IMAGE_SUFFIXES
from skinlesion.data.mask_values import DEFAULT_RULES, MaskRules
from skinlesion.data.sample import Dataset, Sample
from skinlesion.errors import SkinlesionError
from skinlesion.text import printable

_MASK_WORD = (
    r"(?:masks?|segmentation|segmented|seg|segm|gt|ground[ _-]?truth|truth|binary|bin|lesion|labels?|annotation"
    r"|anno|target|contour)"
)
_IMAGE_WORD = r"(?:images?|img|photo|rgb|dermoscopic|input|orig|original)"


def _trimmed(word: str) -> tuple[re.Pattern[str], ...]:
    return re.compile(rf"[ _.-]{word}$"), re.compile(rf"^{word}[ _.-]")


FOLDERS = "folders"  # a reason for leaving an entry of a folder out
_MASK_MARKS, _IMAGE_MARKS = _trimmed(_MASK_WORD), _trimmed(_IMAGE_WORD)


class Files(NamedTuple):
    """The image files of a folder by their name without suffix, and what was left out, by reason."""

    images: dict[str, Path]
    left_out: dict[str, list[str]]


def pair_folders(
    image_dir: str | Path, mask_dir: str | Path, part: str | None = None, *, rules: MaskRules = DEFAULT_RULES
) -> list[Sample]:
    """Pair the images of one folder with the masks of another by name; sorted by id.

    Raises:
        SkinlesionError: a folder is missing or empty, or an image or a mask has no partner.
    """
    return pair_dataset(image_dir, mask_dir, part, rules=rules).samples


def pair_dataset(
    image_dir: str | Path, mask_dir: str | Path, part: str | None = None, *, rules: MaskRules = DEFAULT_RULES
) -> Dataset:
    """Like `pair_folders`, with the files that were left out."""
    image_dir, mask_dir = Path(image_dir), Path(mask_dir)
    images, masks = list_images(image_dir, "images"), list_images(mask_dir, "masks")
    samples = match(images.images, masks.images, image_dir, mask_dir)
    lines = [left_out_line(image_dir, images.left_out), left_out_line(mask_dir, masks.left_out)]
    samples = [replace(sample, part=part, rules=rules) for sample in samples]
    return Dataset(samples, left_out=tuple(line for line in lines if line))


def match(images: dict[str, Path], masks: dict[str, Path], image_dir: Path, mask_dir: Path) -> list[Sample]:
    """Find each mask's image.

    Args:
        images, masks: file name without suffix -> path.
        image_dir, mask_dir: where they are, for messages.

    Raises:
        SkinlesionError: one has no partner, or two masks have the same one.
    """
    by_name = _image_names(images)
    found: dict[str, Path] = {}
    lonely: list[Path] = []
    for stem, path in masks.items():
        id = next((by_name[name] for name in mask_names(stem) if by_name.get(name)), None)
        if id is None:
            lonely.append(path)
        elif id in found:
            raise SkinlesionError(
                f"{printable(found[id])} and {printable(path.name)} are two files for {printable(id)}: keep one of "
                "them."
            )
        else:
            found[id] = path
    _complain([images[id] for id in images if id not in found], "image", "mask", mask_dir)
    _complain(lonely, "mask", "image", image_dir)
    return [Sample(id, images[id], found[id]) for id in sorted(images)]


def mask_names(stem: str) -> Iterator[str]:
    """The names that the image of a mask might have, most likely first."""
    yield stem
    for name in _stripped(stem.casefold(), _MASK_MARKS):
        yield name
        yield from _stripped(name, _IMAGE_MARKS)


def list_images(folder: Path, what: str) -> Files:
    """The image files directly in a folder, by name; everything else is counted, by reason.

    Raises:
        SkinlesionError: there is no such folder, or two images have the same name.
    """
    if not folder.is_dir():
        raise SkinlesionError(f"{printable(folder)}: there is no such folder. It should hold the {what}.")
    files = Files({}, {})
    for path in listing(folder):
        reason = no_image(path)
        if reason:
            files.left_out.setdefault(reason, []).append(path.name)
        elif path.stem in files.images:
            raise SkinlesionError(
                f"{printable(files.images[path.stem])} and {printable(path.name)} are two files for "
                f"{printable(path.stem)}: keep one of them."
            )
        else:
            files.images[path.stem] = path
    return files


def left_out_line(folder: Path, left_out: dict[str, list[str]]) -> str:
    """Say which files of a folder were left out, in one line; "" if none was."""
    if not left_out:
        return ""
    groups = []
    for reason, names in left_out.items():
        some = ", ".join(printable(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")
        groups.append(f"{len(names)} {reason} ({some})")
    return f"Left out in {printable(folder)}: {'; '.join(groups)}."


def listing(folder: Path) -> list[Path]:
    """What a folder holds, sorted.

    Raises:
        SkinlesionError: it cannot be listed.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise SkinlesionError(f"{printable(folder)} cannot be listed ({error.strerror}).") from error


def no_image(path: Path) -> str:
    """Why a folder's entry isn't an image; "" if it is one."""
    if path.name.startswith("."):
        return "hidden files"
    if path.is_dir():
        return FOLDERS
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return "files without an image extension"
    return "superpixel maps" if path.stem.lower().endswith("_superpixels") else ""


def _image_names(images: dict[str, Path]) -> dict[str, str]:
    """Name -> id; "" where two images would have that name. An exact match takes precedence."""
    names: dict[str, str] = {}
    for id in images:
        for name in dict.fromkeys(_stripped(id.casefold(), _IMAGE_MARKS)):
            names[name] = "" if name in names else id
    return {**names, **{id: id for id in images}}


def _stripped(name: str, marks: tuple[re.Pattern[str], ...]) -> Iterator[str]:
    """The name, and what is left of it as marks are removed one by one."""
    yield name
    for mark in marks:
        shorter = mark.sub("", name)
        if shorter not in ("", name):
            yield from _stripped(shorter, marks)


def _complain(lonely: list[Path], what: str, partner: str, partner_dir: Path) -> None:
    if lonely:
        more = f" ({len(lonely)} such files)" if len(lonely) > 1 else ""
        raise SkinlesionError(
            f"{printable(min(lonely))}: this {what} has no {partner} in {printable(partner_dir)}{more}. "
            f"Add the {partner} or move the {what} away."
        )
