"""Folders as people have them: every layout is recognized, and said to be what it was taken for."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skinlesion.data.layouts import find_dataset, find_samples
from skinlesion.data.pairing import pair_folders
from skinlesion.data.source import DataSource, describe_split
from skinlesion.data.splits import load_split
from skinlesion.data.verify import verify
from skinlesion.errors import SkinlesionError

COUNTER = iter(range(1, 10_000))


def put_image(path: Path, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    number = next(COUNTER)  # no two images are the same
    Image.new("RGB", size, (number % 251, number // 251, 90)).save(path)


def put_mask(path: Path, value: int = 255, size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mask = np.zeros(size[::-1], np.uint8)
    mask[1:3, 2:4] = value
    Image.fromarray(mask).save(path)


def put_pairs(images: Path, masks: Path, names: str, mask_name: str = "{}.png") -> None:
    for name in names:
        put_image(images / f"{name}.jpg")
        put_mask(masks / mask_name.format(name))


@pytest.mark.parametrize(
    ("images", "masks"),
    [("image", "mask"), ("imgs", "labels"), ("Images", "GT"), ("img", "Ground Truth"), ("photos", "segmentations")],
)
def test_any_usual_pair_of_folder_names(tmp_path, images, masks):
    put_pairs(tmp_path / images, tmp_path / masks, "ab")
    found = find_dataset(tmp_path, "folder")
    assert [sample.id for sample in found.samples] == ["a", "b"]
    assert found.folders == (f"images and masks: 2 pairs from {images} and {masks}",)


@pytest.mark.parametrize(
    "mask_name",
    [
        *("{}_gt.png", "{}_binary.bmp", "{}_lesion.png", "mask_{}.png", "{}-mask.tif", "{}_Segmentation.PNG"),
        *("gt {}.png", "{}_lesion_mask.png", "{}.mask.png", "{}_GroundTruth.png"),
    ],
)
def test_any_usual_name_of_a_mask(tmp_path, mask_name):
    put_pairs(tmp_path / "images", tmp_path / "masks", ["x1", "x2"], mask_name)
    assert [sample.id for sample in find_samples(tmp_path, "folder")] == ["x1", "x2"]


def test_an_exact_name_goes_before_a_stripped_one(tmp_path):
    put_pairs(tmp_path / "images", tmp_path / "masks", ["a", "a_mask"])
    pairs = {sample.id: sample.mask.stem for sample in find_samples(tmp_path, "folder")}
    assert pairs == {"a": "a", "a_mask": "a_mask"}
    put_mask(tmp_path / "masks" / "a_gt.png")
    with pytest.raises(SkinlesionError, match="two files for a: keep one"):
        find_samples(tmp_path, "folder")


@pytest.mark.parametrize("style", ["part/kind", "kind/part", "part_kind"])
@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "Validation", "Testing")])
def test_three_parts_are_what_their_folders_say(tmp_path, style, names):
    for name, ids in zip(names, ("abcd", "ef", "ghi"), strict=True):
        folders = {
            "part/kind": (tmp_path / name / "images", tmp_path / name / "masks"),
            "kind/part": (tmp_path / "images" / name, tmp_path / "masks" / name),
            "part_kind": (tmp_path / f"{name}_images", tmp_path / f"{name}_masks"),
        }[style]
        put_pairs(*folders, ids)
    found = find_dataset(tmp_path, "folder")
    manifest = load_split(found.samples, "folder")
    assert manifest.parts == {"train": tuple("abcd"), "val": tuple("ef"), "test": tuple("ghi")}
    assert [line.partition(" set:")[0] for line in found.folders] == ["training", "validation", "test"]
    (said,) = describe_split(manifest, found.samples)
    assert all(word in said for word in ("official", "4 training", "2 validation", "3 test", names[2]))


def test_two_parts_and_the_harness_that_tests_on_val(tmp_path):
    for part, ids in (("train", "abcdefghij"), ("val", "kl")):
        put_pairs(tmp_path / part / "images", tmp_path / part / "masks", ids)
    samples = find_samples(tmp_path, "folder")
    assert load_split(samples, "folder").parts["val"] == ("k", "l")
    assert load_split(samples, "folder").parts["test"] == ()
    harness = find_dataset(tmp_path, "vmunet")
    assert load_split(harness.samples, "vmunet").parts["test"] == ("k", "l")
    assert "tests on val" in harness.folders[-1]
    put_pairs(tmp_path / "test" / "images", tmp_path / "test" / "masks", "mn")
    three = load_split(find_samples(tmp_path, "vmunet"), "vmunet")
    assert (three.parts["val"], three.parts["test"]) == (("k", "l"), ("m", "n"))


def test_parts_that_number_their_images_alike(tmp_path):
    for part in ("train", "test"):
        put_pairs(tmp_path / part / "images", tmp_path / part / "masks", "12")
    assert [s.id for s in find_samples(tmp_path, "folder")] == ["test-1", "test-2", "train-1", "train-2"]


def test_the_ph2_archive_as_it_is_unzipped(tmp_path):
    root = tmp_path / "PH2Dataset" / "PH2 Dataset images"
    for name in ("IMD002", "IMD003"):
        put_image(root / name / f"{name}_Dermoscopic_Image" / f"{name}.bmp")
        put_mask(root / name / f"{name}_lesion" / f"{name}_lesion.bmp")
        put_mask(root / name / f"{name}_roi" / f"{name}_R1_Label3.bmp")
    (tmp_path / "PH2Dataset" / "PH2_dataset.txt").write_text("x")
    for start in (tmp_path, tmp_path / "PH2Dataset", root):
        found = find_dataset(start, "folder")
        assert [sample.id for sample in found.samples] == ["IMD002", "IMD003"]
        assert "2 pairs of the PH2 archive" in found.folders[0]
        assert "2 folders of regions of interest" in found.left_out[0]


def test_images_and_masks_in_one_folder_and_a_folder_around(tmp_path):
    put_pairs(tmp_path / "around" / "data", tmp_path / "around" / "data", "ab", "{}_mask.png")
    found = find_dataset(tmp_path, "folder")
    assert [(sample.id, sample.mask.name) for sample in found.samples] == [("a", "a_mask.png"), ("b", "b_mask.png")]
    assert "told apart by their names" in found.folders[0]


def test_nothing_is_left_out_in_silence(tmp_path):
    put_pairs(tmp_path / "images", tmp_path / "masks", "ab")
    for name in ("notes.txt", "c.psd", ".hidden.png", "a_superpixels.png"):
        (tmp_path / "images" / name).write_bytes(b"x")
    (tmp_path / "images" / "more").mkdir()
    (said,) = find_dataset(tmp_path, "folder").left_out
    for part in (
        "1 hidden files",
        "2 files without an image extension",
        "c.psd",
        "1 superpixel maps",
        "1 folders (more)",
    ):
        assert part in said


def test_two_folders_that_could_be_meant_and_one_that_is_missing(tmp_path):
    put_pairs(tmp_path / "images", tmp_path / "masks", "a")
    put_mask(tmp_path / "labels" / "a.png")
    with pytest.raises(SkinlesionError, match=r"two folders that could hold the masks.*--images DIR --masks DIR"):
        find_samples(tmp_path, "folder")
    found = DataSource(images=tmp_path / "images", masks=tmp_path / "labels").find("folder")
    assert [sample.mask.parent.name for sample in found.samples] == ["labels"]
    put_image(tmp_path / "lonely" / "images" / "a.png")
    with pytest.raises(SkinlesionError, match=r"folder images but none for the masks.*--masks DIR"):
        find_samples(tmp_path / "lonely", "folder")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": "images"}, "go together"),
        ({}, "--root"),
        ({"images": "images", "masks": "masks", "root": "."}, "one or the other"),
    ],
)
def test_flags_that_do_not_go_together(tmp_path, options, message):
    with pytest.raises(SkinlesionError, match=message):
        DataSource(**{name: tmp_path / value for name, value in options.items()}).find("folder")


def test_masks_of_another_size_are_resized_if_asked(tmp_path):
    put_image(tmp_path / "images" / "a.png", (16, 12))
    put_mask(tmp_path / "masks" / "a.png")
    report, _ = verify(DataSource(root=tmp_path), "folder")
    assert "pass --resize-masks" in report.problems[0]
    report, _ = verify(DataSource(root=tmp_path, resize_masks=True), "folder")
    assert report.ok
    assert not report.remarks
    put_mask(tmp_path / "masks" / "a.png", size=(10, 10))
    report, _ = verify(DataSource(root=tmp_path, resize_masks=True), "folder")
    assert "stretched to fit" in report.remarks[0]
    put_mask(tmp_path / "masks" / "a.png", size=(12, 16))
    report, _ = verify(DataSource(root=tmp_path), "folder")
    assert "rotated by 90 degrees" in report.problems[0]


def test_verify_notices_what_is_odd_about_all_masks(tmp_path):
    put_pairs(tmp_path / "images", tmp_path / "masks", "abcdef")
    for name in "abcd":
        mask = np.full((6, 8), 255, np.uint8)
        mask[2:4, 3:5] = 0
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    report, notes = verify(DataSource(root=tmp_path), "folder")
    assert "4 of 6 masks look inverted" in report.remarks[-1]
    assert "Split random: " in notes[-1]
    for name in "abcdef":
        put_mask(tmp_path / "masks" / f"{name}.png", value=0)
    assert verify(DataSource(root=tmp_path), "folder")[0].remarks[-1].startswith("All 6 masks are empty")


def test_pair_folders_says_which_image_has_no_mask(tmp_path):
    put_pairs(tmp_path / "images", tmp_path / "masks", "ab")
    put_image(tmp_path / "images" / "c\x1b[2J.png")
    with pytest.raises(SkinlesionError, match=r"c\\x1b\[2J\.png: this image has no mask") as caught:
        pair_folders(tmp_path / "images", tmp_path / "masks")
    assert "\x1b" not in str(caught.value)
