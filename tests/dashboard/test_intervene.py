"""Intervene: the numbers are the package's, each experiment has an address, a control and a finding."""

import numpy as np
import pytest

from dashboard.components.painter import read_edits, stamps
from skinlesion import explain
from skinlesion.explain import Stamp
from skinlesion.segmenter import Segmenter

EDITS = "e.500.400.200_p.100.100.80_m.800.800.100.500.500"


@pytest.fixture
def middle(monkeypatch, weights_folder) -> float:
    """A threshold that half of the first sample's pixels reach: the random network has a mask then."""
    from dashboard.image_choice import samples

    segmenter = Segmenter.from_pretrained(weights_folder / "random.safetensors")
    value = float(segmenter.predict([samples()["ISIC_0012434"].full()]).mean.median())
    monkeypatch.setattr("dashboard.weights.Weights.threshold", property(lambda self: value))
    return value


def test_an_address_is_a_list_of_stamps():
    erase, paint, move = stamps(read_edits(EDITS))
    assert erase == Stamp("erase", 0.5, 0.4, 0.2)
    assert paint.tool == "paint"
    assert move.source == (0.5, 0.5)


@pytest.mark.parametrize(
    "text",
    ["x.1.1.1", "e.1.1", "e.1.1.1000", "m.1.1.1", "e.1.1.1_", "e.1.1.1 ", "e.-1.1.1", "_".join(["e.1.1.1"] * 25)],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError):  # as every reader of an address raises
        read_edits(text)


def test_painting_has_a_finding_a_control_and_an_address(open_app, texts, middle):
    app = open_app("intervene", weights="random", sample="ISIC_0012434", edits="p.100.100.60")
    said = texts(app)
    assert "After painting, the mask has a Dice of" in said
    assert "Control (the same edit elsewhere)" in said or "too large to fit anywhere else" in said
    assert "Mean absolute change of the gates in each block" in said
    assert dict(app.query_params)["edits"] == "p.100.100.60"


def test_nothing_is_claimed_before_anything_is_painted(open_app, texts, middle):
    app = open_app("intervene", weights="random")
    assert "the mask has a Dice of" not in texts(app)
    next(button for button in app.button if button.label.startswith("Try it")).click().run()
    assert "the mask has a Dice of" in texts(app)


def test_a_gate_set_by_hand_is_the_packages_intervention(open_app, texts, middle, weights_folder):
    from dashboard.image_choice import samples

    query = {"experiment": "gate", "gate": "channel", "block": "E2.1", "channel": "3", "value": "1", "draw": "7"}
    app = open_app("intervene", weights="random", sample="ISIC_0012434", **query)
    segmenter = Segmenter.from_pretrained(weights_folder / "random.safetensors")
    image = segmenter.prepare([samples()["ISIC_0012434"].full()])
    masks = [
        explain.outcomes(segmenter.model, image, edit)[0].probability >= middle
        for edit in (None, explain.set_channel("E2.1", 3, 1.0))
    ]
    dice = 2 * (masks[0] & masks[1]).sum() / (masks[0].sum() + masks[1].sum())
    assert f"After setting the gate of channel 3 in E2.1 to 1.00, the mask has a Dice of {dice:.3f}" in texts(app)
    assert "chosen at random" in texts(app)
    assert query.items() <= dict(app.query_params).items()


@pytest.mark.parametrize("query", [{"gate": "row"}, {"gate": "column"}, {"gate": "module", "to": "image"}])
def test_every_kind_of_gate(open_app, texts, middle, query):
    app = open_app("intervene", weights="random", experiment="gate", **query)
    assert "the mask has a Dice of" in texts(app)
    assert "Control" in texts(app)


def test_patching_fills_a_grid_and_says_what_brings_the_mask(open_app, texts, middle):
    app = open_app("intervene", weights="random", experiment="patch")
    next(button for button in app.button if button.label.startswith("Patch ")).click().run()
    assert not app.exception
    assert "These activations carry over most of B's mask" in texts(app)
    assert "Effect of replacing one activation of A by B's" in texts(app)


def test_the_grid_has_the_effects_of_the_package(weights_folder):
    from dashboard import experiments
    from dashboard.image_choice import samples
    from dashboard.weights import catalogue

    weights = catalogue()[0]["random"]
    a, b = list(samples().values())[:2]
    rows, columns, values = experiments.patching(weights, a, b, lambda done, text: None)
    segmenter = Segmenter.from_pretrained(weights_folder / "random.safetensors")
    images = [segmenter.prepare([each.full()]) for each in (a, b)]
    (expected,) = explain.patch_effects(segmenter.model, *images, ["E2.1.cmn.output"]).values()
    assert values[rows.index("E2.1"), columns.index("CMN")] == pytest.approx(expected, abs=1e-5)
    assert np.isnan(values[rows.index("S2"), columns.index("CMN")])


def test_a_network_without_gates_can_be_painted_and_patched(open_app, texts, middle):
    app = open_app("intervene", weights="unet", experiment="gate")
    assert app.session_state["experiment"] == "image"
    assert "Ignored in the address" in texts(app)


@pytest.mark.parametrize(
    ("key", "text"), [("edits", "<script>"), ("experiment", "x"), ("module", "E9.9"), ("value", "2"), ("line", "999")]
)
def test_a_hostile_parameter_is_ignored_and_said(open_app, texts, key, text):
    gate = {"module": "module"}.get(key, "row")
    app = open_app("intervene", **({"weights": "random", "experiment": "gate", "gate": gate} | {key: text}))
    assert "Ignored in the address" in texts(app)
    assert app.query_params.get(key) != text
