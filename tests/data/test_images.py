from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from skinlesion.data import decoding
from skinlesion.data.images import normalize, read_image, read_mask, read_size, resize_image, resize_mask
from skinlesion.errors import SkinlesionError

PICTURE = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def encode(picture: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    file = BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def test_path_and_bytes_give_the_same_pixels(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(PICTURE))
    for source in (path, str(path), path.read_bytes()):
        np.testing.assert_array_equal(read_image(source), PICTURE)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_the_image_upright(orientation):
    stored = {  # how a camera stores an upright picture under each orientation
        1: PICTURE,
        2: PICTURE[:, ::-1],
        3: PICTURE[::-1, ::-1],
        4: PICTURE[::-1],
        5: PICTURE.transpose(1, 0, 2),
        6: np.rot90(PICTURE, 1),
        7: PICTURE[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(PICTURE, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(np.ascontiguousarray(stored), exif=exif)
    np.testing.assert_array_equal(read_image(data), PICTURE)
    assert read_size(data) == PICTURE.shape[:2]


def test_grayscale_palette_and_animation_become_rgb():
    gray = PICTURE[..., 0]
    np.testing.assert_array_equal(read_image(encode(gray)), np.repeat(gray[..., None], 3, axis=2))
    palette = Image.fromarray(gray % 4, "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8)
    np.testing.assert_array_equal(read_image(encode(palette)), colors[gray % 4])
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    animated = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (read_image(animated) == [255, 0, 0]).all()


def test_cmyk_keeps_its_color():
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    pixel = read_image(encode(red, "JPEG", quality=95))[8, 8].astype(int)
    assert pixel[0] > 240
    assert pixel[1:].max() < 15


def test_transparent_pixels_lie_on_white():
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0, 0] = (10, 20, 30, 255)
    rgba[0, 1] = (0, 0, 0, 128)
    image = read_image(encode(rgba))
    assert image[0, 0].tolist() == [10, 20, 30]
    assert image[0, 1].tolist() == [127, 127, 127]
    assert image[1, 1].tolist() == [255, 255, 255]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([1, 2, 3, 4, 5, 6])
    assert read_image(encode(palette, transparency=1)).tolist() == [[[1, 2, 3], [255, 255, 255]]]


def test_sixteen_bits_become_eight():
    deep = np.array([[0, 257, 65535, 32768]], np.uint16)
    assert read_image(encode(deep))[0, :, 0].tolist() == [0, 1, 255, 128]
    assert read_image(encode(deep, "TIFF"))[0, :, 1].tolist() == [0, 1, 255, 128]
    with pytest.raises(SkinlesionError, match="32-bit"):
        read_image(encode(np.array([[0, 70000]], np.int32), "TIFF"))
    with pytest.raises(SkinlesionError, match="floating-point"):
        read_image(encode(np.array([[0.5]], np.float32), "TIFF"))


def test_extreme_shapes_are_read():
    assert read_image(encode(PICTURE[:1, :1])).shape == (1, 1, 3)
    assert read_image(encode(np.zeros((3, 20_000, 3), np.uint8))).shape == (3, 20_000, 3)


def test_too_many_pixels_are_refused_before_decoding(monkeypatch):
    data = encode(np.zeros((100, 100), np.uint8))
    monkeypatch.setattr(decoding, "MAX_PIXELS", 9_999)
    header = data[:60]  # there are no pixels to decode at all
    with pytest.raises(SkinlesionError, match=r"photo.jpg is too large \(100 x 100 pixels\)"):
        read_image(header, name="photo.jpg")


@pytest.mark.parametrize("side", [10_000, 14_000])  # above our limit; above the one where Pillow itself gives up
def test_decompression_bomb_is_refused(side):
    bomb = encode(Image.new("1", (side, side)))
    assert len(bomb) < 400_000
    with pytest.raises(SkinlesionError, match=r"too large.*80 million pixels"):
        read_image(bomb)


@pytest.mark.parametrize(
    "data", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"P6 1 1 255\n\0\0\0"]
)
def test_what_is_not_an_image_is_named(tmp_path, data):
    """Nor is anything tried that Pillow could read beyond the formats that are listed."""
    path = tmp_path / "notes.jpg"
    path.write_bytes(data)
    with pytest.raises(SkinlesionError, match=r"notes\.jpg is not an image"):
        read_image(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF"])
def test_every_truncation_is_a_clear_error(kind):
    noise = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = encode(noise, kind)
    for keep in (0.1, 0.5, 0.9):
        with pytest.raises(SkinlesionError, match=r"cut\.img is (damaged|not an image)"):
            read_image(data[: int(len(data) * keep)], name="cut.img")


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(SkinlesionError, match=r"gone\.png: there is no such file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(SkinlesionError, match="is a folder"):
        read_image(tmp_path)


MASK = np.array([[0, 1, 1], [0, 0, 1]], bool)


@pytest.mark.parametrize(
    "stored",
    [
        Image.fromarray(MASK),
        MASK.astype(np.uint8),
        MASK.astype(np.uint8) * 255,
        MASK.astype(np.uint16) * 65535,
        np.repeat(MASK.astype(np.uint8)[..., None] * 255, 3, axis=2),
        Image.fromarray(MASK).convert("P"),
    ],
    ids=["1-bit", "0/1", "0/255", "16-bit", "RGB", "palette"],
)
def test_binary_masks_are_read(stored):
    mask = read_mask(encode(stored))
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, MASK)


def test_empty_and_full_masks_are_read():
    assert not read_mask(encode(np.zeros((3, 4), np.uint8))).any()
    assert read_mask(encode(np.full((3, 4), 255, np.uint8))).all()


def test_masks_that_are_not_binary_are_refused():
    disk = (np.hypot(*np.mgrid[-20:20, -20:20]) < 12).astype(np.uint8) * 255
    with pytest.raises(SkinlesionError, match=r"m\.jpg is not a binary mask.*JPEG compression.*Pass --mask-threshold"):
        read_mask(encode(disk, "JPEG", quality=95), name="m.jpg")
    with pytest.raises(SkinlesionError, match=r"holds 3 gray values \(0, 128, 255\)"):
        read_mask(encode(np.array([[0, 128, 255]], np.uint8)))
    with pytest.raises(SkinlesionError, match="colors"):
        read_mask(encode(PICTURE))
    with pytest.raises(SkinlesionError, match="not numbers"):
        read_mask(encode(np.array([[0.0, np.nan]], np.float32), "TIFF"))


def test_resize_averages_images_and_keeps_masks_binary():
    checker = np.indices((64, 64)).sum(axis=0) % 2 * 255
    small = resize_image(np.repeat(checker[..., None], 3, axis=2).astype(np.uint8), (16, 8))
    assert small.shape == (16, 8, 3)
    assert np.abs(small.astype(int) - 127).max() <= 6  # one that picks pixels would give 0 or 255
    mask = resize_mask(np.kron(MASK, np.ones((4, 4), bool)), (2, 3))
    np.testing.assert_array_equal(mask, MASK)


@pytest.mark.parametrize(("mode", "top"), [("minmax", 1.0), ("minmax255", 255.0)])
def test_normalize_ignores_an_affine_change_of_brightness(mode, top):
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    values = normalize(image, mode)
    assert values.dtype == np.float32
    assert (values.min(), values.max()) == pytest.approx((0.0, top))
    np.testing.assert_allclose(normalize(image * 3 + 20, mode), values, rtol=1e-5, atol=1e-5)


def test_normalize_of_one_value_is_zero_and_of_an_unknown_mode_an_error():
    assert not normalize(np.full((3, 3, 3), 7, np.uint8)).any()
    with pytest.raises(SkinlesionError, match="minmax255"):
        normalize(PICTURE, "imagenet")
