from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinlesion.data.layouts import OFFICIAL, find_samples, pair_folders
from skinlesion.data.verify import verify_samples
from skinlesion.errors import SkinlesionError


def put_image(path: Path, size=(8, 6), value=100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value // 2, 3)).save(path)


def put_mask(path: Path, size=(8, 6), lesion=True) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[1:3, 2:4] = 255 * lesion
    Image.fromarray(mask).save(path)


def put_official(root: Path, dataset: str, counts=(3, 2, 1)) -> None:
    """Lay out small official archives with all that lies among the images."""
    number = 0
    ending = "_Segmentation.png" if dataset == "isic2016" else "_segmentation.png"
    for part, count in zip(OFFICIAL[dataset], counts, strict=False):
        for _ in range(count):
            name = f"ISIC_{number:07d}"
            put_image(root / part.images / f"{name}.jpg")
            put_mask(root / part.masks / f"{name}{ending}")
            if dataset != "isic2016":
                put_image(root / part.images / f"{name}_superpixels.png")
            number += 1
        for extra in ("ATTRIBUTION.txt", "LICENSE.txt", f"{part.images}_metadata.csv", "._ISIC_0000000.jpg"):
            (root / part.images / extra).write_text("not an image")
        (root / part.masks / "LICENSE.txt").write_text("not a mask")


@pytest.mark.parametrize("dataset", OFFICIAL)
def test_official_layouts(tmp_path, dataset):
    put_official(tmp_path, dataset)
    samples = find_samples(tmp_path, dataset)
    expected = [part.part for part, count in zip(OFFICIAL[dataset], (3, 2, 1), strict=False) for _ in range(count)]
    assert [sample.part for sample in samples] == expected
    assert [sample.id for sample in samples] == [f"ISIC_{number:07d}" for number in range(len(expected))]
    assert all(sample.image.name == f"{sample.id}.jpg" for sample in samples)
    assert all(sample.mask.name.lower() == f"{sample.id.lower()}_segmentation.png" for sample in samples)
    assert verify_samples(samples).ok


def test_a_folder_unzipped_into_one_of_its_own_name(tmp_path):
    part = OFFICIAL["isic2017"][0]
    put_image(tmp_path / part.images / part.images / "ISIC_1.jpg")
    put_mask(tmp_path / part.masks / part.masks / "ISIC_1_segmentation.png")
    assert [sample.id for sample in find_samples(tmp_path, "isic2017")] == ["ISIC_1"]


def test_vmunet_and_plain_folders(tmp_path):
    for part, name in (("train", "b"), ("train", "a"), ("val", "c")):
        put_image(tmp_path / part / "images" / f"{name}.png")
        put_mask(tmp_path / part / "masks" / f"{name}_segmentation.png")
    assert [(s.id, s.part) for s in find_samples(tmp_path, "vmunet")] == [("a", "train"), ("b", "train"), ("c", "val")]
    assert [s.id for s in find_samples(tmp_path / "train", "folder")] == ["a", "b"]
    assert [s.id for s in find_samples(tmp_path / "train", "synthetic")] == ["a", "b"]
    put_image(tmp_path / "elsewhere" / "x.JPG")
    put_mask(tmp_path / "truth" / "x_Mask.PNG")
    (sample,) = pair_folders(tmp_path / "elsewhere", tmp_path / "truth")
    assert (sample.id, sample.mask.name) == ("x", "x_Mask.PNG")


def test_missing_root_and_unknown_dataset(tmp_path):
    with pytest.raises(SkinlesionError, match="nowhere: there is no such folder"):
        find_samples(tmp_path / "nowhere", "isic2017")
    with pytest.raises(SkinlesionError, match=r"isic2019.*isic2016, isic2017"):
        find_samples(tmp_path, "isic2019")


@pytest.mark.parametrize(
    ("held", "asked"), [("isic2018", "isic2017"), ("isic2016", "isic2018"), ("isic2017", "vmunet")]
)
def test_another_layout_is_recognized(tmp_path, held, asked):
    put_official(tmp_path, held)
    with pytest.raises(SkinlesionError, match=f"does not hold the {asked} layout.*looks like {held}"):
        find_samples(tmp_path, asked)


def test_the_root_one_level_too_deep_and_other_mistakes_are_explained(tmp_path):
    put_official(tmp_path, "isic2017")
    with pytest.raises(SkinlesionError, match="It is one of the folders of isic2017: give the folder above"):
        find_samples(tmp_path / "ISIC-2017_Training_Data", "isic2017")
    put_image(tmp_path / "mine" / "images" / "a.png")
    put_mask(tmp_path / "mine" / "masks" / "a.png")
    with pytest.raises(SkinlesionError, match="It looks like folder"):
        find_samples(tmp_path / "mine", "isic2016")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SkinlesionError, match="unzip the official archives"):
        find_samples(tmp_path / "empty", "isic2016")


def test_half_a_part_names_the_archive_that_is_missing(tmp_path):
    part = OFFICIAL["isic2018"][0]
    put_image(tmp_path / part.images / "ISIC_1.jpg")
    with pytest.raises(SkinlesionError, match=r"but not ISIC2018_Task1_Training_GroundTruth: unzip"):
        find_samples(tmp_path, "isic2018")


def test_singles_and_doubles_are_named(tmp_path):
    images, masks = tmp_path / "images", tmp_path / "masks"
    for name in ("a", "b"):
        put_image(images / f"{name}.png")
        put_mask(masks / f"{name}.png")
    (masks / "b.png").unlink()
    with pytest.raises(SkinlesionError, match=r"b\.png: this image has no mask in .*masks"):
        find_samples(tmp_path, "folder")
    put_mask(masks / "b.png")
    put_mask(masks / "c_segmentation.png")
    with pytest.raises(SkinlesionError, match=r"c_segmentation\.png: this mask has no image"):
        find_samples(tmp_path, "folder")
    put_image(images / "c.png")
    put_image(images / "c.jpg")
    with pytest.raises(SkinlesionError, match=r"two files for c"):
        find_samples(tmp_path, "folder")


def test_an_image_in_two_parts_is_refused(tmp_path):
    for part in ("train", "val"):
        put_image(tmp_path / part / "images" / "a.png")
        put_mask(tmp_path / part / "masks" / "a.png")
    with pytest.raises(SkinlesionError, match="must be in one part only"):
        find_samples(tmp_path, "vmunet")


def test_no_images_at_all(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(SkinlesionError, match="hold no images"):
        find_samples(tmp_path, "folder")


def test_verify_reports_every_file(tmp_path):
    for name in "abcdef":
        put_image(tmp_path / "images" / f"{name}.png")
        put_mask(tmp_path / "masks" / f"{name}.png")
    put_mask(tmp_path / "masks" / "b.png", size=(8, 7))
    put_mask(tmp_path / "masks" / "c.png", lesion=False)
    (tmp_path / "images" / "d.png").write_bytes(b"not an image")
    Image.fromarray(np.array([[0, 90, 255]], np.uint8)).resize((8, 6)).save(tmp_path / "masks" / "e.png")
    Image.new("L", (8, 6), 255).save(tmp_path / "masks" / "f.png")
    report = verify_samples(find_samples(tmp_path, "folder"))
    text = str(report)
    assert not report.ok
    assert (report.checked, len(report.problems), len(report.remarks)) == (6, 3, 2)
    for wanted in (
        "b.png: the mask is 8 x 7",
        "d.png is not an image",
        "e.png is not a binary mask",
        "c.png: the mask is empty",
        "f.png: the mask covers",
    ):
        assert wanted in text
