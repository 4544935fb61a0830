"""Opening an image file: which formats are read, what is refused, and why, in one sentence.

Everything is decoded with Pillow. HEIC, the format of iPhone photos, needs the optional package ``pillow-heif``.
"""

import functools
import os
import stat
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageOps

from skinlesion.errors import SkinlesionError
from skinlesion.text import printable

Source = str | Path | bytes

MAX_PIXELS = 80_000_000  # a 20,000 x 4,000 panorama; under the size where Pillow itself becomes alarmed
HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})
IMAGE_SUFFIXES = HEIF_SUFFIXES | {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".gif"),
    *(".avif", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
}
# MPO, of stereo cameras, is read as JPEG. Pillow would also try formats that start other programs (EPS) or stream from
# elsewhere: not from a user's file.
_FORMATS = ("JPEG", "PNG", "BMP", "DIB", "TIFF", "WEBP", "GIF", "JPEG2000", "AVIF", "HEIF")
_NAMED = "JPEG, PNG, TIFF, BMP, WebP, GIF, AVIF, HEIC or JPEG 2000"
_ORIENTATION_TAG = 0x0112
# The first brand of an ISO media file -> what it is.
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_REDUCE = f"Reduce it to at most {MAX_PIXELS // 1_000_000} million pixels."


@functools.cache
def readable_formats() -> tuple[str, ...]:
    """The names of the formats that this machine's Pillow reads, of those that this package accepts."""
    try:
        import pillow_heif
    except ImportError:  # an optional extra; `open_image` says how to get it when a HEIC file comes
        pass
    else:
        pillow_heif.register_heif_opener()
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def label_of(source: Source, name: str | None) -> str:
    """What an error message calls a file."""
    if name is not None:
        return name
    return "The uploaded image" if isinstance(source, bytes) else printable(source)


def open_image(source: Source, label: str) -> Image.Image:
    """Open an image as far as its header.

    Raises:
        SkinlesionError: there is no such file, it is no regular file (a pipe or a device could block forever), no image
            that can be read, or larger than ``MAX_PIXELS``.
    """
    if not isinstance(source, bytes):
        _require_file(source, label)
    try:
        image = Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=readable_formats())
    except PermissionError:
        raise SkinlesionError(f"{label} cannot be opened: no permission to read it.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SkinlesionError(f"{label} is too large ({error}). {_REDUCE}") from None
    except Exception as error:  # decoders raise almost anything on a damaged header
        raise SkinlesionError(_unreadable(source, label)) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise SkinlesionError(f"{label} is too large ({width} x {height} pixels). {_REDUCE}")
    return image


def decode(source: Source, label: str) -> Image.Image:
    """Decode the first frame and turn it upright by its EXIF data.

    Raises:
        SkinlesionError: as `open_image`, or the pixels are damaged.
    """
    with open_image(source, label) as image:
        try:
            image.load()
            return ImageOps.exif_transpose(image)
        except Exception as error:  # decoders raise almost anything on damaged data
            raise SkinlesionError(_damaged(label, error)) from error


def upright_size(source: Source, label: str) -> tuple[int, int]:
    """(height, width) from the header, after EXIF orientation, without decoding pixels; errors as `open_image`."""
    with open_image(source, label) as image:
        width, height = image.size
        try:
            turned = image.getexif().get(_ORIENTATION_TAG, 1) in (5, 6, 7, 8)
        except Exception as error:  # decoders raise almost anything on damaged data
            raise SkinlesionError(_damaged(label, error)) from error
    return (width, height) if turned else (height, width)


def _require_file(path: str | Path, label: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise SkinlesionError(f"{label}: there is no such file. Check the path.") from None
    except PermissionError:
        raise SkinlesionError(f"{label} cannot be opened: no permission to read it.") from None
    except (OSError, ValueError) as error:  # a loop of links, a name that is too long, a zero byte in the name
        raise SkinlesionError(f"{label} cannot be opened ({getattr(error, 'strerror', None) or error}).") from None
    if stat.S_ISDIR(mode):
        raise SkinlesionError(f"{label} is a folder; give an image file.")
    if not stat.S_ISREG(mode):
        raise SkinlesionError(f"{label} is not an ordinary file but a pipe, socket or device; give an image file.")


def _unreadable(source: Source, label: str) -> str:
    brand = _brand(source)
    if brand in _HEIF_BRANDS and "HEIF" not in readable_formats():
        return f'{label} is a HEIC image: install its reader with pip install "skinlesion[heif]", or save it as JPEG.'
    if brand in _AVIF_BRANDS and "AVIF" not in readable_formats():
        return f"{label} is an AVIF image: update Pillow with pip install -U pillow, or save it as JPEG."
    return f"{label} is not an image that can be read; give {_NAMED}."


def _brand(source: Source) -> bytes:
    try:
        if isinstance(source, bytes):
            start = source[:12]
        else:
            with open(source, "rb") as file:
                start = file.read(12)
    except OSError:
        return b""
    return start[8:12] if start[4:8] == b"ftyp" else b""


def _damaged(label: str, error: Exception) -> str:
    return f"{label} is damaged or cut short ({error}). Get the file again from where it came."
