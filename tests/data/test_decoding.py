"""Which files are read, and what is said of those that aren't."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinlesion.data.decoding import IMAGE_SUFFIXES, readable_formats
from skinlesion.data.images import read_image, read_size
from skinlesion.errors import SkinlesionError

PHOTO = Image.fromarray(np.linspace(40, 220, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("a.jfif", "JPEG"), ("a.jpe", "JPEG"), ("a.mpo", "MPO"), ("a.jp2", "JPEG2000"), ("a.avif", "AVIF")),
        *(("a.heic", "HEIF"), ("a.dib", "DIB")),
    ],
)
def test_every_named_suffix_is_read(tmp_path: Path, name: str, kind: str) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif")
    if kind in ("JPEG2000", "AVIF") and kind not in readable_formats():
        pytest.skip(f"this Pillow has no {kind}")
    PHOTO.save(tmp_path / name, kind)
    assert np.abs(read_image(tmp_path / name).astype(int) - np.asarray(PHOTO)).mean() < 4
    assert read_size(tmp_path / name) == (48, 64)
    assert Path(name).suffix in IMAGE_SUFFIXES


def test_an_image_is_known_by_its_content_not_its_name(tmp_path: Path) -> None:
    PHOTO.save(tmp_path / "a.png", "JPEG2000")
    assert read_image(tmp_path / "a.png").shape == (48, 64, 3)


def test_heic_without_its_reader_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    program = (
        "import sys; sys.modules['pillow_heif'] = None\n"
        "from skinlesion.data.images import read_image\n"
        f"read_image({str(tmp_path / 'IMG_1.HEIC')!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert 'HEIC image: install its reader with pip install "skinlesion[heif]"' in done.stderr


def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for a writer forever
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with pytest.raises(SkinlesionError, match=r"pipe\.png is not an ordinary file"):
        read_image(tmp_path / "pipe.png")
    with pytest.raises(SkinlesionError, match=r"loop\.png cannot be opened"):
        read_image(tmp_path / "loop.png")
    for name in ("a\0b.png", "x" * 300 + ".png"):
        with pytest.raises(SkinlesionError, match="cannot be opened"):
            read_image(tmp_path / name)
    if Path("/dev/zero").exists():
        with pytest.raises(SkinlesionError, match="not an ordinary file"):
            read_image("/dev/zero")


@pytest.mark.parametrize("address", ["https://example.org/a.jpg", Path("HTTP://example.org/a.jpg")])
def test_an_address_is_not_called_a_missing_file(address: str | Path) -> None:
    with pytest.raises(SkinlesionError, match=r"is an address, not a file: download the image first"):
        read_image(address)


def test_a_tiff_that_is_not_read_is_not_said_to_be_no_tiff(tmp_path: Path) -> None:
    PHOTO.save(tmp_path / "a.tif")
    data = bytearray((tmp_path / "a.tif").read_bytes())
    place = data.index((258).to_bytes(2, "little") + (3).to_bytes(2, "little"))  # BitsPerSample
    bits = int.from_bytes(data[place + 8 : place + 12], "little")
    data[bits : bits + 6] = (64).to_bytes(2, "little") * 3
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(SkinlesionError, match=r"a\.tif is damaged, or a kind of TIFF that can't be read"):
        read_image(tmp_path / "a.tif")
