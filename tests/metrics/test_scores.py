import json
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import (
    BinaryAccuracy,
    BinaryF1Score,
    BinaryJaccardIndex,
    BinaryRecall,
    BinarySpecificity,
    MulticlassJaccardIndex,
)

from skinlesion.errors import SkinlesionError
from skinlesion.metrics import SegmentationScores, boundary_f1, confusion_counts, ratios, summarize

SCORES = ("iou", "dsc", "accuracy", "sensitivity", "specificity", "miou_2class")
count = st.integers(0, 10**9)


def batch(n=6, height=9, width=13, seed=0):
    g = torch.Generator().manual_seed(seed)
    truth = torch.rand(n, 1, height, width, generator=g) > torch.linspace(0.3, 0.9, n)[:, None, None, None]
    probability = (truth * 0.3 + 0.7 * torch.rand(n, 1, height, width, generator=g)).clamp(0, 1)
    return probability, truth, [f"ISIC_{i:07d}" for i in range(n)]


def table_of(probability, truth, ids, **options):
    scores = SegmentationScores(**options)
    scores.update(probability, truth, ids)
    return scores.compute()


def test_counts_of_two_images_by_hand():
    prediction = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 1]]], dtype=torch.bool)
    truth = torch.tensor([[[1, 0, 1, 0]], [[0, 0, 0, 1]]], dtype=torch.bool)
    assert confusion_counts(prediction, truth).tolist() == [[1, 1, 1, 1], [1, 0, 0, 3]]
    with pytest.raises(SkinlesionError, match=r"\(2, 1, 4\).*\(2, 1, 3\)"):
        confusion_counts(prediction, truth[..., 1:])


def test_every_score_by_hand():
    scores = {name: float(value) for name, value in ratios([4, 2, 1, 13]).items()}
    assert scores == pytest.approx(
        {
            "iou": 4 / 7,
            "dsc": 8 / 11,
            "accuracy": 17 / 20,
            "sensitivity": 4 / 5,
            "specificity": 13 / 15,
            "miou_2class": (4 / 7 + 13 / 16) / 2,
        }
    )


def test_pooled_scores_are_torchmetrics_scores_of_all_pixels():
    probability, truth, ids = batch()
    pooled = table_of(probability, truth, ids).pooled()
    oracles = {
        "iou": BinaryJaccardIndex(),
        "dsc": BinaryF1Score(),
        "accuracy": BinaryAccuracy(),
        "sensitivity": BinaryRecall(),
        "specificity": BinarySpecificity(),
    }
    prediction = (probability >= 0.5).int()
    for name, oracle in oracles.items():
        assert pooled[name] == pytest.approx(oracle(prediction, truth.int()).item(), abs=1e-6), name
    both = MulticlassJaccardIndex(num_classes=2)(prediction, truth.int()).item()
    assert pooled["miou_2class"] == pytest.approx(both, abs=1e-6)


def test_per_image_scores_are_the_scores_of_each_image():
    probability, truth, ids = batch()
    table = table_of(probability, truth, ids)
    for i in range(len(ids)):
        alone = table_of(probability[i : i + 1], truth[i : i + 1], ids[i : i + 1])
        for name, values in table.per_image().items():
            assert values[i] == alone.per_image()[name][0], name
            if name in SCORES:
                assert values[i] == alone.pooled()[name]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(count, count, count, count), min_size=1, max_size=8))
def test_identities_of_pooled_and_per_image_scores(rows):
    counts = np.array(rows)
    each = ratios(counts)
    pooled = ratios(counts.sum(0))
    for scores in (each, pooled):
        assert all(((v >= 0) & (v <= 1)).all() for v in scores.values())
        np.testing.assert_allclose(scores["dsc"], 2 * scores["iou"] / (1 + scores["iou"]), rtol=1e-12)
    # The identity is concave in IoU, so it bounds the mean DSC (Jensen): the sign tells which mean was used.
    mean_iou, mean_dsc = each["iou"].mean(), each["dsc"].mean()
    assert mean_dsc <= 2 * mean_iou / (1 + mean_iou) + 1e-12


def test_a_tie_at_the_threshold_is_lesion():
    probability = torch.tensor([0.5, 0.49999997, 0.50000006, 0.0]).reshape(1, 1, 2, 2)
    assert table_of(probability, torch.ones(1, 1, 2, 2), ["a"]).counts.tolist() == [[2, 0, 2, 0]]
    assert table_of(probability, torch.ones(1, 1, 2, 2), ["a"], threshold=0.0).counts[0, 0] == 4


def test_empty_masks():
    empty, full = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    nothing = table_of(empty, empty, ["a"])
    assert nothing.pooled() == dict.fromkeys(SCORES, 1.0)
    assert nothing.per_image()["boundary_f1"] == 1
    false_alarm = table_of(full, empty, ["a"])
    assert false_alarm.pooled() == {**dict.fromkeys(SCORES, 0.0), "sensitivity": 1.0}
    assert false_alarm.per_image()["boundary_f1"] == 0
    missed = table_of(empty, full, ["a"])
    assert missed.pooled() == {**dict.fromkeys(SCORES, 0.0), "specificity": 1.0}


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(6)), st.integers(1, 6))
def test_neither_order_nor_batch_size_matters(order, size):
    probability, truth, ids = batch()
    scores = SegmentationScores()
    for start in range(0, 6, size):
        rows = order[start : start + size]
        scores.update(probability[rows], truth[rows], [ids[i] for i in rows])
    table, whole = scores.compute(), table_of(probability, truth, ids)
    assert table.ids == whole.ids == tuple(ids)
    np.testing.assert_array_equal(table.counts, whole.counts)
    np.testing.assert_array_equal(table.boundary_f1, whole.boundary_f1)


def test_images_of_different_sizes_and_names_of_any_alphabet():
    scores = SegmentationScores()
    scores.update(torch.ones(1, 1, 3, 5), torch.ones(1, 1, 3, 5), ["naïve/läsion β"])
    scores.update(torch.ones(1, 1, 7, 2), torch.zeros(1, 1, 7, 2), ["b"])
    table = scores.compute()
    assert table.ids == ("b", "naïve/läsion β")
    assert table.counts.tolist() == [[0, 14, 0, 0], [15, 0, 0, 0]]


def test_reset_forgets_and_an_empty_part_is_an_error():
    scores = SegmentationScores()
    with pytest.raises(SkinlesionError, match="No image"), pytest.warns(UserWarning, match="before the"):
        scores.compute()
    scores.update(*batch())
    assert len(scores.compute().ids) == 6
    scores.reset()
    scores.update(*(x[:2] for x in batch(seed=1)))
    assert len(scores.compute().ids) == 2


def test_forward_scores_the_batch_and_keeps_the_total_and_a_pickle_goes_on():
    probability, truth, ids = batch()
    scores = SegmentationScores()
    assert scores(probability[:2], truth[:2], ids[:2]).ids == tuple(ids[:2])
    assert scores(probability[2:], truth[2:], ids[2:]).ids == tuple(ids[2:])
    assert scores.compute().ids == tuple(ids)
    again = pickle.loads(pickle.dumps(scores))
    assert again.compute().counts.tolist() == scores.compute().counts.tolist()


@pytest.mark.parametrize(("value", "hint"), [(1.5, "sigmoid"), (-0.1, "sigmoid"), (float("nan"), "NaN")])
def test_what_is_not_a_probability_is_refused_with_the_images_id(value, hint):
    probability, truth, ids = batch()
    probability[3, 0, 2, 2] = value
    with pytest.raises(SkinlesionError, match=f"{ids[3]}.*{hint}"):
        SegmentationScores().update(probability, truth, ids)


def test_ids_must_match_the_images():
    probability, truth, ids = batch()
    with pytest.raises(SkinlesionError, match="6 masks came with 5 ids"):
        SegmentationScores().update(probability, truth, ids[:5])


def test_boundary_scores_are_those_of_the_function_and_can_be_left_out():
    probability, truth, ids = batch()
    expected = [boundary_f1(p[0].numpy() >= 0.5, t[0].numpy(), 1.0) for p, t in zip(probability, truth, strict=True)]
    table = table_of(probability, truth, ids, boundary_tolerance=1.0)
    np.testing.assert_allclose(table.boundary_f1, expected, rtol=1e-6)
    without = table_of(probability, truth, ids, boundary_tolerance=None)
    assert without.boundary_f1 is None
    assert "boundary_f1" not in without.per_image()
    assert "boundary_f1" not in summarize(without, n=10)["per_image"]


def test_summary_is_json_with_every_number_a_fraction():
    table = table_of(*batch())
    summary = summarize(table, n=200)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["n"] == 6
    assert set(summary["pooled"]) == set(SCORES)
    assert set(summary["per_image"]) == {*SCORES, "thresholded_jaccard", "boundary_f1"}
    iou = table.per_image()["iou"]
    assert summary["per_image"]["iou"] == pytest.approx(
        {"mean": iou.mean(), "median": np.median(iou), "std": iou.std()}
    )
    low, high = summary["intervals"]["pooled"]["iou"]
    assert 0 <= low <= summary["pooled"]["iou"] <= high <= 1


WORKER = """
    import json, sys
    import torch, torch.distributed as dist
    from skinlesion.metrics import SegmentationScores, summarize
    rank, store, output = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=3)
    data = torch.load(f"{store}.data", weights_only=True)
    scores = SegmentationScores()
    # Image 0 comes twice, as a sampler repeats it to even out the parts; the third process has no image.
    for rows in {0: [[0, 1], [4]], 1: [[2, 3], [0]], 2: []}[rank]:
        scores.update(data["probability"][rows], data["truth"][rows], [data["ids"][i] for i in rows])
    table = scores.compute()
    result = {"ids": table.ids, "counts": table.counts.tolist(), "summary": summarize(table, n=100)}
    with open(f"{output}{rank}", "w") as file:
        json.dump(result, file)
    dist.destroy_process_group()
"""


@pytest.mark.slow
def test_several_processes_score_as_one_even_if_images_are_repeated(tmp_path):
    probability, truth, ids = (x[:5] for x in batch())
    store = tmp_path / "store"
    torch.save({"probability": probability, "truth": truth, "ids": ids}, f"{store}.data")
    script = tmp_path / "worker.py"
    script.write_text(textwrap.dedent(WORKER))
    workers = [
        subprocess.Popen([sys.executable, str(script), str(rank), str(store), str(tmp_path / "out")])
        for rank in range(3)
    ]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0, 0]
    table = table_of(probability, truth, ids)
    for rank in range(3):
        result = json.loads((tmp_path / f"out{rank}").read_text())
        assert result["ids"] == list(table.ids)
        assert result["counts"] == table.counts.tolist()
        assert result["summary"] == summarize(table, n=100)
