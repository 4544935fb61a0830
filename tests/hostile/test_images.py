"""Image files of every kind through every door: the same pixels or one sentence, and nothing printed by a decoder."""

import io
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile_images import BROKEN_EXIF, ORIENTATION, hostile_image
from PIL import Image

from skinlesion.any_image import as_array
from skinlesion.data.decoding import MAX_PIXELS, readable_formats
from skinlesion.data.images import read_image, read_mask, read_size
from skinlesion.data.mask_values import MaskRules
from skinlesion.errors import SkinlesionError
from skinlesion.segmenter import Segmenter

SEEDS = range(600)


@pytest.fixture(scope="module")
def segmenter(small_checkpoint: Path) -> Segmenter:
    segmenter = Segmenter.from_pretrained(small_checkpoint)
    segmenter.segment(Image.new("RGB", (9, 9)))  # compiles, which may take long
    return segmenter


def attempt(read: Callable[[], np.ndarray]) -> np.ndarray | str:
    """The pixels, or the message; any other exception fails the test."""
    start = time.monotonic()
    try:
        return read()
    except SkinlesionError as error:
        text = str(error)
        assert text.isprintable()
        assert len(text) < 500
        return text
    finally:
        assert time.monotonic() - start < 10


def opened(data: bytes) -> Image.Image | None:
    """What a program has that opened the file with Pillow by itself."""
    try:
        return Image.open(io.BytesIO(data), formats=readable_formats())
    except Exception:  # then it has nothing to hand over
        return None


def peak() -> int:
    """The most memory that this process ever had, in bytes; 0 where the system doesn't say."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def test_every_door_gives_the_same_pixels(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refused, memory = 0, peak()
    for seed in SEEDS:
        data = hostile_image(random.Random(seed))
        path = tmp_path / "image"
        path.write_bytes(data)
        found = attempt(lambda path=path: read_image(path))
        doors = {"bytes": data, "string": str(path), "buffer": memoryview(data), "Pillow": opened(data)}
        for door, image in doors.items():
            if image is None:
                continue
            other = attempt(lambda image=image: as_array(image))
            assert type(other) is type(found), (seed, door, other, found)
            assert isinstance(found, str) or np.array_equal(other, found), (seed, door)
        size = attempt(lambda path=path: read_size(path))
        if isinstance(found, str):
            refused += 1
            assert str(path) in found, seed
        else:
            assert found.dtype == np.uint8
            assert size == found.shape[:2], seed
    assert len(SEEDS) / 5 < refused < len(SEEDS) * 0.8
    assert capfd.readouterr() == ("", "")
    assert peak() - memory < 10 * MAX_PIXELS  # also where a header promises that many


def test_masks(tmp_path: Path) -> None:
    path = tmp_path / "mask"
    for seed in SEEDS:
        path.write_bytes(hostile_image(random.Random(seed)))
        found = attempt(lambda: read_mask(path))
        soft = attempt(lambda: read_mask(path, rules=MaskRules(threshold=128)))
        for mask in (found, soft):
            assert str(path) in mask if isinstance(mask, str) else mask.dtype == bool, seed


def test_the_segmenter_keeps_its_contract(segmenter: Segmenter) -> None:
    for seed in range(150):
        data = hostile_image(random.Random(seed))
        for image in (data, opened(data)):
            if image is not None and not isinstance(
                found := attempt(lambda image=image: segmenter.segment(image)), str
            ):
                assert found.mask.shape == found.image.shape[:2] == found.probability.shape


@pytest.mark.parametrize("other", [None, 3, ["a.png"], io.BytesIO(b"x"), object(), np.zeros((3, 3)), np.zeros(0)])
def test_what_is_no_image(segmenter: Segmenter, other: object) -> None:
    with pytest.raises(SkinlesionError, match=r"Give a path|An array must be"):
        segmenter.segment(other)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(0, 5), (20_000, 5_000)])
def test_a_pillow_image_that_is_empty_or_huge(segmenter: Segmenter, size: tuple[int, int]) -> None:
    with pytest.raises(SkinlesionError, match=r"has no pixels|is too large"):
        segmenter.segment(Image.new("L", size))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_orientation(tmp_path: Path, kind: str, orientation: int) -> None:
    """The header's size is that of the decoded image, and the top left corner is where a viewer shows it."""
    if kind not in readable_formats():
        pytest.skip(f"no reader of {kind} here")
    array = np.full((24, 40, 3), 40, np.uint8)
    array[:8, :8] = 220
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, exif=exif)
    (tmp_path / "image").write_bytes(file.getvalue())
    found = read_image(tmp_path / "image")
    assert np.array_equal(found, read_image(file.getvalue()))
    assert found.shape[:2] == read_size(file.getvalue()) == ((24, 40) if orientation < 5 else (40, 24))
    corner = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    bright = [(row, column) for row in (0, 1) for column in (0, 1) if found[-row, -column, 0] > 128]
    assert bright == [corner]


@pytest.mark.parametrize("block", BROKEN_EXIF)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_intact_pixels_with_a_broken_exif_block(kind: str, block: bytes) -> None:
    file = io.BytesIO()
    Image.new("RGB", (9, 7), "tan").save(file, kind, exif=block)
    assert read_image(file.getvalue()).shape == (7, 9, 3)
    assert read_size(file.getvalue()) == (7, 9)


@pytest.mark.parametrize(("factor", "dtype"), [(1, np.int32), (257, np.int32), (257, np.uint16)])
def test_gray_values_of_more_bits(factor: int, dtype: type) -> None:
    gray = np.arange(30, 230, 5, dtype=np.uint8).reshape(5, 8)
    file = io.BytesIO()
    Image.fromarray(gray.astype(dtype) * dtype(factor)).save(file, "TIFF")
    assert np.array_equal(read_image(file.getvalue())[..., 0], gray)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="measures memory as Unix reports it")
def test_memory_is_bounded_by_what_is_asked_for(small_checkpoint: Path, tmp_path: Path) -> None:
    """The largest image takes ten bytes of memory per pixel, the mask, the map and the overlay included."""
    import subprocess

    Image.new("RGB", (20_000, 4_000), (200, 170, 150)).save(tmp_path / "big.png")
    Image.new("RGB", (200, 40), (200, 170, 150)).save(tmp_path / "small.png")
    program = (
        "import resource, sys; from skinlesion.cli import main\n"
        "assert main(['predict', sys.argv[1], '--weights', sys.argv[2], '--out', sys.argv[3]]) == 0\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for name in ("small", "big"):
        words = [sys.executable, "-c", program, tmp_path / f"{name}.png", small_checkpoint, tmp_path / name]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
        peaks.append(int(done.stdout.split()[-1]) * (1 if sys.platform == "darwin" else 1024))
    assert (peaks[1] - peaks[0]) / 80e6 < 10
