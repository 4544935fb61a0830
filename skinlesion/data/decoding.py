"""Opening an image file: which formats are read, what is refused, and why, in one sentence.

Everything is decoded with Pillow. HEIC, the format of iPhone photos, needs the optional package ``pillow-heif``.
"""

import contextlib
import ctypes
import functools
import logging
import os
import stat
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO

from PIL import Image
from PIL.Image import Transpose

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
_LONGEST_JPEG = 200_000_000  # bytes
_ORIENTATION_TAG = 0x0112
# EXIF orientation -> how to turn the image upright.
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
# The first brand of an ISO media file -> what it is.
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
_TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


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
    _silence_decoders()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def label_of(source: Source, name: str | None) -> str:
    """What an error message calls a file."""
    if name is not None:
        return name
    return "The uploaded image" if isinstance(source, bytes) else printable(source)


@contextlib.contextmanager
def open_image(source: Source, label: str, most: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Open an image as far as its header; its pixels can be loaded inside the context.

    Args:
        source: a path or the file's bytes.
        label: what to call it in errors.
        most: pixels that it may have.

    Raises:
        SkinlesionError: there is no such file, it isn't a regular file (a pipe or a device could block forever) or an
            image that can be read, or it is larger than `most`.
    """
    if not isinstance(source, bytes):
        _require_file(source, label)
    try:
        # Pillow maps an uncompressed TIFF into memory if it is given the path, and scrambles one that is rotated.
        file = BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: SIM115
    except PermissionError:
        raise SkinlesionError(f"{label} cannot be opened: no permission to read it.") from None
    with file:
        image = _opened(file, source, label, most)
        _check_size(image, label, most)
        yield image


def _opened(file: IO[bytes], source: Source, label: str, most: int) -> Image.Image:
    formats = readable_formats()
    try:
        return Image.open(file, formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SkinlesionError(f"{label} is too large ({error}). {_reduce(most)}") from None
    except Exception as error:  # decoders raise almost anything on a damaged header
        try:  # a damaged EXIF block keeps Pillow from opening a JPEG whose pixels are intact
            file.seek(0)
            return Image.open(BytesIO(_without_exif(file.read(_LONGEST_JPEG))), formats=("JPEG",))
        except Exception:
            raise SkinlesionError(_unreadable(source, label)) from error


def _without_exif(data: bytes) -> bytes:
    """A JPEG file without the blocks that hold EXIF."""
    kept, place = [data[:2]], 2
    while data[place : place + 1] == b"\xff" and data[place + 1 : place + 2] not in (b"\xda", b""):  # up to the pixels
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if data[place + 1] != 0xE1:
            kept.append(data[place:end])
        place = end
    return b"".join(kept) + data[place:]


def decode(source: Source, label: str) -> Image.Image:
    """Decode the first frame and turn it upright by its EXIF data.

    Raises:
        SkinlesionError: as `open_image`, or the pixels are damaged.
    """
    with open_image(source, label) as image:
        return upright(image, label)


def upright(image: Image.Image, label: str) -> Image.Image:
    """Decode an opened image and turn it upright by its EXIF data; damaged EXIF data are ignored.

    Returns:
        The image itself if it is upright already.

    Raises:
        SkinlesionError: the pixels are damaged, or there are none or too many.
    """
    _check_size(image, label, MAX_PIXELS)
    try:
        image.load()
    except Exception as error:  # decoders raise almost anything on damaged data
        raise SkinlesionError(
            f"{label} is damaged or incomplete ({printable(error)}). Download or copy it again."
        ) from error
    turn = _UPRIGHT.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def upright_size(source: Source, label: str, most: int = MAX_PIXELS) -> tuple[int, int]:
    """(height, width) from the header, after EXIF orientation, without decoding pixels; errors as `open_image`."""
    with open_image(source, label, most) as image:
        width, height = image.size
        # Pillow turns a TIFF itself, and its header says so already.
        turned = image.format != "TIFF" and _orientation(image) in (5, 6, 7, 8)
    return (width, height) if turned else (height, width)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # readers of EXIF raise almost anything; the pixels don't depend on it
        return 1
    return value if isinstance(value, int) else 1


def _silence_decoders() -> None:
    """Silence the messages of decoders about damaged files, so that they don't mix with a command's output.

    Whether the file can be used is decided by what they raise.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # else Python prints them for want of a handler
    with contextlib.suppress(OSError, AttributeError):  # libtiff writes to the terminal by itself, unless it can't
        pillow = ctypes.CDLL(Image.core.__file__)
        pillow.TIFFSetErrorHandler(None)
        pillow.TIFFSetWarningHandler(None)


def _check_size(image: Image.Image, label: str, most: int) -> None:
    width, height = image.size
    if width * height == 0:
        raise SkinlesionError(f"{label} has no pixels ({width} x {height}).")
    if width * height > most:
        raise SkinlesionError(f"{label} is too large ({width} x {height} pixels). {_reduce(most)}")


def _reduce(most: int) -> str:
    return f"Reduce it to at most {most // 1_000_000} million pixels."


def _require_file(path: str | Path, label: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if str(path).lower().startswith(("http:/", "https:/")):  # a Path has lost the second slash
            raise SkinlesionError(
                f"{label} is an address, not a file: download the image first, in Python with skinlesion.fetch_image."
            ) from None
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
    if _start(source, 4) in _TIFF_MARKS:
        return f"{label} is damaged, or a kind of TIFF that can't be read; save it with 8 bits per channel, or as PNG."
    return f"{label} is not an image that can be read; give {_NAMED}."


def _brand(source: Source) -> bytes:
    start = _start(source, 12)
    return start[8:12] if start[4:8] == b"ftyp" else b""


def _start(source: Source, length: int) -> bytes:
    """The first bytes of a file; b"" if it cannot be read."""
    if isinstance(source, bytes):
        return source[:length]
    try:
        with open(source, "rb") as file:
            return file.read(length)
    except OSError:
        return b""
