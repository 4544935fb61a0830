"""Reading, resizing and normalizing images and masks: the one door through which every file enters.

Everything is decoded with Pillow, to plain NumPy arrays. A file that cannot be used raises
:class:`~skinlesion.errors.SkinlesionError` with the file's name and what to do. Color profiles are ignored.
"""

from io import BytesIO
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageOps

from skinlesion.errors import SkinlesionError

Source = str | Path | bytes
Normalization = Literal["minmax", "minmax255"]
NORMALIZATIONS: tuple[str, ...] = get_args(Normalization)

MAX_PIXELS = 80_000_000  # a 20,000 x 4,000 panorama; under the size where Pillow itself becomes alarmed
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"})
# Pillow would also try formats that start other programs (EPS) or stream from elsewhere: not from a user's file.
_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
_ORIENTATION_TAG = 0x0112


def read_image(source: Source, *, name: str | None = None) -> np.ndarray:
    """Read an image as 8-bit RGB, the right way up.

    The EXIF orientation is applied; grayscale, palette and CMYK become RGB; 16 bits become 8 (divided by 257);
    transparent pixels are laid on white, as a page or a browser would show them (skin is bright, so white
    disturbs least: a black rim looks like a lesion); of an animation the first frame is taken.

    Args:
        source: a path or the file's bytes.
        name: what to call the image in errors; default the path.

    Returns:
        uint8 (H, W, 3).

    Raises:
        SkinlesionError: the file is missing, damaged, no image, or larger than ``MAX_PIXELS`` (this is read from
            the header, before any pixel is decoded).
    """
    label = _label(source, name)
    picture = _decode(source, label)
    return np.asarray(_to_rgb(picture, label), dtype=np.uint8)


def rgb_array(picture: Image.Image, *, name: str = "The picture") -> np.ndarray:
    """Turn a Pillow image into 8-bit RGB, the right way up, by the rules of :func:`read_image`.

    Returns:
        uint8 (H, W, 3).

    Raises:
        SkinlesionError: its values cannot be shown in 8 bits.
    """
    return np.asarray(_to_rgb(ImageOps.exif_transpose(picture), name), dtype=np.uint8)


def read_mask(source: Source, *, name: str | None = None) -> np.ndarray:
    """Read a binary mask.

    Args:
        source: a path or the file's bytes: 1-bit, or 8-bit with only 0 and 1 or only 0 and 255 (16-bit: 0 and
            65535 too), as gray or as three equal channels. A mask without any lesion is accepted.
        name: what to call the mask in errors; default the path.

    Returns:
        bool (H, W), True on the lesion.

    Raises:
        SkinlesionError: as :func:`read_image`, or the mask holds other values, which is what JPEG compression
            or a smooth resize leaves behind.
    """
    label = _label(source, name)
    picture = _decode(source, label)
    if picture.mode == "1":
        return np.asarray(picture, dtype=bool)
    values = _mask_values(picture, label)
    present = np.unique(values)
    on = [value for value in present.tolist() if value != 0]
    if not on:
        return np.zeros(values.shape, dtype=bool)
    if len(on) == 1 and on[0] in (1, 255, 65535):
        return values != 0
    raise SkinlesionError(_not_binary(label, values, present))


def read_size(source: Source, *, name: str | None = None) -> tuple[int, int]:
    """Read (height, width) from an image's header, after EXIF orientation, without decoding its pixels."""
    label = _label(source, name)
    with _open(source, label) as picture:
        width, height = picture.size
        try:
            turned = picture.getexif().get(_ORIENTATION_TAG, 1) in (5, 6, 7, 8)
        except Exception as error:  # decoders raise almost anything on damaged data
            raise SkinlesionError(_damaged(label, error)) from error
    return (width, height) if turned else (height, width)


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
    height, width = size
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.HAMMING))


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask to the nearest pixel, so that it stays binary (A33).

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
        float32 (H, W, 3); all zeros for an image of one value.

    Raises:
        SkinlesionError: an unknown mode.
    """
    if mode not in NORMALIZATIONS:
        raise SkinlesionError(f"Unknown normalization {mode!r}: choose minmax or minmax255.")
    low, high = int(image.min()), int(image.max())
    top = 1.0 if mode == "minmax" else 255.0
    scale = np.float32(top / (high - low)) if high > low else np.float32(0)
    return (image.astype(np.float32) - np.float32(low)) * scale


def _label(source: Source, name: str | None) -> str:
    if name is not None:
        return name
    return "The uploaded image" if isinstance(source, bytes) else str(source)


def _open(source: Source, label: str) -> Image.Image:
    """Open an image as far as its header, and refuse one that is too large."""
    try:
        picture = Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=_FORMATS)
    except FileNotFoundError:
        raise SkinlesionError(f"{label}: there is no such file. Check the path.") from None
    except IsADirectoryError:
        raise SkinlesionError(f"{label} is a folder; give an image file.") from None
    except PermissionError:
        raise SkinlesionError(f"{label} cannot be opened: no permission to read it.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SkinlesionError(f"{label} is too large ({error}). {_REDUCE}") from None
    except Exception as error:  # decoders raise almost anything on a damaged header
        known = ", ".join(_FORMATS)
        raise SkinlesionError(f"{label} is not an image that can be read; give one of {known}.") from error
    width, height = picture.size
    if width * height > MAX_PIXELS:
        picture.close()
        raise SkinlesionError(f"{label} is too large ({width} x {height} pixels). {_REDUCE}")
    return picture


_REDUCE = f"Reduce it to at most {MAX_PIXELS // 1_000_000} million pixels."


def _decode(source: Source, label: str) -> Image.Image:
    """Decode the first frame and turn it upright."""
    with _open(source, label) as picture:
        try:
            picture.load()
            return ImageOps.exif_transpose(picture)
        except Exception as error:  # decoders raise almost anything on damaged data
            raise SkinlesionError(_damaged(label, error)) from error


def _damaged(label: str, error: Exception) -> str:
    return f"{label} is damaged or cut short ({error}). Get the file again from where it came."


def _to_rgb(picture: Image.Image, label: str) -> Image.Image:
    if picture.mode.startswith("I"):
        picture = Image.fromarray(_sixteen_to_eight(np.asarray(picture), label))
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


def _sixteen_to_eight(values: np.ndarray, label: str) -> np.ndarray:
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise SkinlesionError(f"{label} holds 32-bit values; save it as an 8-bit or 16-bit image.")
    return np.round(values / 257.0).astype(np.uint8)


def _mask_values(picture: Image.Image, label: str) -> np.ndarray:
    """Return a mask's gray values, (H, W)."""
    if picture.mode in ("L", "F") or picture.mode.startswith("I"):
        return np.asarray(picture)
    try:
        channels = np.asarray(picture.convert("RGBA"))
    except ValueError as error:
        raise SkinlesionError(
            f"{label}: a mask must be black and white, not {picture.mode}; save it as PNG."
        ) from error
    if (channels[..., 3] != 255).any():
        raise SkinlesionError(f"{label}: a mask must not be transparent; save it as a black and white PNG.")
    if (channels[..., :1] != channels[..., 1:3]).any():
        raise SkinlesionError(f"{label}: a mask must not be colored; save it as a black and white PNG.")
    return channels[..., 0]


def _not_binary(label: str, values: np.ndarray, present: np.ndarray) -> str:
    some = ", ".join(str(value) for value in present[:4].tolist())
    more = ", ..." if len(present) > 4 else ""
    message = f"{label} is not a binary mask: it holds {len(present)} gray values ({some}{more})."
    if values.max() <= 255 and not ((values > 32) & (values < 223)).any():
        message += " They lie near black and white, as JPEG compression leaves them."
    return message + " Save it as PNG with only 0 and 255, and resize it without smoothing."
