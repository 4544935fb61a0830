"""Channels: gates and maps of a chosen channel, two images, two networks, ranges over images, redundancy, and links."""

import shutil

import numpy as np
import pytest
import torch

from skinlesion import explain
from skinlesion.checkpoint import save_checkpoint
from skinlesion.segmenter import Segmenter
from skinlesion.zoo import create_model

CARD = {
    "preprocessing": {"size": [64, 64], "normalize": "minmax"},
    "threshold": 0.5,
    "data": {"dataset": "folder", "split": "random", "manifest": "0" * 64},
    "command": "skinlesion train --preset tiny",
    "metrics": {"val": {"iou": 0.5}},
}


def excitation(weights_folder, block, id="ISIC_0012434"):
    from dashboard.image_choice import samples

    segmenter = Segmenter.from_pretrained(weights_folder / "random.safetensors")
    return explain.excitation(segmenter.model, segmenter.prepare([samples()[id].full()]), block)


def table(app, column):
    return next(frame.value for frame in app.dataframe if column in frame.value)


@pytest.fixture
def view(open_app):
    """view(...): the view of the random network's channels."""
    return lambda **query: open_app("channels", **({"weights": "random", "sample": "ISIC_0012434"} | query))


def button(app, label):
    return next(button for button in app.button if button.label.startswith(label))


def test_the_gates_are_the_packages(view, texts, weights_folder):
    app = view(block="E2.1", channel="3")
    found = excitation(weights_folder, "E2.1")
    assert table(app, "gate")["gate"].to_numpy() == pytest.approx(found.gate)
    assert "E2.1, channel 3" in texts(app)


def test_next_channel_goes_by_the_gates_order(view, weights_folder):
    order = np.argsort(-excitation(weights_folder, "E1.1").gate, kind="stable")
    app = view(block="E1.1", channel=str(order[0]))
    app.button(key="next-se").click().run()
    assert app.number_input(key="channel").value == order[1]


def test_next_block_keeps_a_channel_that_it_has(view, texts):
    app = view(channel="3")
    app.button(key="next-block").click().run()
    assert app.selectbox(key="block").value == "E2.1"
    assert app.number_input(key="channel").value == 3


def test_another_image(view, weights_folder):
    app = view(against="image", block="E1.1")
    other = app.selectbox(key="versus").value
    shown = table(app, "difference")["difference"].to_numpy()
    expected = excitation(weights_folder, "E1.1").gate - excitation(weights_folder, "E1.1", other).gate
    assert shown == pytest.approx(expected, abs=1e-6)


def test_other_weights_must_have_gates_too(view):
    app = view(against="model")
    assert "no other weights with squeeze-and-excitation" in app.info[0].value


def test_channels_of_two_networks_are_paired_by_rank(open_app, texts, weights_folder, tmp_path, monkeypatch):
    torch.manual_seed(4)
    small = {"dim": 16, "depths": (1, 1, 1), "decoder_depths": (1, 1, 1), "d_state": 4}
    save_checkpoint(tmp_path / "second.safetensors", create_model("tiny", **small), {**CARD, "seed": 2})
    shutil.copy(weights_folder / "random.safetensors", tmp_path)
    monkeypatch.setenv("SKINLESION_WEIGHTS_DIR", str(tmp_path))
    app = open_app("channels", weights="random", against="model", sample="ISIC_0012434")
    assert app.selectbox(key="other").value == "second"
    assert "Dots: second, sorted separately." in texts(app)
    # Channel by channel they do not correspond: no difference of theirs is shown.
    assert all("difference" not in frame.value for frame in app.dataframe)


def test_which_channels_always_pass(view, texts):
    app = view()
    button(app, "Run on").click().run()
    ranges = table(app, "always kept")
    assert list(ranges["block"]) == ["E1.1", "E2.1", "E3.1", "D3.1", "D2.1", "D1.1"]
    assert (ranges["lowest"] <= ranges["highest"]).all()
    assert "Always kept: the gate is at least 0.75" in texts(app)


@pytest.mark.parametrize("weights", ["random", "unet"])
def test_redundancy_of_any_network(open_app, texts, weights):
    app = open_app("channels", weights=weights)
    button(app, "Measure every layer").click().run()
    assert not app.exception
    assert app.selectbox(key="layer").options
    assert "are constant; correlated over" in texts(app)


@pytest.mark.parametrize("weights", ["plain", "unet"])
def test_a_network_without_it_says_so(open_app, weights):
    app = open_app("channels", weights=weights)
    assert "has no squeeze-and-excitation" in app.info[0].value


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("block", "E9.9"),
        ("block", "<b>"),
        ("channel", "9999"),
        ("channel", "1e3"),
        ("against", "you"),
    ],
)
def test_a_hostile_parameter_is_ignored_and_said(view, texts, key, text):
    app = view(**{key: text})
    assert "Ignored in the address" in texts(app)
    assert app.query_params.get(key) != text


def test_it_begins_with_the_channel_that_is_most_open(view, weights_folder):
    app = view(block="E2.1")
    gates = excitation(weights_folder, "E2.1").gate
    assert app.number_input(key="channel").value == int(gates.argmax())
