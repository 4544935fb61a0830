"""The page about the default weights says what its program measured."""

import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
# The rows of the page's table: the label, the images, and the group among them.
ROWS = (
    ("ISIC 2017, test set", "test", None),
    ("very light background", "test", "very light"),
    ("light", "test", "light"),
    ("intermediate", "test", "intermediate"),
    ("tan, brown and dark", "test", "tan, brown and dark"),
    ("lesions over half the image", "test", "over 50%"),
    ("lesions under 5%", "test", "under 5%"),
    ("ISIC 2018 squares", "squares", None),
    ("squares, lesions over half", "squares", "over 50%"),
    ("squares, tan, brown and dark", "squares", "tan, brown and dark"),
)


@pytest.fixture(scope="module")
def page() -> str:
    return (RESULTS / "general.md").read_text(encoding="utf-8")


def measured(part: str) -> dict:
    return json.loads((RESULTS / f"any_image_{part}.json").read_text(encoding="utf-8"))["weights"]


def said(interval: list[float]) -> str:
    value, low, high = interval
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


@pytest.mark.parametrize(("label", "images", "group"), ROWS, ids=[row[0] for row in ROWS])
def test_each_row_is_what_was_measured(page: str, label: str, images: str, group: str | None):
    found = [measured("test")[name][images] for name in ("accurate", "general")]
    if group is not None:
        found = [each["groups"][group] for each in found]
    cells = [label, str(found[0]["n"]), *(said(each["pooled_iou"]) for each in found)]
    assert f"| {' | '.join(cells)} |" in page


def test_what_the_weights_were_chosen_by_is_what_was_measured(page: str):
    for name, row in (
        ("accurate", "`accurate`, the starting point of every row"),
        ("general", "**zoom, mean of both**"),
    ):
        found = measured("validation")[name]
        cells = [f"{found[kind]['pooled_iou'][0]:.3f}" for kind in ("whole", "crops", "darker_tones")]
        line = next(line for line in page.splitlines() if line.startswith(f"| {row} "))
        assert [cell.strip(" *") for cell in line.split("|")[2:6]] == [
            *cells,
            f"{100 * found['crops_with_large_lesions']['missed']:.1f}%",
        ]


def test_the_images_that_are_not_flagged_are_named(page: str):
    strange = measured("test")["general"]["strange"]
    assert f"Of {len(strange)} images that aren't dermoscopy, {sum(strange.values())} are flagged" in page


def test_every_trial_is_listed_with_what_its_runs_measured(page: str):
    runs = json.loads((RESULTS / "any_image_trials.json").read_text(encoding="utf-8"))["runs"]
    lines = [line.split("|")[2:-1] for line in page.partition("## Trials")[2].partition("\n## ")[0].splitlines()]
    said_of_trials = {tuple(cell.strip() for cell in line) for line in lines if len(line) == 4}
    trials: dict[str, list[dict]] = {}
    for name, run in runs.items():
        trials.setdefault(name.rstrip("01").rstrip("-"), []).append(run)
    for seeds in trials.values():
        cells = [
            ", ".join(f"{run[kind]['pooled_iou'][0]:.3f}" for run in seeds)
            for kind in ("whole", "crops", "darker_tones")
        ]
        missed = ", ".join(f"{100 * run['crops_with_large_lesions']['missed']:.1f}%" for run in seeds)
        assert (*cells, missed) in said_of_trials
