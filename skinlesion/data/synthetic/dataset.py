"""A folder of synthetic images and masks, in a layout that the rest of the package reads."""

import csv
import shutil
import uuid
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from skinlesion.data.layouts import OFFICIAL
from skinlesion.data.synthetic.scene import synthesize
from skinlesion.errors import SkinlesionError
from skinlesion.files import cannot_write, make_folder
from skinlesion.protocol import MAX_SIDE
from skinlesion.schema import MAX_INT

Layout = Literal["folder", "isic2017"]
MOST = 10_000_000  # as many as the seven digits of an id can count


def write_dataset(
    root: str | Path,
    n: int,
    seed: int = 0,
    size: int | tuple[int, int] = 256,
    layout: Layout = "folder",
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Write n images (JPEG) with their masks (1-bit PNG) and ``attributes.csv``: all of them or nothing.

    Image number i (from 1) is ``synthesize(scene_seed(seed, i), size)``; two seeds share no image.

    Args:
        root: a folder that is new or empty.
        n: how many, at least 1.
        seed: any whole number from 0.
        size: the side, or (height, width).
        layout: ``folder``: ``images/SYN_0000001.jpg`` and ``masks/SYN_0000001.png``. ``isic2017``: the official
            folders and names, a fifth of the images in the validation set and a fifth in the test set.
        progress: called with the number of images done, after each.

    Returns:
        root.

    Raises:
        SkinlesionError: the folder isn't empty or cannot be written, or an argument is invalid.
    """
    if not 1 <= n < MOST:
        raise SkinlesionError(f"n={n} is not valid: choose from 1 to {MOST - 1}.")
    if layout not in ("folder", "isic2017"):
        raise SkinlesionError(f"Unknown layout {layout!r}: choose folder or isic2017.")
    sides = (size, size) if isinstance(size, int) else size
    if not all(1 <= side <= MAX_SIDE for side in sides):
        raise SkinlesionError(f"size={size} is not valid: choose from 1 to {MAX_SIDE} pixels.")
    if not 0 <= seed <= MAX_INT:
        raise SkinlesionError(f"seed={seed} is not valid: choose from 0 to {MAX_INT}.")
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise SkinlesionError(f"{root} exists already and is not an empty folder: choose a new one, or empty it.")
    is_new = not root.exists()
    make_folder(root)
    staging = root / f".{uuid.uuid4().hex}.tmp"
    try:
        _write_all(staging, n, seed, size, layout, progress)
        for path in sorted(staging.iterdir()):
            path.rename(root / path.name)
        staging.rmdir()
    except BaseException as error:
        shutil.rmtree(staging, ignore_errors=True)
        if is_new:
            shutil.rmtree(root, ignore_errors=True)
        if isinstance(error, OSError):
            raise cannot_write(root, error) from error
        raise
    return root


def scene_seed(seed: int, number: int) -> int:
    """Return the seed that ``synthesize`` draws image ``number`` (from 1) of the data set ``seed`` with."""
    return seed * MOST + number


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """Return uint8 (H, W, 3) as JPEG with color at full resolution."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
    return buffer.getvalue()


def encode_mask(mask: np.ndarray) -> bytes:
    """Return bool (H, W) as a 1-bit PNG."""
    buffer = BytesIO()
    Image.fromarray(mask).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _write_all(
    folder: Path,
    n: int,
    seed: int,
    size: int | tuple[int, int],
    layout: Layout,
    progress: Callable[[int], None] | None,
) -> None:
    rows: list[dict[str, object]] = []
    for number in range(1, n + 1):
        name = f"SYN_{number:07d}"
        lesion = synthesize(scene_seed(seed, number), size)
        image_path, mask_path = (folder / path for path in _paths(layout, name, number, n))
        for path in (image_path, mask_path):
            path.parent.mkdir(parents=True, exist_ok=True)
        image_path.write_bytes(encode_jpeg(lesion.image))
        mask_path.write_bytes(encode_mask(lesion.mask))
        rows.append({"id": name, "seed": scene_seed(seed, number), **lesion.attributes})
        if progress is not None:
            progress(number)
    with (folder / "attributes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def _paths(layout: Layout, name: str, number: int, n: int) -> tuple[str, str]:
    """Return where an image and its mask go, under the root."""
    if layout == "folder":
        return f"images/{name}.jpg", f"masks/{name}.png"
    fifth = n // 5
    train, val, test = OFFICIAL["isic2017"]
    part = train if number <= n - 2 * fifth else val if number <= n - fifth else test
    return f"{part.images}/{name}.jpg", f"{part.masks}/{name}_segmentation.png"
