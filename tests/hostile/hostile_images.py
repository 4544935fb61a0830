"""A seeded generator of image files: intact ones in many forms, and those that something happened to."""

import io
import random
from typing import Any

import numpy as np
from PIL import Image

from skinlesion.data.decoding import readable_formats

# Format, mode and how it is saved.
FORMS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    *(("JPEG", mode, {}) for mode in ("RGB", "L", "CMYK")),
    ("JPEG", "RGB", {"progressive": True, "restart_marker_blocks": 2}),
    *(("PNG", mode, {}) for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")),
    *(("TIFF", mode, {}) for mode in ("RGB", "RGBA", "L", "1", "CMYK", "I", "I;16", "F", "LAB", "YCbCr")),
    *(("TIFF", "RGB", {"compression": kind}) for kind in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
    ("TIFF", "1", {"compression": "group4"}),
    *(("BMP", mode, {}) for mode in ("RGB", "L", "1")),
    *(("GIF", mode, {}) for mode in ("P", "L")),
    *(("WEBP", mode, {}) for mode in ("RGB", "RGBA")),
    ("WEBP", "RGB", {"lossless": True}),
    ("JPEG2000", "RGB", {}),
    ("AVIF", "RGB", {"speed": 10}),
    ("MPO", "RGB", {}),
    ("ICO", "RGB", {}),  # a format that isn't accepted
)
ORIENTATION = 0x0112
BROKEN_EXIF = (
    b"",
    b"Exif\0\0",
    b"Exif\0\0II*\0\xff\xff\xff\xff",
    b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x12\x00\x02" * 20,
    b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x05\0\x01\0\0\0\xf0\xff\xff\xff",  # orientation as a fraction elsewhere
)


def picture(mode: str, source: random.Random) -> Image.Image:
    """Noise around a dark disk, up to 60 pixels wide, in any mode of Pillow."""
    height, width = source.randrange(1, 60), source.randrange(1, 60)
    noise = np.random.default_rng(source.randrange(2**32)).integers(60, 220, (height, width, 3), dtype=np.uint8)
    if mode == "I":
        return Image.fromarray(noise[..., 0].astype(np.int32) * source.choice([1, 257, -1, 10**6]))
    if mode == "F":
        return Image.fromarray(noise[..., 0].astype(np.float32))
    if mode == "I;16":
        return Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    return Image.fromarray(noise).convert(mode)


def intact_file(source: random.Random) -> bytes:
    """An image as people have them, with any EXIF orientation or a damaged EXIF block."""
    forms = [form for form in FORMS if form[0] in (*readable_formats(), "MPO", "ICO")]
    kind, mode, options = source.choice(forms)
    if kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF") and source.random() < 0.4:
        exif = Image.Exif()
        exif[ORIENTATION] = source.randrange(1, 9) if kind == "TIFF" else source.randrange(12)
        broken = kind in ("JPEG", "PNG", "WEBP") and source.random() < 0.5
        options = {**options, "exif": source.choice(BROKEN_EXIF) if broken else exif}
    file = io.BytesIO()
    picture(mode, source).save(file, kind, **options)
    return file.getvalue()


def hostile_image(source: random.Random) -> bytes:
    """An intact file in a third of the cases; otherwise one that is cut, overwritten, spliced or something else."""
    data = bytearray(intact_file(source))
    kind = source.randrange(9)
    if kind == 0:
        return bytes(data[: source.randrange(len(data))])
    if kind in (1, 2):  # a few bytes; most of what decides lies near the beginning
        for _ in range(source.randrange(1, 12)):
            data[min(int(source.expovariate(5 / len(data))), len(data) - 1)] = source.randrange(256)
        return bytes(data)
    if kind == 3:
        place = source.randrange(len(data))
        return bytes(data[:place] + source.randbytes(source.randrange(1, 200)) + data[place:])
    if kind == 4:
        return bytes(data[: source.randrange(len(data))] + intact_file(source))
    if kind == 5:
        return source.choice(
            [b"", b"\0" * 200, b"<svg/>", b"%PDF-1.7\n", b"\xff\xd8\xff", b"GIF89a", b"II*\0", b"MM\0*"]
        )
    return bytes(data)
