"""The same photo under two names is found; two lesions that look alike are not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter

from skinlesion.data.duplicates import find_duplicates
from skinlesion.data.layouts import find_samples
from skinlesion.data.splits import load_split
from skinlesion.data.synthetic import write_dataset
from skinlesion.errors import SkinlesionError

COPIES = {
    "recompressed": lambda image: image,
    "smaller": lambda image: image.resize((80, 70)),
    "flipped": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "other colors": lambda image: Image.merge("RGB", image.split()[::-1]),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "lesions", n=24, seed=3, size=128)


def put_copy(root: Path, id: str, name: str, change) -> None:
    with Image.open(root / "images" / f"{id}.jpg") as image:
        change(image).save(root / "images" / f"{name}.jpg", quality=60)
    with Image.open(root / "masks" / f"{id}.png") as mask:
        with Image.open(root / "images" / f"{name}.jpg") as copy:
            size = copy.size
        mask.resize(size, Image.Resampling.NEAREST).save(root / "masks" / f"{name}.png")


def test_copies_are_found_and_nothing_else(root):
    ids = [sample.id for sample in find_samples(root, "folder")]
    assert not find_duplicates(find_samples(root, "folder")).pairs
    for id, (name, change) in zip(ids, COPIES.items(), strict=False):
        put_copy(root, id, f"{id}-{name}", change)
    found = find_duplicates(find_samples(root, "folder"))
    expected = {(id, f"{id}-{name}") for id, name in zip(ids, COPIES, strict=False)}
    assert {pair[:2] for pair in found.pairs} == expected


def test_found_groups_are_respected_by_the_next_split(root, cli):
    ids = [sample.id for sample in find_samples(root, "folder")]
    for number in range(4):
        put_copy(root, ids[0], f"copy{number}", COPIES["darker"])
    code, out, _ = cli("data", "duplicates", "--root", root, "--out", root / "groups.csv")
    assert code == 0
    assert "10 pairs in 1 group among 28 images" in out
    samples = find_samples(root, "folder")
    together = {ids[0], *(f"copy{number}" for number in range(4))}
    assert {sample.id for sample in samples if sample.group} == together
    for seed in range(5):
        parts = load_split(samples, "folder", seed=seed).parts
        assert sum(bool(together & set(ids)) for ids in parts.values()) == 1
    assert cli("data", "duplicates", "--root", root, "--out", root / "groups.csv")[0] == 2


def test_flat_and_damaged_images_are_no_duplicates(tmp_path, cli):
    for number in range(3):
        Image.new("RGB", (50, 40), (number * 80, 10, 10)).save(tmp_path / f"flat{number}.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no")
    code, out, err = cli("data", "duplicates", "--images", tmp_path)
    assert (code, "0 pairs" in out, "broken.jpg is not an image" in err) == (0, True, True)


def test_a_threshold_out_of_range(tmp_path):
    with pytest.raises(SkinlesionError, match="--threshold must be above 0"):
        find_duplicates([], np.nan)
