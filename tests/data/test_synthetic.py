import csv
from itertools import pairwise

import numpy as np
import pytest

from skinlesion.data.images import read_image, read_mask
from skinlesion.data.layouts import find_samples
from skinlesion.data.synthetic import dataset, synthesize, write_dataset
from skinlesion.data.verify import verify_samples
from skinlesion.errors import SkinlesionError

SEEDS = range(40)


@pytest.fixture(scope="module")
def lesions():
    return [synthesize(seed, 64) for seed in SEEDS]


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def halve(mask):
    height, width = mask.shape
    return mask.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)) >= 0.5


def test_same_seed_same_bytes_and_other_seed_another_image():
    first, again, other = synthesize(7, 96), synthesize(7, 96), synthesize(8, 96)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    assert first.attributes == again.attributes
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("size", [64, (48, 80), (65, 33), 16])
def test_types_and_shapes(size):
    lesion = synthesize(3, size)
    shape = (size, size) if isinstance(size, int) else size
    assert (lesion.image.dtype, lesion.image.shape) == (np.uint8, (*shape, 3))
    assert (lesion.mask.dtype, lesion.mask.shape) == (np.bool_, shape)


@pytest.mark.parametrize("seed", range(12))
def test_a_seed_shows_the_same_lesion_at_every_size(seed):
    large, small = synthesize(seed, 256), synthesize(seed, 128)
    assert iou(halve(large.mask), small.mask) > 0.9
    shrunk = large.image.reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
    assert np.abs(shrunk - small.image).mean() < 8  # out of 255; sensor noise and fine texture may differ
    measured = {"lesion_fraction", "touches_border", "gray_difference"}
    chosen = [{k: v for k, v in one.attributes.items() if k not in measured} for one in (large, small)]
    assert chosen[0] == chosen[1]


def test_masks_are_neither_empty_nor_full_and_areas_spread_like_real_ones(lesions):
    areas = np.array([lesion.mask.mean() for lesion in lesions])
    assert areas.min() > 0.004
    assert areas.max() < 0.9
    assert 0.06 < np.median(areas) < 0.25  # ISIC 2017: 0.126
    assert (areas < 0.05).any()
    assert (areas > 0.4).any()


@pytest.mark.parametrize("area", [0.01, 0.1, 0.4, 0.8])
def test_area_is_what_was_asked_for(area):
    for seed in range(3):
        assert synthesize(seed, 96, area=area).attributes["lesion_fraction"] == pytest.approx(area, rel=0.12)


def test_most_lesions_are_darker_than_the_skin_around_and_some_hardly(lesions):
    differences = np.array([lesion.attributes["gray_difference"] for lesion in lesions])
    assert 25 < np.median(differences) < 70
    assert (differences > 0).mean() > 0.9
    assert (differences < 25).any()


def test_measured_attributes_are_true(lesions):
    for lesion in lesions:
        edge = np.concatenate([lesion.mask[0], lesion.mask[-1], lesion.mask[:, 0], lesion.mask[:, -1]])
        assert lesion.attributes["lesion_fraction"] == pytest.approx(lesion.mask.mean())
        assert lesion.attributes["touches_border"] == edge.any()


OFF = {
    "hair": "none",
    "ruler": "none",
    "sticker": "none",
    "glints": "none",
    "vignette": "none",
    "bubbles": 0,
    "ink": False,
    "blue_veil": False,
    "regression": False,
    "vessels": False,
    "freckles": False,
}


@pytest.mark.parametrize("name", OFF)
def test_what_attributes_say_is_drawn_is_drawn_and_nothing_else(lesions, name):
    """Leave a thing out: pixels change if the attributes said it was there, and not one of them if they did not."""
    there = [seed for seed in SEEDS if lesions[seed].attributes[name] != OFF[name]]
    absent = [seed for seed in SEEDS if seed not in there]
    assert absent
    if not there:  # a rare thing
        there, shown = [0], synthesize(0, 64, **{name: True} if isinstance(OFF[name], bool) else {name: "chart"})
    else:
        shown = lesions[there[0]]
    bare = synthesize(there[0], 64, **{name: OFF[name]})
    assert bare.attributes[name] == OFF[name]
    assert not np.array_equal(bare.image, shown.image)
    assert np.array_equal(bare.mask, shown.mask)
    without = synthesize(absent[0], 64, **{name: OFF[name]})
    assert np.array_equal(without.image, lesions[absent[0]].image)


def test_hair_count_and_hair_agree(lesions):
    for lesion in lesions:
        assert (lesion.attributes["hair"] == "none") == (lesion.attributes["hair_count"] == 0)
    assert synthesize(0, 32, hair_count=0).attributes["hair"] == "none"
    assert all(synthesize(seed, 32, hair_count=9).attributes["hair"] != "none" for seed in range(4))


def test_window_is_dark_outside_and_never_hides_the_lesion():
    for seed in range(6):
        lesion = synthesize(
            seed, 64, vignette="round", area=0.1, sticker="none", glints="none", contrast=0.3, skin_tone=2
        )
        assert lesion.attributes["vignette"] == "round"
        assert lesion.image[:4, :4].mean() < 60
        assert lesion.image[lesion.mask].mean() > 60
    assert synthesize(0, 64, vignette="round", area=0.85).attributes["vignette"] in ("corners", "none")


def test_skin_tones_get_darker():
    plain = {"area": 0.05, "vignette": "none", "sticker": "none", "glints": "none", "hair": "none", "freckles": False}
    skin = []
    for tone in range(1, 7):
        lesion = synthesize(2, 64, skin_tone=tone, **plain)
        skin.append(lesion.image[~lesion.mask].mean())
    assert all(lighter > darker for lighter, darker in pairwise(skin))


@pytest.mark.parametrize(
    ("arguments", "knobs", "word"),
    [
        ((-1,), {}, "seed"),
        ((0, 8), {}, "16"),
        ((0,), {"colour": 1}, "skin_tone"),
        ((0,), {"hair": "green"}, "dark"),
        ((0,), {"hair": True}, "dark"),
        ((0,), {"area": 2.0}, "0.9"),
        ((0,), {"area": "big"}, "number"),
        ((0,), {"skin_tone": 2.5}, "whole"),
        ((0,), {"ink": "yes"}, "True"),
        ((0,), {"tones": "brown+mauve"}, "dark brown"),
        ((0,), {"hair": "none", "hair_count": 4}, "contradict"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_choices(arguments, knobs, word):
    with pytest.raises(SkinlesionError, match=word):
        synthesize(*arguments, **knobs)


def test_a_written_folder_reads_back(tmp_path):
    done = []
    root = write_dataset(tmp_path / "deep" / "new", 4, seed=5, size=(48, 64), progress=done.append)
    assert done == [1, 2, 3, 4]
    samples = find_samples(root, "synthetic")
    assert [sample.id for sample in samples] == [f"SYN_{number:07d}" for number in (1, 2, 3, 4)]
    with (root / "attributes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for sample, row in zip(samples, rows, strict=True):
        lesion = synthesize(int(row["seed"]), (48, 64))
        assert np.array_equal(read_mask(sample.mask), lesion.mask)
        assert np.abs(read_image(sample.image).astype(int) - lesion.image).mean() < 4
        assert row["id"] == sample.id
        assert row["pattern"] == lesion.attributes["pattern"]
    assert sorted(path.name for path in root.iterdir()) == ["attributes.csv", "images", "masks"]


def test_the_official_layout_passes_for_official(tmp_path):
    root = write_dataset(tmp_path, 10, size=32, layout="isic2017")
    samples = find_samples(root, "isic2017")
    assert [sample.part for sample in samples] == ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    assert verify_samples(samples).ok


def test_two_seeds_share_no_image(tmp_path):
    first, second = (write_dataset(tmp_path / str(seed), 3, seed=seed, size=32) for seed in (0, 1))
    images = [path.read_bytes() for root in (first, second) for path in (root / "images").iterdir()]
    assert len(set(images)) == 6


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(SkinlesionError, match="not an empty folder"):
        write_dataset(tmp_path, 1)
    with pytest.raises(SkinlesionError, match=r"thesis\.txt"):
        write_dataset(tmp_path / "thesis.txt", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(28, "No space left on device"), SkinlesionError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch, error, raised):
    def stop(number):
        if number == 2:
            raise error

    with pytest.raises(raised):
        write_dataset(tmp_path / "new", 3, size=32, progress=stop)
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    with pytest.raises(raised):
        write_dataset(tmp_path / "empty", 3, size=32, progress=stop)
    assert list((tmp_path / "empty").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "word"), [({"n": 0}, "n=0"), ({"n": 1, "layout": "coco"}, "isic2017"), ({"n": 1, "seed": -2}, "seed")]
)
def test_impossible_options_are_refused_before_anything_is_made(tmp_path, options, word):
    with pytest.raises(SkinlesionError, match=word):
        write_dataset(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_ids_and_seeds_do_not_collide():
    assert dataset.scene_seed(0, dataset.MOST - 1) < dataset.scene_seed(1, 1)
