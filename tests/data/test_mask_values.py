"""Masks in the encodings that people save them in."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from skinlesion.data.images import read_mask
from skinlesion.data.mask_values import MaskRules, looks_inverted
from skinlesion.errors import SkinlesionError

DISK = np.hypot(*np.mgrid[-20:20, -25:25]) < 14


def encode(picture: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def palette(background: tuple[int, int, int], lesion: tuple[int, int, int]) -> Image.Image:
    picture = Image.fromarray(DISK.astype(np.uint8), "P")
    picture.putpalette([*background, *lesion])
    return picture


def layer(color: tuple[int, int, int], opacity: int = 255) -> np.ndarray:
    rgba = np.zeros((*DISK.shape, 4), np.uint8)
    rgba[DISK] = (*color, opacity)
    return rgba


BINARY = {
    "0/128": DISK.astype(np.uint8) * 128,
    "0/7": DISK.astype(np.uint8) * 7,
    "palette, red on black": palette((0, 0, 0), (200, 0, 0)),
    "RGB, green on black": np.where(DISK[..., None], (0, 90, 0), (0, 0, 0)).astype(np.uint8),
    "opaque RGBA": np.concatenate(
        [np.repeat(DISK[..., None] * 255, 3, axis=2), np.full((*DISK.shape, 1), 255)], axis=2
    ).astype(np.uint8),
    "white on a transparent layer": layer((255, 255, 255)),
    "black on a transparent layer": layer((0, 0, 0)),
    "half transparent red": layer((255, 0, 0), 100),
    "16-bit 0/300": DISK.astype(np.uint16) * 300,
}


@pytest.mark.parametrize("name", BINARY)
def test_one_value_besides_black_is_the_lesion_whatever_the_threshold(name):
    for rules in (MaskRules(), MaskRules(threshold=200)):
        np.testing.assert_array_equal(read_mask(encode(BINARY[name]), rules=rules), DISK)


@pytest.mark.parametrize(
    ("values", "lesion"),
    [
        ((0, 1, 2), (1, 2)),  # numbers of classes
        ((0, 3, 9, 19), (3, 9, 19)),
        ((0, 20, 40, 60, 100), (60, 100)),  # dark all over
        ((0, 64, 127, 128, 255), (128, 255)),
        ((0, 300, 20_000, 40_000), (40_000,)),  # 16 bits
        ((0.0, 0.2, 0.6, 1.0), (0.6, 1.0)),
        ((0.0, 0.1, 0.3), (0.3,)),
    ],
)
def test_the_threshold_that_is_proposed_divides_the_values(values: tuple[float, ...], lesion: tuple[float, ...]):
    kind = np.float32 if isinstance(values[0], float) else np.uint16 if max(values) > 255 else np.uint8
    array = np.tile(np.array(values, kind), (4, 3))
    file = encode(array, "TIFF")
    with pytest.raises(SkinlesionError, match="--mask-threshold") as error:
        read_mask(file)
    proposed = int(str(error.value).partition("--mask-threshold ")[2].split()[0])
    np.testing.assert_array_equal(
        read_mask(file, rules=MaskRules(threshold=proposed)), np.isin(array, np.array(lesion, kind))
    )


def test_soft_edges_and_jpeg_are_read_with_a_threshold_and_refused_without():
    large = Image.fromarray(np.kron(DISK, np.ones((4, 4))).astype(np.uint8) * 255)
    soft = large.resize(DISK.shape[::-1], Image.Resampling.LANCZOS)
    red = Image.merge("RGB", [soft, *[Image.new("L", soft.size)] * 2])
    for data in (encode(soft), encode(soft, "JPEG", quality=60), encode(red, "JPEG", quality=80)):
        with pytest.raises(SkinlesionError, match=r"not a binary mask.*--mask-threshold 128"):
            read_mask(data)
        found = read_mask(data, rules=MaskRules(threshold=128))
        assert (found != DISK).mean() < 0.01


def test_sixteen_bits_and_fractions_use_the_same_threshold():
    ramp = np.linspace(0, 1, 101)[None]
    for stored in ((ramp * 65535).astype(np.uint16), (ramp * 255).astype(np.uint8)):
        assert read_mask(encode(stored), rules=MaskRules(threshold=128)).sum() == pytest.approx(50, abs=1)
    fractions = encode(ramp.astype(np.float32), "TIFF")
    assert read_mask(fractions, rules=MaskRules(threshold=128)).sum() == pytest.approx(50, abs=1)


def test_two_colors_or_one_gray_are_not_guessed_at():
    two = np.where(DISK[..., None], (255, 0, 0), (0, 255, 0)).astype(np.uint8)
    with pytest.raises(SkinlesionError, match="2 colors"):
        read_mask(encode(two))
    with pytest.raises(SkinlesionError, match=r"1 gray values \(90\)"):
        read_mask(encode(np.full((4, 4), 90, np.uint8)))


@given(st.integers(1, 255), st.integers(0, 3))
def test_inverting_and_turning_round_trip(value, turns):
    stored = encode(np.rot90(np.where(DISK, 0, value), turns).astype(np.uint8))
    np.testing.assert_array_equal(read_mask(stored, rules=MaskRules(invert=True)), np.rot90(DISK, turns))


def test_inverted_masks_are_noticed_and_large_lesions_are_not():
    assert looks_inverted(~DISK)
    assert not looks_inverted(DISK)
    assert not looks_inverted(np.ones((20, 20), bool))
    touching = np.ones((40, 40), bool)
    touching[:, 30:] = False
    assert not looks_inverted(touching)


@pytest.mark.parametrize("threshold", [0, 256, True])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(SkinlesionError, match="--mask-threshold must be from 1 to 255"):
        MaskRules(threshold=threshold)
