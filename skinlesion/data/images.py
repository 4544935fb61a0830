"""Reading, resizing and normalizing images and masks: every file is read here.

Everything is decoded with Pillow, to plain NumPy arrays. A file that cannot be used raises
:class:`~skinlesion.errors.SkinlesionError` with the file's name and what to do. Color profiles are ignored.
"""

from typing import Literal, get_args

import numpy as np
from PIL import Image

from skinlesion.data.decoding import MAX_PIXELS, Source, decode, label_of, upright, upright_size
from skinlesion.data.mask_values import DEFAULT_RULES, MaskRules, to_binary
from skinlesion.errors import SkinlesionError

Normalization = Literal["minmax", "minmax255"]
_LARGE = 4_000_000  # pixels of an image that is spared copies
NORMALIZATIONS: tuple[str, ...] = get_args(Normalization)


def read_image(source: Source, *, name: str | None = None) -> np.ndarray:
    """Read an image as 8-bit RGB, the right way up.

    The EXIF orientation is applied. Grayscale, palette and CMYK images become RGB. 16-bit values become 8-bit ones
    (divided by 257), and so do 32-bit values unless none is above 255. Transparent pixels are composited on white, as a
    browser shows them (skin is bright, so white disturbs least; a black rim looks like a lesion). The first frame of an
    animation is used.

    Args:
        source: a path or the file's bytes.
        name: what to call the image in errors; default the path.

    Returns:
        uint8 (H, W, 3).

    Raises:
        SkinlesionError: the file is missing, damaged, not an image, or larger than ``MAX_PIXELS`` (this is read from
            the header, before any pixel is decoded).
    """
    label = label_of(source, name)
    return _array(_to_rgb(decode(source, label), label))


def rgb_array(picture: Image.Image, *, name: str = "The image") -> np.ndarray:
    """Turn a Pillow image into 8-bit RGB, the right way up, by the rules of :func:`read_image`.

    Returns:
        uint8 (H, W, 3).

    Raises:
        SkinlesionError: its file is damaged, it is too large or empty, or its values cannot be shown in 8 bits.
    """
    return _array(_to_rgb(upright(picture, name), name))


def read_mask(source: Source, *, name: str | None = None, rules: MaskRules = DEFAULT_RULES) -> np.ndarray:
    """Read a binary mask.

    Args:
        source: a path or the file's bytes: 1-bit, or one value besides 0 (255, 1, 128, ...), as gray, palette, one
            color on black, or drawn on a transparent layer. A mask without any lesion is accepted.
        name: what to call the mask in errors; default the path.
        rules: for masks with soft edges or JPEG compression, and for inverted ones.

    Returns:
        bool (H, W), True on the lesion.

    Raises:
        SkinlesionError: as :func:`read_image`, or the mask holds other values and `rules` has no threshold.
    """
    label = label_of(source, name)
    return to_binary(decode(source, label), label, rules)


def read_size(source: Source, *, name: str | None = None, most: int = MAX_PIXELS) -> tuple[int, int]:
    """Read (height, width) from an image's header, after EXIF orientation, without decoding its pixels.

    Raises:
        SkinlesionError: the file is missing, isn't an image, or has more than `most` pixels.
    """
    return upright_size(source, label_of(source, name), most)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an image with Pillow's Hamming filter.

    The filter widens as the image shrinks, so fine hair does not turn into dots; it is sharper than a
    bilinear one, and unlike Lanczos it cannot ring around ruler marks and dark hair.

    Args:
        image: uint8 (H, W, 3).
        size: the new (height, width).

    Returns:
        uint8 (height, width, 3).
    """
    if image.shape[:2] == tuple(size):
        return image
    if image.shape[0] * image.shape[1] <= _LARGE:
        return _hamming(image, size)
    # Channel by channel, with the same result: of a large image a quarter is in memory a second time.
    return np.stack([_hamming(np.ascontiguousarray(image[..., i]), size) for i in range(3)], axis=-1)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask with nearest-neighbor interpolation, so that it stays binary (A33).

    Args:
        mask: bool (H, W).
        size: the new (height, width).

    Returns:
        bool (height, width).
    """
    if mask.shape == tuple(size):
        return mask
    height, width = size
    picture = Image.fromarray(mask.astype(np.uint8))
    return np.asarray(picture.resize((width, height), Image.Resampling.NEAREST)).astype(bool)


def normalize(image: np.ndarray, mode: Normalization = "minmax") -> np.ndarray:
    """Stretch one image so that its darkest value becomes 0 and its brightest 1 (A32).

    One minimum and one maximum are taken over all three channels, so colors keep their relation. Any constants
    subtracted and divided before would cancel, which is why the harness's dataset means are not needed.

    Args:
        image: uint8 (H, W, 3).
        mode: ``minmax`` to [0, 1]; ``minmax255`` to [0, 255], as VM-UNet's harness feeds its network.

    Returns:
        float32 (H, W, 3); all zeros for a constant image.

    Raises:
        SkinlesionError: an unknown mode.
    """
    if mode not in NORMALIZATIONS:
        raise SkinlesionError(f"Unknown normalization {mode!r}: choose minmax or minmax255.")
    low, high = int(image.min()), int(image.max())
    top = 1.0 if mode == "minmax" else 255.0
    scale = np.float32(top / (high - low)) if high > low else np.float32(0)
    return (image.astype(np.float32) - np.float32(low)) * scale


def _hamming(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (H, W) or (H, W, 3) resized."""
    height, width = size
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.HAMMING))


def _to_rgb(picture: Image.Image, label: str) -> Image.Image:
    if picture.mode == "RGB" and not picture.has_transparency_data:
        return picture
    if picture.mode.startswith("I"):
        picture = Image.fromarray(_to_eight(np.asarray(picture), label))
    if picture.mode == "F":
        raise SkinlesionError(f"{label} holds floating-point values; save it as an 8-bit or 16-bit image.")
    try:
        if not picture.has_transparency_data:
            return picture.convert("RGB")
        picture = picture.convert("RGBA")
        page = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(page, picture).convert("RGB")
    except ValueError as error:
        raise SkinlesionError(
            f"{label} has a color mode that cannot be converted ({picture.mode}); save it as RGB."
        ) from error


def _array(picture: Image.Image) -> np.ndarray:
    """uint8 (H, W, 3) of an RGB image; a large one is copied in strips, since Pillow's own way copies it twice."""
    width, height = picture.size
    if width * height <= _LARGE:
        return np.asarray(picture, dtype=np.uint8)
    array = np.empty((height, width, 3), np.uint8)
    rows = max(1, _LARGE // width)
    for top in range(0, height, rows):
        array[top : top + rows] = np.asarray(picture.crop((0, top, width, min(top + rows, height))))
    return array


def _to_eight(values: np.ndarray, label: str) -> np.ndarray:
    """uint8 from whole numbers: of 16 bits, or of 32 that hold 8 or 16."""
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise SkinlesionError(f"{label} holds 32-bit values; save it as an 8-bit or 16-bit image.")
    if values.dtype.itemsize == 4 and values.max() <= 255:
        return values.astype(np.uint8)
    return np.round(values / 257.0).astype(np.uint8)
