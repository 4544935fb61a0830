import os
import stat
import subprocess
import sys
import zipfile

import pytest

from skinlesion.data.unzip import unzip
from skinlesion.errors import SkinlesionError


def make_zip(path, members, compression=zipfile.ZIP_DEFLATED):
    """Write members (name or ZipInfo -> bytes) as they are: the writer of a hostile archive has no scruples."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(tmp_path, archive, match):
    """The archive is refused with one sentence naming it, and nothing appears anywhere."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SkinlesionError, match=match) as error:
        unzip(archive, tmp_path / "data")
    assert str(archive) in str(error.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("prefix", ["data/", ""])
def test_files_land_in_the_folder_whether_or_not_the_archive_names_it(tmp_path, prefix):
    files = {"a.jpg": b"abc", "deep/er/b.png": bytes(range(256)) * 100, "empty": b""}
    archive = make_zip(tmp_path / "data.zip", [(prefix + name, data) for name, data in files.items()])
    unzip(archive, tmp_path / "data")
    assert tree(tmp_path / "data") == files
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "data.zip"]


def test_litter_beside_the_named_folder_is_dropped(tmp_path):
    archive = make_zip(tmp_path / "data.zip", [("data/", b""), ("data/a", b"1"), ("__MACOSX/._a", b"x")])
    unzip(archive, tmp_path / "data")
    assert tree(tmp_path / "data") == {"a": b"1"}
    assert not (tmp_path / "__MACOSX").exists()


@pytest.mark.parametrize(
    "name",
    ["../evil.txt", "data/../../evil.txt", "/tmp/evil.txt", "C:/evil.txt", "data\\..\\..\\evil.txt", "C:evil.txt"],
)
def test_an_entry_outside_the_folder_is_refused(tmp_path, name):
    inner = tmp_path / "inner"
    inner.mkdir()
    archive = make_zip(inner / "data.zip", [("data/good.txt", b"good"), (name, b"evil")])
    with pytest.raises(SkinlesionError, match="outside its folder"):
        unzip(archive, inner / "data")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["data.zip", "inner"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_a_link_or_device_is_refused(tmp_path, kind):
    link = zipfile.ZipInfo("data/link")
    link.external_attr = (kind | 0o777) << 16
    archive = make_zip(tmp_path / "data.zip", [(link, b"/etc"), ("data/link/passwd", b"evil")])
    refused(tmp_path, archive, "link or device")


def test_an_archive_that_would_fill_the_disk_is_refused_unwritten(tmp_path):
    archive = make_zip(tmp_path / "data.zip", [("data/bomb", bytes(30_000_000))])
    assert archive.stat().st_size < 50_000
    refused(tmp_path, archive, r"grow more than 100 times, to 30\.0 MB")


def test_two_files_of_one_name_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = make_zip(tmp_path / "data.zip", [("data/a", b"1"), ("data/a", b"2")])
    refused(tmp_path, archive, "two files with the same name")


def test_a_flipped_bit_a_cut_end_and_a_web_page_are_told_apart_from_an_archive(tmp_path):
    noise = os.urandom(5000)
    archive = make_zip(tmp_path / "data.zip", [("data/a", noise)], zipfile.ZIP_STORED)
    whole = archive.read_bytes()
    flipped = bytearray(whole)
    flipped[2000] ^= 1
    for content in (bytes(flipped), whole[:-30], b"<html>Please log in to the hotel's network</html>"):
        archive.write_bytes(content)
        refused(tmp_path, archive, "damaged or not a zip.*download it again")


def test_an_encrypted_archive_is_refused(tmp_path):
    archive = make_zip(tmp_path / "data.zip", [("data/a", b"abc")])
    content = bytearray(archive.read_bytes())
    content[6] |= 1  # the flag in the entry's own header ...
    content[content.index(b"PK\x01\x02") + 8] |= 1  # ... and in the table of contents
    archive.write_bytes(content)
    refused(tmp_path, archive, "encrypted")


def test_an_existing_folder_is_not_touched(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("mine")
    archive = make_zip(tmp_path / "data.zip", [("data/a", b"1")])
    with pytest.raises(SkinlesionError, match="exists already"):
        unzip(archive, tmp_path / "data")
    assert tree(tmp_path / "data") == {"mine.txt": b"mine"}


def test_the_rest_of_an_interrupted_unpacking_is_replaced(tmp_path):
    (tmp_path / ".data.unzipping" / "data").mkdir(parents=True)
    (tmp_path / ".data.unzipping" / "data" / "half").write_bytes(b"hal")
    unzip(make_zip(tmp_path / "data.zip", [("data/a", b"1")]), tmp_path / "data")
    assert tree(tmp_path) == {"data.zip": (tmp_path / "data.zip").read_bytes(), "data/a": b"1"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_a_disk_that_fills_up_leaves_nothing_half_unpacked(tmp_path):
    """The limit on the size of a file (RLIMIT_FSIZE) is a full disk that needs no privileges."""
    archive = make_zip(tmp_path / "data.zip", [("data/a", b"1"), ("data/b", os.urandom(300_000))])
    code = (
        "import resource, sys; from pathlib import Path; from skinlesion.data.unzip import unzip\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "unzip(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    arguments = [sys.executable, "-c", code, str(archive), str(tmp_path / "data")]
    run = subprocess.run(arguments, capture_output=True, text=True)
    assert run.returncode == 1
    assert "MachineError: The disk is full" in run.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["data.zip"]
