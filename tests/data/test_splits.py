import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skinlesion.data.layouts import Sample
from skinlesion.data.splits import Manifest, load_split, make_manifest, near_duplicates, packaged_manifest
from skinlesion.errors import SkinlesionError
from skinlesion.plugins import EXTRA_DATASETS


def samples(**counts: int) -> list[Sample]:
    return [
        Sample(f"{part}-{number:04d}", Path("i"), Path("m"), part)
        for part, count in counts.items()
        for number in range(count)
    ]


def sizes(manifest: Manifest) -> tuple[int, ...]:
    return tuple(len(manifest.parts[part]) for part in ("train", "val", "test"))


@pytest.mark.parametrize(
    ("dataset", "counts", "expected"),
    [
        ("isic2016", {"train": 900, "test": 379}, (810, 90, 379)),
        ("isic2017", {"train": 2000, "val": 150, "test": 600}, (1350, 150, 650)),
        ("isic2018", {"train": 2594, "val": 100}, (1697, 189, 808)),
    ],
)
def test_paper_sizes(dataset, counts, expected):
    data = samples(**counts)
    manifest = make_manifest(data, dataset, "paper", seed=3)
    assert sizes(manifest) == expected
    ids = [id for part in manifest.parts.values() for id in part]
    assert len(set(ids)) == len(ids)
    official_test = {sample.id for sample in data if sample.part == "test"}
    if dataset == "isic2016":
        assert set(manifest.parts["test"]) == official_test
    else:
        assert not official_test & set(ids)


def test_paper_sizes_need_the_whole_data():
    with pytest.raises(SkinlesionError, match=r"needs the 2150 images.*2149 were found"):
        make_manifest(samples(train=1999, val=150), "isic2017", "paper")


@given(st.permutations(range(40)), st.integers(0, 5))
def test_the_order_of_listing_does_not_matter(order, seed):
    ids = [f"image-{number}" for number in range(40)]
    shuffled = [ids[place] for place in order]
    assert make_manifest(shuffled, "folder", seed=seed) == make_manifest(ids, "folder", seed=seed)


def test_seeds_differ_and_fractions_hold():
    ids = [f"image-{number}" for number in range(200)]
    one, other = (make_manifest(ids, "folder", seed=seed) for seed in (0, 1))
    assert sizes(one) == (126, 14, 60)
    assert one.parts["test"] != other.parts["test"]
    assert one.hash != other.hash
    assert sizes(make_manifest(ids, "folder", val_fraction=0)) == (140, 0, 60)


@given(
    st.integers(30, 60).flatmap(
        lambda n: st.tuples(st.just(n), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=6))
    ),
    st.integers(0, 3),
)
def test_linked_images_stay_in_one_part(drawn, seed):
    n, links = drawn
    ids = [f"image-{number}" for number in range(n)]
    pairs = [(ids[a], ids[b]) for a, b in links] + [("absent", ids[0])]
    manifest = make_manifest(ids, "folder", seed=seed, near_duplicates=iter(pairs))
    part_of = {id: part for part, members in manifest.parts.items() for id in members}
    assert len(part_of) == n
    assert all(part_of[a] == part_of[b] for a, b in pairs[:-1])
    assert sizes(manifest)[2] == round(0.3 * n)


def test_a_chain_of_links_is_one_group():
    ids = [f"image-{number}" for number in range(20)]
    pairs = list(pairwise(ids[:6]))
    for seed in range(10):
        parts = make_manifest(ids, "folder", seed=seed, near_duplicates=pairs).parts
        assert sum(bool(set(ids[:6]) & set(members)) for members in parts.values()) == 1


def test_official_parts():
    manifest = make_manifest(samples(train=20, val=5, test=7), "isic2018", "official")
    assert sizes(manifest) == (20, 5, 7)
    harness = make_manifest(samples(train=20, val=5), "vmunet", "official")
    assert sizes(harness) == (18, 2, 5)
    assert all(id.startswith("val") for id in harness.parts["test"])
    with pytest.raises(SkinlesionError, match="folders for the training and test sets"):
        make_manifest(samples(train=20, val=5), "isic2018", "official")


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(SkinlesionError, match=r"'papr' for isic2017: choose random, official, paper or"):
        make_manifest(samples(train=9), "isic2017", "papr")
    with pytest.raises(SkinlesionError, match=r"'paper' for folder: choose random, official or"):
        make_manifest(["a", "b", "c"], "folder", "paper")
    with pytest.raises(SkinlesionError, match="too few"):
        make_manifest(["a"], "folder")
    with pytest.raises(SkinlesionError, match="fraction"):
        make_manifest(["a", "b", "c"], "folder", val_fraction=1.0)


def test_a_data_set_that_nobody_has_registered_is_refused(monkeypatch):
    ids = [f"image-{number}" for number in range(10)]
    with pytest.raises(SkinlesionError, match="Unknown dataset 'own': choose one of isic2016"):
        make_manifest(ids, "own")
    monkeypatch.setitem(EXTRA_DATASETS, "own", lambda root: [])
    assert sizes(make_manifest(ids, "own")) == (6, 1, 3)
    with pytest.raises(SkinlesionError, match=r"Unknown dataset 'onw'.*, own"):
        make_manifest(ids, "onw")


def test_save_and_load(tmp_path):
    manifest = make_manifest([f"i{number}" for number in range(30)], "folder", seed=4)
    path = tmp_path / "split.json"
    manifest.save(path)
    assert Manifest.load(path) == manifest
    assert [file.name for file in tmp_path.iterdir()] == ["split.json"]
    assert Manifest.load(path).hash == json.loads(path.read_text())["sha256"]
    with pytest.raises(SkinlesionError, match="nowhere"):
        manifest.save(tmp_path / "nowhere" / "split.json")


def test_missing_images_are_counted_and_the_first_five_named():
    manifest = Manifest("folder", "random", 0, {"train": ("i7", "i3", "i5"), "val": ("i1",), "test": ("i6", "i2")})
    with pytest.raises(SkinlesionError, match=r"lack 6 images .* needs: i1, i2, i3, i5, i6, \.\.\.\. Add"):
        manifest.check([])
    with pytest.raises(SkinlesionError, match=r"lack 5 images .* needs: i2, i3, i5, i6, i7\. Add"):
        manifest.check([Sample("i1", Path("i"), Path("m"), "train")])
    manifest.check([Sample(f"i{number}", Path("i"), Path("m"), "train") for number in range(9)])


def test_a_manifest_that_was_changed_or_is_none_is_refused(tmp_path):
    path = tmp_path / "split.json"
    make_manifest([f"i{number}" for number in range(30)], "folder").save(path)
    content = json.loads(path.read_text())
    content["parts"]["train"][0], content["parts"]["test"][0] = (
        content["parts"]["test"][0],
        content["parts"]["train"][0],
    )
    for wrong, match in (
        (json.dumps(content), "was changed after it was saved"),
        ("[1, 2", "not JSON in UTF-8"),
        ("[1, 2]", "is not a skinlesion manifest"),
        (json.dumps({**content, "parts": {"train": 3}}), "is not a skinlesion manifest"),
        (json.dumps({**content, "parts": {"train": [1], "val": [], "test": []}}), "is not a skinlesion manifest"),
        (b"\xff\xfe\x00", "not JSON in UTF-8"),
    ):
        path.write_bytes(wrong if isinstance(wrong, bytes) else wrong.encode())
        with pytest.raises(SkinlesionError, match=match):
            Manifest.load(path)
    with pytest.raises(SkinlesionError, match=r"gone\.json"):
        Manifest.load(tmp_path / "gone.json")
    twice = Manifest("folder", "random", 0, {"train": ("a",), "val": (), "test": ("a",)})
    twice.save(path)
    with pytest.raises(SkinlesionError, match="two parts"):
        Manifest.load(path)


def test_missing_ids_are_named(tmp_path):
    data = samples(train=20)
    manifest = make_manifest(data, "folder")
    manifest.check(data)
    gone = manifest.parts["test"][0]
    with pytest.raises(SkinlesionError, match=f"lack 1 image.*{gone}"):
        manifest.check([sample for sample in data if sample.id != gone])
    path = tmp_path / "split.json"
    manifest.save(path)
    assert load_split(data, "folder", path) == manifest
    with pytest.raises(SkinlesionError, match="lack 10 images"):
        load_split(data[:10], "folder", path)


def test_the_packaged_split_is_what_the_program_makes():
    manifest = packaged_manifest("isic2017-paper")
    assert sizes(manifest) == (1350, 150, 650)
    ids = [id for part in manifest.parts.values() for id in part]
    pairs = near_duplicates("isic2017")
    assert len(pairs) == 11
    assert {id for pair in pairs for id in pair} <= set(ids)
    assert make_manifest(ids, "isic2017", "paper", 2017, near_duplicates=pairs) == manifest
    data = [Sample(id, Path("i"), Path("m"), "train") for id in ids]
    assert load_split(data, "isic2017") == manifest == load_split(data, "isic2017", "paper")
    assert load_split(data, "isic2017", "paper", seed=5) != manifest


def test_default_splits():
    assert load_split(samples(train=20, val=10), "vmunet").name == "official"
    assert load_split(samples(train=20), "folder").name == "random"
    assert near_duplicates("folder") == []


def test_the_packaged_split_of_2018_keeps_every_lesion_on_one_side():
    """It was drawn from the 2594 pairs of the training set; with the 100 of the validation set there is another."""
    manifest = packaged_manifest("isic2018-paper")
    assert sizes(manifest) == (1634, 182, 778)
    part_of = {id: part for part, members in manifest.parts.items() for id in members}
    pairs = near_duplicates("isic2018")
    assert len(pairs) > len(near_duplicates("isic2017"))
    inside = [(a, b) for a, b in pairs if a in part_of and b in part_of]
    assert len(inside) >= len(pairs) - 1  # one pair of the list of 2017 isn't in 2018
    assert all(part_of[a] == part_of[b] for a, b in inside)
    assert ("ISIC_0000518", "ISIC_0013936") in pairs  # one lesion at two magnifications
    assert make_manifest(sorted(part_of), "isic2018", "paper", 2018, near_duplicates=pairs) == manifest
    data = [Sample(id, Path("i"), Path("m"), "train") for id in part_of]
    assert load_split(data, "isic2018") == manifest == load_split(data, "isic2018", "paper")
    validation = [Sample(f"v{number}", Path("i"), Path("m"), "val") for number in range(100)]
    assert sizes(load_split([*data, *validation], "isic2018")) == (1697, 189, 808)
    with pytest.raises(SkinlesionError, match="lack 1 image"):
        load_split(data[1:], "isic2018")
