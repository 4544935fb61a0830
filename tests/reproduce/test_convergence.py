"""Selected epochs and rankings, on made-up runs."""

import numpy as np
import pytest

from skinlesion.reproduce.convergence import convergence_text, draw_curves, epochs_values, kept_last, ranking_values
from skinlesion.reproduce.plan import load_plan
from skinlesion.reproduce.results import Key, Results


@pytest.fixture
def results(tmp_path):
    """Short and long runs of U-Net and VM-UNet; VM-UNet overtakes."""
    results = Results(tmp_path, load_plan("cpu"))
    scores = {"unet": (0.77, 8, 8), "vmunet": (0.75, 8, 7), "unet-32": (0.78, 32, 30), "vmunet-32": (0.80, 32, 32)}
    for cell, (iou, epochs, selected) in scores.items():
        for seed in range(2):
            history = [
                {"epoch": epoch, "train_loss": 1 / epoch, "val_iou": iou - 0.2 / epoch}
                for epoch in range(1, epochs + 1)
            ]
            data = {
                "report": {"pooled": {"iou": iou + 0.01 * seed}},
                "config": {"epochs": epochs},
                "selected": {"epoch": selected},
            } | ({"history": history} if cell.endswith("32") else {})
            results.save(Key("isic2017", cell, seed), np.ones((3, 4), np.int64), data)
    return results


def test_a_ranking_that_turns_is_said(results):
    table = results.plan.tables["convergence"]
    ranking = ranking_values(results, table)
    assert ranking["kendall_tau"] == -1
    runs = epochs_values(results, table)
    text = convergence_text(runs, ranking)
    assert text.startswith("The long runs rank the systems differently (Kendall's tau -1.00). Short: U-Net, VM-UNet. ")
    assert "Long: VM-UNet, U-Net. Mean pooled IoU, short to long: U-Net 77.50 to 78.50; VM-UNet 75.50 to 80.50." in text
    assert "settle" not in text
    # two pairs of runs, one point apart each: deviation 0.01 / sqrt(2), t(2) = 4.303, two runs a side
    assert "Differences under 3.04 points between two systems are within the 95% interval over long runs." in text
    assert "In 2 of 4 runs, the selected epoch was the last one." in text
    assert "| U-Net | 32 | 30, 30 |" in text


def test_a_ranking_that_holds_is_said(results):
    for seed in range(2):
        data = {"report": {"pooled": {"iou": 0.77}}, "config": {"epochs": 32}, "selected": {"epoch": 32}}
        results.save(Key("isic2017", "vmunet-32", seed), np.ones((3, 4), np.int64), data)
    ranking = ranking_values(results, results.plan.tables["convergence"])
    assert convergence_text([], ranking).startswith("The ranking of the short runs holds: U-Net, VM-UNet.")


def test_an_order_of_single_runs_is_not_called_settled(results):
    for cell in ("unet-32", "vmunet-32"):
        results.path(Key("isic2017", cell, 1)).unlink()
    text = convergence_text([], ranking_values(results, results.plan.tables["convergence"]))
    assert "A single long run doesn't settle the position of: U-Net, VM-UNet." in text
    assert "Differences under" not in text


def test_curves_are_drawn_for_the_runs_that_have_one(results, tmp_path):
    runs = epochs_values(results, results.plan.tables["convergence"])
    assert [len(run["curve"]) for run in runs] == [32] * 4
    assert set(runs[0]["curve"][0]) == {"epoch", "train_loss", "val_iou"}
    draw_curves(runs, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    short = epochs_values(results, results.plan.tables["table2"])
    assert [run["curve"] for run in short] == [[]] * 4
    assert kept_last(short) == "In 2 of 4 runs, the selected epoch was the last one."
    draw_curves(short, tmp_path / "none.png")


def test_one_system_has_no_ranking(results):
    assert ranking_values(results, results.plan.tables["table4"]) is None
