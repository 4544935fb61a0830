"""What a user may get wrong, row by row, through the real command line: one clear line, code 2, nothing left behind."""

import contextlib
import importlib
import os
import pickle
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from skinlesion.checkpoint import WEIGHTS, load_checkpoint, save_checkpoint
from skinlesion.data.decoding import MAX_PIXELS
from skinlesion.data.layouts import find_samples
from skinlesion.data.splits import make_manifest
from skinlesion.zoo import create_model

ORIENTATION = 0x0112


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def one_line(err: str, *expected: object) -> None:
    """One line, that holds what is expected and no traceback."""
    assert err.count("\n") == 1, err
    assert err.startswith("skinlesion: ")
    assert "Traceback" not in err
    for text in expected:
        assert str(text) in err, f"{text!r} is not in {err!r}"


# Images ----------------------------------------------------------------------------------------------------------


def bomb(path: Path) -> None:
    """A PNG of 60,000 x 60,000 pixels in a few hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def truncated(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:2000])


BAD_IMAGES = {
    "text.png": lambda path: path.write_text("this is not an image"),
    "empty.jpg": lambda path: path.write_bytes(b""),
    "cut.jpg": truncated,
    "bomb.png": bomb,
    "wide.png": lambda path: Image.new("L", (20_000, MAX_PIXELS // 20_000 + 1)).save(path),
    "depth.tif": lambda path: Image.fromarray(np.zeros((5, 5), dtype=np.float32)).save(path),
    "folder.png": lambda path: None,
}


@pytest.mark.parametrize("name", BAD_IMAGES)
def test_a_bad_image(cli, small_checkpoint: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    BAD_IMAGES[name](path)
    code, out, err = cli("predict", path, "--weights", small_checkpoint, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    one_line(err, path)
    assert not (tmp_path / "out").exists()


def test_a_bad_image_among_good_ones(cli, small_checkpoint: Path, tmp_path: Path, photo: np.ndarray) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "a.png")
    truncated(folder / "b.jpg")
    Image.fromarray(photo).save(folder / "c.png")
    code, out, err = cli("predict", folder, "--weights", small_checkpoint, "--out", tmp_path / "out")
    assert code == 2
    assert "2 images segmented" in out
    one_line(err, folder / "b.jpg")
    assert names(tmp_path / "out") == [
        *("a_mask.png", "a_overlay.png", "c_mask.png", "c_overlay.png", "predictions.csv")
    ]


def sixteen_bits(path: Path, photo: np.ndarray) -> tuple[int, int]:
    Image.fromarray(photo[..., 0].astype(np.uint16) * 257).save(path)
    return 60, 90


def one_pixel(path: Path, photo: np.ndarray) -> tuple[int, int]:
    Image.fromarray(photo[:1, :1]).save(path)
    return 1, 1


def very_wide(path: Path, photo: np.ndarray) -> tuple[int, int]:
    Image.new("RGB", (20_000, 8), "tan").save(path)
    return 8, 20_000


def rotated(path: Path, photo: np.ndarray) -> tuple[int, int]:
    exif = Image.Exif()
    exif[ORIENTATION] = 8
    Image.fromarray(photo).save(path, exif=exif)
    return 90, 60


def converted(mode: str):
    def write(path: Path, photo: np.ndarray) -> tuple[int, int]:
        Image.fromarray(photo).convert(mode).save(path)
        return 60, 90

    return write


ODD_IMAGES = {
    "cmyk.jpg": converted("CMYK"),
    "palette.png": converted("P"),
    "alpha.png": converted("RGBA"),
    "gray-alpha.png": converted("LA"),
    "gray.png": converted("L"),
    "black-white.png": converted("1"),
    "sixteen.png": sixteen_bits,
    "pixel.png": one_pixel,
    "wide.png": very_wide,
    "rotated.jpg": rotated,
}


@pytest.mark.parametrize("name", ODD_IMAGES)
def test_an_odd_image_is_segmented(cli, small_checkpoint: Path, tmp_path: Path, photo: np.ndarray, name: str) -> None:
    path = tmp_path / name
    size = ODD_IMAGES[name](path, photo)
    code, _, err = cli("predict", path, "--weights", small_checkpoint, "--out", tmp_path / "out")
    assert code == 0
    assert err in ("", f"{path}: No lesion found.\n")
    with Image.open(tmp_path / "out" / f"{path.stem}_mask.png") as mask:
        assert (mask.height, mask.width) == size


# Masks and datasets ----------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path: Path, photo: np.ndarray) -> Path:
    root = tmp_path / "dataset"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for i in range(6):
        Image.fromarray(np.roll(photo, i, axis=1)).save(root / "images" / f"s{i}.png")
        Image.fromarray(photo[..., 0] < 120).save(root / "masks" / f"s{i}.png")
    return root


def _evaluate(cli, weights: Path, root: Path, *more: object, data: str = "folder"):
    words = ("evaluate", "--weights", weights, "--data", data, "--root", root, "--truth-size", 32)
    return cli(*words, "--json", root.parent / "scores.json", *more)


def _train(cli, root: Path, *more: object, data: str = "folder"):
    run = root.parent / "run"
    words = ("train", "--preset", "tiny", "--data", data, "--root", root, "--size", 32, "--epochs", 1, "--out", run)
    return cli(*words, "--cache-dir", root.parent / "cache", *more)


def remove_mask(root: Path) -> Path:
    path = root / "masks" / "s2.png"
    path.unlink()
    return root / "images" / "s2.png"


def remove_image(root: Path) -> Path:
    (root / "images" / "s2.png").unlink()
    return root / "masks" / "s2.png"


def shrink_mask(root: Path) -> Path:
    path = root / "masks" / "s2.png"
    Image.new("1", (45, 30)).save(path)
    return path


def smooth_mask(root: Path) -> Path:
    path = root / "masks" / "s2.png"
    Image.fromarray(np.linspace(0, 255, 5400, dtype=np.uint8).reshape(60, 90)).save(path)
    return path


def break_image(root: Path) -> Path:
    path = root / "images" / "s2.png"
    path.write_bytes(path.read_bytes()[:100])
    return path


@pytest.mark.parametrize("spoil", [remove_mask, remove_image, shrink_mask, smooth_mask, break_image])
@pytest.mark.parametrize("command", ["evaluate", "train", "verify"])
def test_a_dataset_with_one_bad_pair(cli, small_checkpoint: Path, dataset: Path, spoil, command: str) -> None:
    path = spoil(dataset)
    if command == "evaluate":
        code, out, err = _evaluate(cli, small_checkpoint, dataset, "--part", "all")
    elif command == "train":
        code, out, err = _train(cli, dataset)
    else:
        code, out, err = cli("data", "verify", "folder", "--root", dataset)
        err = err if str(path) in err else f"{err.rstrip()} {path if str(path) in out else ''}\n"
    assert code == 2
    one_line(err, path)
    assert not (dataset.parent / "scores.json").exists()
    assert not (dataset.parent / "run" / "best.safetensors").exists()


def test_empty_masks_are_no_error(cli, small_checkpoint: Path, dataset: Path) -> None:
    """Some images have no lesion: they are measured, and `verify` remarks on them."""
    Image.new("1", (90, 60)).save(dataset / "masks" / "s2.png")
    code, out, _ = _evaluate(cli, small_checkpoint, dataset, "--part", "all")
    assert code == 0
    assert "6 images" in out
    code, out, _ = cli("data", "verify", "folder", "--root", dataset)
    assert code == 0
    assert "the mask is empty" in out


@pytest.mark.parametrize("command", [_evaluate, _train])
def test_a_missing_root_and_the_wrong_years_layout(cli, small_checkpoint: Path, tmp_path: Path, command) -> None:
    def run(root: Path, data: str):
        return (
            command(cli, small_checkpoint, root, data=data) if command is _evaluate else command(cli, root, data=data)
        )

    nowhere = tmp_path / "nowhere"
    code, _, err = run(nowhere, "isic2017")
    assert code == 2
    one_line(err, nowhere, "no such folder")
    year = tmp_path / "year"
    (year / "ISIC2018_Task1-2_Training_Input").mkdir(parents=True)
    (year / "ISIC2018_Task1_Training_GroundTruth").mkdir()
    code, _, err = run(year, "isic2017")
    assert code == 2
    one_line(err, year, "looks like isic2018")
    code, _, err = run(year, "isic1999")
    assert code == 2
    one_line(err, "isic1999", "isic2016")
    assert names(tmp_path) == ["year"]


def test_a_manifest_whose_ids_are_gone(cli, small_checkpoint: Path, dataset: Path) -> None:
    manifest = make_manifest(find_samples(dataset, "folder"), "folder")
    path = dataset.parent / "split.json"
    manifest.save(path)
    code, _, err = _evaluate(cli, small_checkpoint, dataset, "--split", path)
    assert code == 0, err
    (dataset.parent / "scores.json").unlink()
    for part in ("images", "masks"):
        (dataset / part / "s3.png").unlink()
    for code, _, err in (
        _evaluate(cli, small_checkpoint, dataset, "--split", path),
        _train(cli, dataset, "--split", path),
    ):
        assert code == 2
        one_line(err, "s3")
    path.write_text(path.read_text().replace("s1", "s9"))
    code, _, err = _evaluate(cli, small_checkpoint, dataset, "--split", path)
    assert code == 2
    one_line(err, path, "changed")
    assert names(dataset.parent) == ["dataset", "split.json"]


# Checkpoints -----------------------------------------------------------------------------------------------------


def cut_checkpoint(path: Path, source: Path) -> str:
    path.write_bytes(source.read_bytes()[:-100])
    return "damaged or incomplete"


def pickled_checkpoint(path: Path, source: Path) -> str:
    torch.save(load_checkpoint(source)[0].state_dict(), path)
    return "pickle"


def raw_pickle(path: Path, source: Path) -> str:
    path.write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    return "pickle"


def other_architecture(path: Path, source: Path) -> str:
    model = create_model("tiny", dim=16, depths=(1, 1), decoder_depths=(1, 1), d_state=2)
    save_checkpoint(path, model, load_checkpoint(source)[1])
    path.write_bytes(path.read_bytes().replace(b'\\"dim\\": 16', b'\\"dim\\": 32'))
    return "another architecture"


def hostile(path: Path, source: Path) -> str:
    path.write_bytes(source.read_bytes().replace(b'\\"expand\\": 2', b'\\"expand\\":4e9'))
    return "out of range"


def huge_header(path: Path, source: Path) -> str:
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    return "header"


def no_checkpoint(path: Path, source: Path) -> str:
    path.write_text("weights, I promise")
    return "not a skinlesion checkpoint"


BAD_CHECKPOINTS = [
    *(cut_checkpoint, pickled_checkpoint, raw_pickle, other_architecture, hostile, huge_header, no_checkpoint)
]


@pytest.mark.parametrize("spoil", BAD_CHECKPOINTS)
def test_a_bad_checkpoint(cli, small_checkpoint: Path, lesions: Path, tmp_path: Path, spoil) -> None:
    path = tmp_path / "bad.safetensors"
    expected = spoil(path, small_checkpoint)
    image = next((lesions / "images").iterdir())
    for code, out, err in (
        cli("predict", image, "--weights", path, "--out", tmp_path / "out"),
        cli("demo", "--weights", path, "--out", tmp_path / "out"),
        cli("evaluate", "--weights", path, "--data", "folder", "--root", lesions, "--json", tmp_path / "r.json"),
        cli("export", path, "--out", tmp_path / "copy.safetensors"),
    ):
        assert (code, out) == (2, "")
        one_line(err, path, expected)
    assert names(tmp_path) == ["bad.safetensors"]


# Outputs ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _no_privileges() -> Iterator[None]:
    """Root may write anywhere; be nobody for a moment, so that permissions count."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def anyones_folder() -> Iterator[Path]:
    """A folder that every user may read; pytest's own are for its user alone."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.name == "nt", reason="Windows folders have no permission bits")
def test_a_read_only_folder(cli, small_checkpoint: Path, lesions: Path, anyones_folder: Path) -> None:
    with _no_privileges():
        if not os.access(WEIGHTS, os.R_OK, effective_ids=True):
            pytest.skip(f"the package lies where nobody may read: {WEIGHTS}")
    weights = shutil.copy(small_checkpoint, anyones_folder)
    lesions = shutil.copytree(lesions, anyones_folder / "lesions")
    locked = anyones_folder / "locked"
    locked.mkdir(mode=0o555)
    image = next((lesions / "images").iterdir())
    evaluate = ("evaluate", "--weights", weights, "--data", "folder", "--root", lesions, "--truth-size", 32)
    # What is imported for the first time must be readable, and for nobody it may not be.
    assert cli("predict", image, "--weights", weights, "--out", anyones_folder / "fine")[0] == 0
    assert cli("demo", "--weights", weights, "--out", anyones_folder / "fine")[0] == 0
    assert cli(*evaluate)[0] == 0
    importlib.import_module("skinlesion.training.trainer")
    train = ("train", "--preset", "tiny", "--data", "folder", "--root", lesions, "--size", 32)
    cache = anyones_folder / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    commands: tuple[tuple[object, ...], ...] = (
        ("predict", image, "--weights", weights, "--out", locked),
        ("predict", image, "--weights", weights, "--out", locked / "inner"),
        ("demo", "--weights", weights, "--out", locked),
        ("data", "synthesize", "--n", 1, "--size", 32, "--out", locked / "inner"),
        (*evaluate, "--part", "all", "--json", locked / "r.json"),
        ("export", weights, "--out", locked / "w.safetensors"),
        (*train, "--cache-dir", cache, "--out", locked / "run"),
    )
    for words in commands:
        with _no_privileges():
            code, _, err = cli(*words)
        assert code == 2, words
        one_line(err, locked, "Permission denied")
        assert not names(locked)


def test_an_output_that_exists_already(cli, small_checkpoint: Path, lesions: Path, tmp_path: Path) -> None:
    image = next((lesions / "images").iterdir())
    mine = {
        tmp_path / "out" / f"{image.stem}_mask.png": ("predict", image, "--out", tmp_path / "out"),
        tmp_path / "r.json": ("evaluate", "--data", "folder", "--root", lesions, "--json", tmp_path / "r.json"),
        tmp_path / "r.csv": ("evaluate", "--data", "folder", "--root", lesions, "--csv", tmp_path / "r.csv"),
        tmp_path / "w.md": ("export", "--out", tmp_path / "w.safetensors"),
        tmp_path / "drawn" / "notes.txt": ("data", "synthesize", "--n", 1, "--out", tmp_path / "drawn"),
        tmp_path / "run" / "notes.txt": ("train", "--data", "synthetic", "--out", tmp_path / "run"),
    }
    for path, words in mine.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
        weights: dict[object, list] = {"export": [small_checkpoint], "data": [], "train": []}
        code, _, err = cli(*words, *weights.get(words[0], ["--weights", small_checkpoint]))
        assert code == 2, words
        one_line(err, "exists already", path.parent)
        assert path.read_text() == "mine"
    assert names(tmp_path) == ["drawn", "out", "r.csv", "r.json", "run", "w.md"]
    assert all(len(names(tmp_path / folder)) == 1 for folder in ("drawn", "out", "run"))


def test_an_output_folder_that_is_a_file(cli, small_checkpoint: Path, lesions: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    image = next((lesions / "images").iterdir())
    for out in (tmp_path / "file", tmp_path / "file" / "inner"):
        code, _, err = cli("predict", image, "--weights", small_checkpoint, "--out", out)
        assert code == 2
        one_line(err, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
