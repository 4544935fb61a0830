"""Archives that somebody made or that broke on the way: unpacked whole, or refused in one sentence with no trace."""

import io
import random
import warnings
import zipfile
from pathlib import Path

import pytest

from skinlesion.data.unzip import unzip
from skinlesion.errors import SkinlesionError

NAMES = (
    *("a.jpg", "data/a.jpg", "data/b/c.png", "=1+1.jpg", "\x1b[2J.jpg", "\u202egpj.jpg", "ü/ß.jpg", "a b.jpg"),
    *(
        "../up.jpg",
        "/etc/x",
        "C:\\x",
        "..",
        ".",
        "",
        "/",
        "x" * 300,
        "y/" * 10 + "z",
        "y/" * 30 + "z",
        "data",
        "a.jpg/b",
    ),
    *("y/" * 2000 + "z", "~/x", "data/../x", "con", "-x", "a\nb.jpg", "data/"),
)


def hostile_archive(source: random.Random) -> bytes:
    """A zip of odd names; half of them with a few bytes changed, cut off or put in."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", source.choice([0, 8, 12, 14])) as archive:
        warnings.simplefilter("ignore")  # two entries of one name
        for name in source.choices(NAMES[:8] if source.random() < 0.3 else NAMES, k=source.randrange(6)):
            entry = zipfile.ZipInfo(name or "empty")
            if source.random() < 0.2:
                entry.external_attr = source.randrange(2**32)
            archive.writestr(entry, source.randbytes(source.randrange(3000)))
    data = bytearray(file.getvalue())
    kind = source.randrange(6)
    if kind == 0:
        return bytes(data[: source.randrange(len(data))])
    if kind == 1:
        for _ in range(source.randrange(1, 6)):
            data[source.randrange(len(data))] = source.randrange(256)
    elif kind == 2:
        place = source.randrange(len(data))
        data[place:place] = source.randbytes(source.randrange(1, 50))
    return bytes(data)


def test_hostile_archives(tmp_path: Path) -> None:
    unpacked = 0
    for seed in range(400):
        folder = tmp_path / str(seed)
        folder.mkdir()
        archive = folder / "archive.zip"
        archive.write_bytes(hostile_archive(random.Random(seed)))
        try:
            unzip(archive, folder / "data")
        except SkinlesionError as error:
            text = str(error)
            assert text.isprintable(), seed
            assert len(text) < 600, seed
            assert [path.name for path in folder.iterdir()] == ["archive.zip"], seed
        else:
            unpacked += 1
            assert sorted(path.name for path in folder.iterdir()) == ["archive.zip", "data"], seed
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(str(seed) for seed in range(400))
    assert 40 < unpacked < 360


def test_two_thousand_nested_folders(tmp_path: Path) -> None:
    archive = tmp_path / "data.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("a/" * 2000 + "b", b"x")
    with pytest.raises(SkinlesionError, match="holds folders nested 2001 deep"):
        unzip(archive, tmp_path / "data")
    assert list(tmp_path.iterdir()) == [archive]
