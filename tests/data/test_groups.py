"""Groups of images: the typology angle against another conversion to L*a*b*, bounds, and diagnoses from files."""

from pathlib import Path

import numpy as np
import pytest
from skimage.color import lab2rgb, rgb2lab

from skinlesion.data import groups
from skinlesion.data.sample import Sample
from skinlesion.errors import SkinlesionError

LESION = np.hypot(*np.ogrid[-32:32, -32:32]) < 12


def picture(skin: tuple[int, int, int], lesion: tuple[int, int, int] = (70, 40, 30)) -> np.ndarray:
    return np.where(LESION[..., None], lesion, skin).astype(np.uint8)


@pytest.mark.parametrize("skin", [(240, 210, 195), (200, 150, 120), (130, 90, 65), (90, 60, 45)])
def test_the_angle_is_that_of_the_skin(skin: tuple[int, int, int]) -> None:
    lightness, _, yellow = rgb2lab(np.array([[skin]], np.uint8))[0, 0]
    expected = np.degrees(np.arctan((lightness - 50) / yellow))
    assert groups.typology_angle(picture(skin), LESION) == pytest.approx(expected, abs=0.5)  # 8-bit colors


def test_neither_lesion_nor_halo_nor_black_corner_counts() -> None:
    """Each covers so much of the image that it would decide the median."""
    skin, distance = (220, 180, 150), np.hypot(*np.ogrid[-32:32, -32:32])
    plain = groups.typology_angle(picture(skin), LESION)
    for lesion, halo, frame in ((27, 27, 99), (10, 10, 14), (25, 27.5, 30)):
        image = np.full((64, 64, 3), skin, np.uint8)
        image[distance < halo] = (255, 0, 255)
        image[distance < lesion] = (20, 200, 20)
        image[distance >= frame] = 0
        # resizing mixes colors at the edges of the narrow rings; a halo or frame would move the angle by 50 degrees
        assert groups.typology_angle(image, distance < lesion) == pytest.approx(plain, abs=3)


def test_an_image_without_background_has_no_tone() -> None:
    angle = groups.typology_angle(picture((220, 180, 150)), np.ones((64, 64), bool))
    assert np.isnan(angle)
    assert groups.tone(angle) == "unknown"


@pytest.mark.parametrize(
    ("angle", "name"),
    [
        (90, "very light"),
        (55, "very light"),
        (54.9, "light"),
        (41, "light"),
        (30, "intermediate"),
        (10, "tan"),
        (-30, "brown"),
        (-31, "dark"),
        (-90, "dark"),
    ],
)
def test_tones_by_their_published_bounds(angle: float, name: str) -> None:
    assert groups.tone(angle) == name


def test_every_tone_can_be_met() -> None:
    """From white to black, in the order of the table."""
    lab = np.stack(np.broadcast_arrays(np.linspace(95, 26, 200), 12.0, 18.0), axis=-1)[None]
    skins = (lab2rgb(lab)[0] * 255).round().astype(np.uint8)
    met = [groups.tone(groups.typology_angle(picture(tuple(skin)), LESION)) for skin in skins]
    assert list(dict.fromkeys(met)) == [name for name, _ in groups.TONES]


@pytest.mark.parametrize(("share", "name"), [(0, "under 5%"), (0.05, "5 to 20%"), (0.2, "20 to 50%"), (1, "over 50%")])
def test_sizes(share: float, name: str) -> None:
    mask = np.zeros((20, 20), bool)
    mask.flat[: round(400 * share)] = True
    assert groups.size(mask) == name


def test_the_border_is_the_outermost_pixel() -> None:
    assert groups.border(LESION) == "inside the frame"
    for place in ((0, 3), (-1, 3), (3, 0), (3, -1)):
        mask = LESION.copy()
        mask[place] = True
        assert groups.border(mask) == "touches the frame"


def test_diagnoses_of_isic_2017_and_of_others(tmp_path: Path) -> None:
    table = tmp_path / "metadata.csv"
    table.write_text("id,melanoma,seborrheic_keratosis\na,1,0\nb,0,1\nc,0,0\n", "utf-8")
    assert groups.read_diagnoses(table) == {"a": "melanoma", "b": "seborrheic keratosis", "c": "nevus"}
    table.write_text("image_id,dx\na,nv\nb,\n", "utf-8-sig")
    assert groups.read_diagnoses(table) == {"a": "nv", "b": "unknown"}


@pytest.mark.parametrize(
    "text",
    ["image,dx\ndir/a.jpg,nv\n", "Image_ID;Sex;DX\na;f;nv\nb;m\n", "id\tmelanoma\tseborrheic_keratosis\na.PNG\t0\t0\n"],
)
def test_diagnoses_of_tables_as_people_have_them(tmp_path: Path, text: str) -> None:
    table = tmp_path / "metadata.csv"
    table.write_text(text)
    found = groups.diagnoses_of([Sample("a", tmp_path / "a.jpg", None), Sample("c", tmp_path / "c.jpg", None)], table)
    assert found in ({"a": "nv"}, {"a": "nevus"})


def test_diagnoses_of_other_images_are_an_error(tmp_path: Path) -> None:
    table = tmp_path / "metadata.csv"
    table.write_text("id,dx\nother,nv\n")
    with pytest.raises(SkinlesionError, match="lists none of the images"):
        groups.diagnoses_of([Sample("a", tmp_path / "a.jpg", None)], table)
    with pytest.raises(SkinlesionError, match=r"none\.csv doesn't exist\. Put a table there"):
        groups.diagnoses_of([Sample("a", tmp_path / "a.jpg", None)], tmp_path / "none.csv")


@pytest.mark.parametrize("content", [b"", b"id\na\n", b"dx\nnv\n", b"\xff\xfe\x00", None])
def test_a_table_without_diagnoses_is_an_error_that_names_it(tmp_path: Path, content: bytes | None) -> None:
    table = tmp_path / "metadata.csv"
    if content is not None:
        table.write_bytes(content)
    with pytest.raises(SkinlesionError, match=r"metadata\.csv"):
        groups.read_diagnoses(table)
