import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from skinlesion import Segmenter, SkinlesionError
from skinlesion.checkpoint import tensors_hash
from skinlesion.data.images import read_image, read_mask
from skinlesion.data.layouts import Sample, find_samples
from skinlesion.evaluation import evaluate


class Darkness(nn.Module):
    """A model with a known answer: lesion where the first channel is dark."""

    def forward(self, image: Tensor) -> Tensor:
        return 40 * (0.5 - image[:, :1])


def dark(size: int) -> Segmenter:
    return Segmenter(Darkness(), {"preprocessing": {"size": [size, size], "normalize": "minmax"}})


@pytest.fixture
def drawn(tmp_path: Path) -> list[Sample]:
    """Three images of 64 x 64 that `Darkness` finds exactly; then the truth of the last is moved by 16 pixels."""
    samples = []
    for number in range(3):
        mask = np.zeros((64, 64), dtype=bool)
        mask[16:48, 16 : 32 + 8 * number] = True
        image = np.where(mask[..., None], 30, 220).astype(np.uint8).repeat(3, axis=-1)
        truth = np.roll(mask, 16, axis=1) if number == 2 else mask
        Image.fromarray(image).save(tmp_path / f"{number}.png")
        Image.fromarray(truth).save(tmp_path / f"{number}_mask.png")
        samples.append(Sample(f"image {number}", tmp_path / f"{number}.png", tmp_path / f"{number}_mask.png"))
    return samples


def test_scores_are_those_counted_by_hand(drawn: list[Sample]) -> None:
    result = evaluate(dark(64), drawn, truth_size=64)
    report = result.report
    # Overlap of the moved one: 32 columns wide, 16 of them in common, all 32 rows high.
    found, true, common = 32 * (16 + 24 + 32), 32 * (16 + 24 + 32), 32 * (16 + 24 + 16)
    union = found + true - common
    assert report["n"] == 3
    assert report["pooled"]["iou"] == pytest.approx(common / union)
    assert report["pooled"]["dsc"] == pytest.approx(2 * common / (found + true))
    assert report["pooled"]["accuracy"] == pytest.approx(1 - 2 * 32 * 16 / (3 * 64 * 64))
    assert report["per_image"]["iou"]["mean"] == pytest.approx((1 + 1 + 1 / 3) / 3)
    assert report["per_image"]["iou"]["median"] == 1
    assert report["per_image"]["boundary_f1"]["median"] == 1
    low, high = report["intervals"]["pooled"]["iou"]
    assert low <= report["pooled"]["iou"] <= high <= 1


def test_prediction_and_truth_meet_at_the_size_that_was_asked_for(drawn: list[Sample]) -> None:
    result = evaluate(dark(64), drawn[:2], truth_size=128)
    assert result.table.counts.sum() == 2 * 128 * 128
    assert result.report["pooled"]["iou"] > 0.95
    assert result.report["protocol"]["truth_size"] == 128
    assert result.report["protocol"]["boundary_tolerance"] == 1.0


@pytest.mark.parametrize("clean", [False, True])
def test_it_measures_what_the_segmenter_finds(small_checkpoint: Path, lesions: Path, clean: bool) -> None:
    """At the image's own size, `evaluate` and `segment` must be the same pixels."""
    samples = find_samples(lesions, "folder")
    segmenter = Segmenter.from_pretrained(small_checkpoint)
    result = evaluate(segmenter, samples, truth_size=48, threshold=0.45, tta=True, clean=clean)
    for i, sample in enumerate(samples):
        assert sample.mask is not None
        found = segmenter.segment(read_image(sample.image), threshold=0.45, tta=True, clean=clean)
        assert found.probability.std() > 1e-3
        mask = found.mask
        truth = read_mask(sample.mask)
        expected = [mask & truth, mask & ~truth, ~mask & truth, ~mask & ~truth]
        assert result.table.ids[i] == sample.id
        # A pixel may tie with the threshold, where one batch rounds differently from another.
        assert np.abs(result.table.counts[i] - [e.sum() for e in expected]).max() <= 1


def test_the_protocol_says_what_decides_the_numbers(small_checkpoint: Path, lesions: Path) -> None:
    segmenter = Segmenter.from_pretrained(small_checkpoint)
    known = {"dataset": "folder", "split": "random", "manifest": "abc", "part": "test"}
    done: list[int] = []
    samples = find_samples(lesions, "folder")
    protocol = evaluate(segmenter, samples, truth_size=32, protocol=known, progress=done.append).report["protocol"]
    assert known.items() <= protocol.items()
    assert protocol["weights_sha256"] == tensors_hash(small_checkpoint)
    assert protocol["image_size"] == [32, 48]
    assert (protocol["threshold"], protocol["tta"], protocol["engine"]) == (0.5, "none", "cpu")
    assert protocol["environment"]["command"]
    assert str(small_checkpoint.parent) not in json.dumps(protocol), "a path of this machine says nothing elsewhere"
    assert done == [8, 10]


def test_the_threshold_that_was_asked_for_decides(tmp_path: Path) -> None:
    """Probabilities from 0 to 1 in 64 columns: how many of them count is the threshold's choice."""

    class Ramp(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.linspace(0.001, 0.999, 64).logit().expand(len(image), 1, 64, 64)

    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.full((64, 64), 255, np.uint8)).save(tmp_path / "a_mask.png")
    samples = [Sample("a", tmp_path / "a.png", tmp_path / "a_mask.png")]
    card = {"preprocessing": {"size": [64, 64], "normalize": "minmax"}, "threshold": 0.25}
    for threshold, columns in ((None, 48), (0.1, 57), (0.5, 32), (0.9, 7)):
        result = evaluate(Segmenter(Ramp(), card), samples, truth_size=64, threshold=threshold)
        assert result.report["pooled"]["sensitivity"] == pytest.approx(columns / 64)
        assert result.report["protocol"]["threshold"] == (threshold or 0.25)


def test_files_hold_the_results(drawn: list[Sample], tmp_path: Path) -> None:
    result = evaluate(dark(64), drawn, truth_size=64)
    result.save_json(tmp_path / "r.json")
    result.save_csv(tmp_path / "r.csv")
    assert json.loads((tmp_path / "r.json").read_text()) == result.report
    with (tmp_path / "r.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["image 0", "image 1", "image 2"]
    assert [float(row["iou"]) for row in rows] == pytest.approx([1, 1, 1 / 3], abs=1e-6)
    assert sum(int(row["tp"]) for row in rows) == 32 * (16 + 24 + 16)


def test_what_cannot_be_measured_is_refused(drawn: list[Sample], tmp_path: Path) -> None:
    with pytest.raises(SkinlesionError, match="this part of the split is empty"):
        evaluate(dark(64), [])
    with pytest.raises(SkinlesionError, match="1 image without a ground-truth mask, starting with alone"):
        evaluate(dark(64), [*drawn, Sample("alone", drawn[0].image, None)])
    with pytest.raises(SkinlesionError, match="truth size"):
        evaluate(dark(64), drawn, truth_size=0)
    with pytest.raises(SkinlesionError, match="threshold"):
        evaluate(dark(64), drawn, threshold=2)
    Image.new("L", (32, 64)).save(tmp_path / "small_mask.png")
    with pytest.raises(SkinlesionError, match=r"small_mask\.png: the mask is 32 x 64"):
        evaluate(dark(64), [Sample("x", drawn[0].image, tmp_path / "small_mask.png")])


def test_groups_add_up_and_have_their_own_scores(drawn: list[Sample], tmp_path: Path) -> None:
    diagnoses = {"image 0": "nevus", "image 1": "nevus", "image 2": "melanoma"}
    result = evaluate(dark(64), drawn, truth_size=64, by=["diagnosis", "size", "border"], diagnoses=diagnoses)
    groups = result.report["groups"]
    assert groups["diagnosis"]["nevus"]["n"] == 2
    assert groups["diagnosis"]["nevus"]["pooled_iou"] == {"value": 1.0, "interval": [1.0, 1.0]}
    assert groups["diagnosis"]["melanoma"]["mean_iou"]["value"] == pytest.approx(1 / 3)
    assert groups["diagnosis"]["melanoma"]["sensitivity"]["value"] == pytest.approx(1 / 2)
    assert {name: group["n"] for name, group in groups["size"].items()} == {"5 to 20%": 2, "20 to 50%": 1}
    assert {name: group["n"] for name, group in groups["border"].items()} == {
        "inside the frame": 2,
        "touches the frame": 1,
    }
    result.save_csv(tmp_path / "out.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text("utf-8").splitlines()))
    assert [row["diagnosis"] for row in rows] == ["nevus", "nevus", "melanoma"]


def test_the_challenge_gives_nothing_for_an_iou_below_its_bound(drawn: list[Sample]) -> None:
    report = evaluate(dark(64), drawn, truth_size=64).report
    assert report["per_image"]["thresholded_jaccard"]["mean"] == pytest.approx(2 / 3)  # the third has IoU 1/3
    low, high = report["intervals"]["per_image"]["thresholded_jaccard"]
    assert low < 2 / 3 < high


@pytest.mark.parametrize("by", [["tone", "age"], ["diagnosis"]])
def test_a_group_that_cannot_be_made_is_refused(drawn: list[Sample], by: list[str]) -> None:
    with pytest.raises(SkinlesionError, match="group"):
        evaluate(dark(64), drawn, by=by)
