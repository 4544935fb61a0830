import json
from pathlib import Path

import pytest

from skinlesion import Segmenter, SkinlesionError, load_checkpoint
from skinlesion.checkpoint import read_card, tensors_hash
from skinlesion.data.layouts import find_samples
from skinlesion.evaluation import evaluate
from skinlesion.model_card import export, model_card


def measure(weights: Path, lesions: Path, path: Path, tta: bool = False) -> dict:
    known = {"dataset": "folder", "split": "random", "part": "test"}
    samples = find_samples(lesions, "folder")
    result = evaluate(
        Segmenter.from_pretrained(weights),
        samples,
        truth_size=32,
        tta=tta,
        clean=tta,
        by=["tone", "size"],
        protocol=known,
    )
    result.save_json(path)
    return result.report


def test_results_and_their_intervals_are_in_the_header_and_on_the_card(
    small_checkpoint: Path, lesions: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "mine.safetensors"
    _, page = export(small_checkpoint, weights, half=True)
    assert "| weights stored as | float16, used as float32 |" in page.read_text(encoding="utf-8")
    reports = [measure(weights, lesions, tmp_path / f"{tta}.json", tta) for tta in (False, True)]
    before = tensors_hash(weights)
    _, page = export(weights, weights, results=[tmp_path / "False.json", tmp_path / "True.json"])
    assert tensors_hash(weights) == before
    assert read_card(weights)["evaluations"] == reports
    text = page.read_text(encoding="utf-8")
    for report in reports:
        low, high = report["intervals"]["pooled"]["dsc"]
        assert f"{report['pooled']['dsc']:.4f} ({low:.4f} to {high:.4f})" in text
        assert f"{report['per_image']['boundary_f1']['mean']:.4f}" in text
    assert "without test-time augmentation" in text
    assert ", with flips as test-time augmentation, masks cleaned up; 95%" in text
    for found in report["groups"]["size"].values():
        low, high = found["mean_iou"]["interval"]
        assert f"{found['mean_iou']['value']:.4f} ({low:.4f} to {high:.4f})" in text
    assert before in text
    export(weights, tmp_path / "again.safetensors")
    assert read_card(tmp_path / "again.safetensors")["evaluations"] == reports, "a copy keeps its results"
    assert load_checkpoint(weights)[1]["stored_bits"] == 16


def test_a_threshold_goes_with_the_weights_and_each_result_says_its_own(
    small_checkpoint: Path, lesions: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "mine.safetensors"
    export(small_checkpoint, weights)
    measure(weights, lesions, tmp_path / "half.json")
    _, page = export(weights, weights, threshold=0.25, results=[tmp_path / "half.json"])
    text = page.read_text(encoding="utf-8")
    assert ", threshold 0.5, without" in text
    assert "| threshold | 0.25 |" in text
    assert Segmenter.from_pretrained(weights).threshold == 0.25
    assert measure(weights, lesions, tmp_path / "quarter.json")["protocol"]["threshold"] == 0.25
    with pytest.raises(SkinlesionError, match="between 0 and 1, not 25"):
        export(weights, tmp_path / "other.safetensors", threshold=25)


def test_results_of_other_weights_are_refused(small_checkpoint: Path, lesions: Path, tmp_path: Path) -> None:
    measure(small_checkpoint, lesions, tmp_path / "full.json")
    with pytest.raises(SkinlesionError, match="not for its 16-bit copy"):
        export(small_checkpoint, tmp_path / "a.safetensors", half=True, results=[tmp_path / "full.json"])
    export(small_checkpoint, tmp_path / "half.safetensors", half=True)
    with pytest.raises(SkinlesionError, match=r"full\.json has results of other weights"):
        export(tmp_path / "half.safetensors", tmp_path / "a.safetensors", results=[tmp_path / "full.json"])
    with pytest.raises(SkinlesionError, match=r"must end in \.safetensors"):
        export(small_checkpoint, tmp_path / "a.bin")
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"n": 1}', json.dumps(dict.fromkeys(("n", "pooled"), 1))])
def test_a_file_that_holds_no_results_is_refused(small_checkpoint: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(SkinlesionError, match=r"r\.json is not"):
        export(small_checkpoint, tmp_path / "a.safetensors", results=[tmp_path / "r.json"])
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_text_from_a_header_stays_text(card: dict) -> None:
    card |= {
        "model": {"name": "<img src=x onerror=alert(1)>", "config": {"a|b": "`x` | **y**"}},
        "command": "skinlesion train\n\n# A heading\n<script>",
    }
    text = model_card(card, name="c", digest="0")
    lines = text.splitlines()
    assert "| network | `<img src=x onerror=alert(1)>` |" in lines
    assert "| network, a/b | `'x' / **y**` |" in lines
    assert "    skinlesion train # A heading <script>" in lines
    assert "# A heading" not in lines
