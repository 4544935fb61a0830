"""Images of one lesion stay on one side of every split."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skinlesion.data.same_lesion import read_groups, with_groups, write_groups
from skinlesion.data.sample import Sample
from skinlesion.data.source import describe_split
from skinlesion.data.splits import PARTS, make_manifest
from skinlesion.errors import SkinlesionError


def samples(count: int, part: str | None = None) -> list[Sample]:
    return [Sample(f"s{number:03d}", Path(f"s{number:03d}.jpg"), Path("m"), part) for number in range(count)]


def sides(manifest, group_of: dict[str, str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for part in PARTS:
        for id in manifest.parts[part]:
            if id in group_of:
                found.setdefault(group_of[id], set()).add(part)
    return found


@given(st.lists(st.integers(0, 12), min_size=30, max_size=60), st.integers(0, 9))
def test_no_split_divides_a_group(tmp_path_factory, lesions, seed):
    path = tmp_path_factory.mktemp("groups") / "groups.csv"
    rows = [f"s{number:03d}.jpg,HAM_{lesion}" for number, lesion in enumerate(lesions)]
    path.write_text("image_id,lesion_id\n" + "\n".join(rows))
    data = with_groups(samples(len(lesions) + 40), path)
    manifest = make_manifest(data, "folder", "random", seed)
    group_of = {sample.id: sample.group for sample in data if sample.group}
    assert all(len(parts) == 1 for parts in sides(manifest, group_of).values())
    assert sorted(id for ids in manifest.parts.values() for id in ids) == [sample.id for sample in data]


def test_columns_of_lesions_and_patients_are_joined(tmp_path):
    path = tmp_path / "HAM.csv"
    path.write_text("lesion_id,image_id,dx,patient_id\nL1,s000,nv,P1\nL2,s001,nv,P1\nL2,s002,mel,\nL3,s003,nv,P9\n")
    groups = [sample.group for sample in with_groups(samples(5), path)]
    assert groups[0] == groups[1] == groups[2] is not None
    assert groups[3] is groups[4] is None


def test_parts_that_divide_a_group_are_said(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text("image,group\ns000,x\ns011,x\n")
    data = [*samples(10, "train"), *(Sample(s.id, s.image, s.mask, "test") for s in samples(20)[10:])]
    data = with_groups(data, path)
    said = describe_split(make_manifest(data, "folder", "official"), data)
    assert any("this split divides 1 group of images" in line for line in said)


@pytest.mark.parametrize(
    "text", ["Image;Lesion_ID\ns000.png;x\ns001.png;x\n", "image\tgroup\textra\ns000\tx\ns001\tx\ty\n"]
)
def test_semicolons_and_tabs_separate_too(tmp_path, text):
    path = tmp_path / "groups.csv"
    path.write_text(text, "utf-8-sig")
    groups = [sample.group for sample in with_groups(samples(3), path)]
    assert groups[0] == groups[1] is not None
    assert groups[2] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,group\n", "no complete row"),
        ("group,image\nx,other\n", r"begins with 'other'\): its column of images"),
        ("", "needs a header"),
        ("a,b\n1,2\n", "needs a header"),
        ("image,group\nother,x\n", "lists none of the images"),
        (b"image,group\n\xff\xfe,x\n", "UTF-8"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "groups.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SkinlesionError, match=message):
        with_groups(samples(3), path)


def test_written_groups_are_read_back_even_with_odd_names(tmp_path):
    write_groups(tmp_path / "groups.csv", [["a", "=b"], ["-c", "d"]])
    assert "'=b" in (tmp_path / "groups.csv").read_text()
    assert [name for name, _ in read_groups(tmp_path / "groups.csv")] == ["a", "=b", "-c", "d"]


def test_one_group_of_everything_cannot_be_split(tmp_path):
    (tmp_path / "g.csv").write_text("image,group\n" + "".join(f"s{n:03d},x\n" for n in range(10)))
    with pytest.raises(SkinlesionError, match="without dividing a group"):
        make_manifest(with_groups(samples(10), tmp_path / "g.csv"), "folder")
