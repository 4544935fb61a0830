import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from skinlesion import Segmenter, SkinlesionError
from skinlesion.prediction import expand_inputs, predict_files
from skinlesion.text import printable

ORIENTATION = 0x0112


@pytest.fixture
def segmenter(small_checkpoint: Path) -> Segmenter:
    return Segmenter.from_pretrained(small_checkpoint)


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray) -> Path:
    root = tmp_path / "photos"
    root.mkdir()
    Image.fromarray(photo).save(root / "one.png")
    Image.fromarray(photo[:, :50]).save(root / "two.jpg")
    return root


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_image_gets_a_mask_an_overlay_and_a_row(segmenter: Segmenter, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "results" / "deep"
    found = predict_files(segmenter, [folder], out, threshold=0.45)
    assert not found.failed
    assert sorted(p.name for p in out.iterdir()) == [
        *("one_mask.png", "one_overlay.png", "predictions.csv", "two_mask.png", "two_overlay.png")
    ]
    expected = segmenter.segment(folder / "one.png", threshold=0.45)
    mask = opened(out / "one_mask.png")
    assert mask.dtype == np.uint8
    assert np.array_equal(mask, expected.mask * np.uint8(255))
    assert opened(out / "one_overlay.png").shape == expected.image.shape
    table = rows(out / "predictions.csv")
    assert [Path(row["image"]).name for row in table] == ["one.png", "two.jpg"]
    assert (table[0]["width"], table[0]["height"]) == ("90", "60")
    assert int(table[0]["lesion_pixels"]) == expected.area
    assert float(table[0]["lesion_fraction"]) == pytest.approx(expected.area_fraction, abs=1e-6)
    assert float(table[0]["confidence"]) == pytest.approx(expected.confidence, abs=1e-4)
    assert table[0]["threshold"] == "0.45"
    assert (table[0]["tta"], table[0]["clean"]) == ("none", "off")
    assert table[0]["warnings"] == " ".join(expected.warnings)
    assert table[0]["weights"] == segmenter.name


class TwoSpots(torch.nn.Module):
    """A model that finds two regions in every image, the second one larger."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        logits = torch.full_like(image[:, :1], -5.0)
        logits[..., :3, :3] = logits[..., 8:16, 8:16] = 5.0
        return logits


@pytest.mark.parametrize("default", [False, True])
def test_masks_are_cleaned_on_request_or_by_default(folder: Path, tmp_path: Path, default: bool) -> None:
    segmenter = Segmenter(TwoSpots(), {"preprocessing": {"size": [24, 24], "normalize": "minmax"}, "clean": default})
    for clean, regions in ((None, 1 if default else 2), (True, 1), (False, 2)):
        out = tmp_path / str(clean)
        predict_files(segmenter, [folder], out, clean=clean)
        assert ndimage.label(opened(out / "one_mask.png"))[1] == regions
        assert rows(out / "predictions.csv")[0]["clean"] == ("on" if regions == 1 else "off")


def test_the_overlay_differs_from_the_photo_only_where_the_mask_is(
    segmenter: Segmenter, folder: Path, tmp_path: Path
) -> None:
    predict_files(segmenter, [folder / "one.png"], tmp_path / "out")
    photo = opened(folder / "one.png")
    mask = opened(tmp_path / "out" / "one_mask.png") > 0
    drawn = opened(tmp_path / "out" / "one_overlay.png")
    assert np.array_equal(drawn[~mask], photo[~mask])
    assert (drawn[mask] != photo[mask]).any(axis=-1).mean() > 0.95


def test_a_turned_photo_is_turned_and_its_mask_too(segmenter: Segmenter, tmp_path: Path, photo: np.ndarray) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be turned by a quarter
    Image.fromarray(photo).save(tmp_path / "turned.png", exif=exif)
    found = predict_files(segmenter, [tmp_path / "turned.png"], tmp_path / "out")
    assert found.done[0].size == (90, 60)
    assert opened(found.done[0].mask).shape == (90, 60)
    upright = segmenter.segment(np.rot90(photo, -1).copy()).mask
    assert np.array_equal(opened(found.done[0].mask) > 0, upright)


def test_one_name_twice_gives_two_names(segmenter: Segmenter, folder: Path, tmp_path: Path, photo: np.ndarray) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("one.png", "ONE.bmp", "one-2.png"):
        Image.fromarray(photo[:40]).save(other / name)
    found = predict_files(segmenter, [folder / "one.png", other], tmp_path / "out")
    names = [row.mask.name.casefold() for row in found.done]
    assert len(set(names)) == len(names) == 4
    for row in found.done:
        assert opened(row.mask).shape == opened(row.image).shape[:2]


def test_one_bad_file_does_not_stop_the_others(segmenter: Segmenter, folder: Path, tmp_path: Path) -> None:
    (folder / "broken.jpg").write_bytes((folder / "two.jpg").read_bytes()[:300])
    found = predict_files(segmenter, [folder, tmp_path / "missing.png"], tmp_path / "out")
    assert [row.image.name for row in found.done] == ["one.png", "two.jpg"]
    assert [path.name for path, _ in found.failed] == ["broken.jpg", "missing.png"]
    assert all(str(path) in reason for path, reason in found.failed)
    assert len(rows(tmp_path / "out" / "predictions.csv")) == 2
    assert not (tmp_path / "out" / "broken_mask.png").exists()


def test_nothing_is_left_when_nothing_could_be_done(segmenter: Segmenter, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    found = predict_files(segmenter, [tmp_path / "text.png"], tmp_path / "a" / "b")
    assert found.table is None
    assert not (tmp_path / "a").exists()


def test_existing_results_stay_unless_told_otherwise(segmenter: Segmenter, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "two_mask.png").write_bytes(b"mine")
    with pytest.raises(SkinlesionError, match=r"two_mask\.png exists already.*--overwrite"):
        predict_files(segmenter, [folder], out)
    assert [path.name for path in out.iterdir()] == ["two_mask.png"]
    assert (out / "two_mask.png").read_bytes() == b"mine"
    predict_files(segmenter, [folder], out, overwrite=True)
    assert opened(out / "two_mask.png").shape == (60, 50)


def test_an_input_is_never_written_over(segmenter: Segmenter, folder: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo).save(folder / "one_mask.png")
    before = (folder / "one_mask.png").read_bytes()
    with pytest.raises(SkinlesionError, match="one of the images"):
        predict_files(segmenter, [folder], folder, overwrite=True)
    assert (folder / "one_mask.png").read_bytes() == before


def test_a_folder_gives_its_images_only(folder: Path) -> None:
    (folder / "one_superpixels.png").write_bytes(b"x")
    (folder / ".hidden.png").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    assert [path.name for path in expand_inputs([folder])] == ["one.png", "two.jpg"]
    (folder / "empty").mkdir()
    with pytest.raises(SkinlesionError, match="contains no images"):
        list(expand_inputs([folder / "empty"]))
    (folder / "outer" / "inner").mkdir(parents=True)
    advice = r"1 folders \(inner\)\. Subfolders aren't searched: give them as inputs, too\.$"
    with pytest.raises(SkinlesionError, match=advice):
        list(expand_inputs([folder / "outer"]))
    with pytest.raises(SkinlesionError, match="No image was given"):
        list(expand_inputs([]))


def test_progress_counts_every_image(segmenter: Segmenter, folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    predict_files(segmenter, [folder], tmp_path / "out", progress=lambda *count: seen.append(count))
    assert seen == [(1, 2), (2, 2)]


class Stop(KeyboardInterrupt):
    pass


def stop_after(count: int):
    def progress(done: int, total: int) -> None:
        if done == count:
            raise Stop

    return progress


@pytest.fixture
def many(tmp_path: Path, photo: np.ndarray) -> Path:
    root = tmp_path / "many"
    root.mkdir()
    for number in range(12):
        Image.fromarray(np.roll(photo, number, axis=1)).save(root / f"n{number:02d}.png")
    return root


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_interrupted_batch_is_complete_so_far_and_goes_on(
    segmenter: Segmenter, many: Path, tmp_path: Path, jobs: int
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    predict_files(segmenter, [many], whole)
    with pytest.raises(Stop):
        predict_files(segmenter, [many], out, jobs=jobs, progress=stop_after(5))
    table = rows(out / "predictions.csv")
    assert [row["image"][-7:] for row in table] == [f"n{number:02d}.png" for number in range(5)]
    assert sorted(path.name for path in out.glob("*_mask.png")) == [row["mask"] for row in table]
    times = {path: path.stat().st_mtime_ns for path in out.glob("*_mask.png")}
    seen: list[tuple[int, int]] = []
    found = predict_files(segmenter, [many], out, resume=True, jobs=jobs, progress=lambda *count: seen.append(count))
    assert (found.earlier, len(found.done), seen[0], seen[-1]) == (5, 7, (6, 12), (12, 12))
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert (out / "predictions.csv").read_bytes() == (whole / "predictions.csv").read_bytes()
    for path in whole.iterdir():
        assert path.read_bytes() == (out / path.name).read_bytes()


def test_a_row_that_was_cut_short_or_lost_its_mask_is_made_again(
    segmenter: Segmenter, many: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict_files(segmenter, [many], out)
    whole = (out / "predictions.csv").read_bytes()
    (out / "predictions.csv").write_bytes(whole[:-9])
    (out / "n03_mask.png").unlink()
    found = predict_files(segmenter, [many], out, resume=True)
    assert sorted(each.image.name for each in found.done) == ["n03.png", "n11.png"]
    assert sorted((out / "predictions.csv").read_bytes().splitlines()) == sorted(whole.splitlines())


def test_a_batch_is_not_continued_with_other_settings_or_another_table(
    segmenter: Segmenter, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict_files(segmenter, [folder], out, threshold=0.5)
    for options, message in (({"threshold": 0.4}, "threshold 0.5, not 0.4"), ({"tta": True}, "tta none, not flips")):
        with pytest.raises(SkinlesionError, match=message):
            predict_files(segmenter, [folder], out, resume=True, **{"threshold": 0.5, **options})
    (out / "predictions.csv").write_text("name,score\na,1\n")
    with pytest.raises(SkinlesionError, match="not a table of predictions"):
        predict_files(segmenter, [folder], out, resume=True)
    (out / "predictions.csv").unlink()
    with pytest.raises(SkinlesionError, match="exists already"):  # without a table these may be anyone's files
        predict_files(segmenter, [folder], out, resume=True)


def test_odd_files_cost_themselves_only(segmenter: Segmenter, folder: Path, tmp_path: Path, photo: np.ndarray) -> None:
    names = [
        *("=cmd|'calc'!A0.png", "-x.png", "a\nb.png", "e\x1b[2J.png", "x" * 250 + ".png", "名前.png"),
        *(b"raw\xff.png".decode(errors="surrogateescape"), "con<>|?.png"),
    ]
    for name in names:
        Image.fromarray(photo).save(folder / name, "PNG")
    os.mkfifo(folder / "pipe.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    (folder / "folder.png").mkdir()
    found = predict_files(segmenter, [folder], tmp_path / "out")
    assert {path.name for path, _ in found.failed} == {"pipe.png", "loop.png"}
    assert {each.image.name for each in found.done} == {"one.png", "two.jpg", *names}
    text = (tmp_path / "out" / "predictions.csv").read_text("utf-8")
    assert "\x1b" not in text
    assert len(text.splitlines()) == len(names) + 3
    assert all(printable(each.mask.name) == each.mask.name for each in found.done)
    again = predict_files(segmenter, [folder], tmp_path / "out", resume=True)
    assert (len(again.done), again.earlier) == (0, len(names) + 2)


def test_a_full_disk_stops_the_batch_after_the_last_whole_row(segmenter: Segmenter, many: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for a disk: the table reaches it, and so does no mask."""
    program = (
        "import resource, signal, sys\n"
        "from skinlesion import Segmenter\n"
        "from skinlesion.prediction import predict_files\n"
        "segmenter = Segmenter.from_pretrained(sys.argv[1])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1200, 1200))\n"
        "predict_files(segmenter, [sys.argv[2]], sys.argv[3])\n"
    )
    out = tmp_path / "out"
    words = [sys.executable, "-c", program, str(segmenter.path), str(many), str(out)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "MachineError: Cannot write" in done.stderr
    if out.exists():
        table = (out / "predictions.csv").read_bytes()
        assert table.endswith(b"\n")
        assert len(table.splitlines()) - 1 == len(list(out.glob("*_mask.png")))
        assert not list(out.glob("*.tmp"))


def test_ctrl_c_says_how_to_go_on(small_checkpoint: Path, many: Path, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from skinlesion import cli, segmenter\n"
        "first = segmenter.Segmenter.segment\n"
        "def segment(self, image, **options):\n"
        "    if str(image).endswith('n04.png'): os.kill(os.getpid(), signal.SIGINT)\n"
        "    return first(self, image, **options)\n"
        "segmenter.Segmenter.segment = segment\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.exit(cli.main(sys.argv[1:]))\n"
    )
    out = tmp_path / "out"
    words = [sys.executable, "-c", program, "predict", many, "--weights", small_checkpoint, "--out", out]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "of 12 images" in done.stderr
    assert "--resume" in done.stderr
    assert "Traceback" not in done.stderr
    table = rows(out / "predictions.csv")
    assert 1 <= len(table) <= 5
    assert sorted(path.name for path in out.glob("*_mask.png")) == [row["mask"] for row in table]
    assert not list(out.glob("*.tmp"))
