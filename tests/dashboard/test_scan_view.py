"""The scan: a token's reading, Delta, the routes, how far a network sees, and links."""

import pytest
import torch

from skinlesion import create_model, explain
from skinlesion.checkpoint import save_checkpoint


def button(app, label):
    return next(button for button in app.button if button.label.startswith(label))


def test_a_pixel_is_a_token_of_the_block(open_app, texts):
    app = open_app("scan", weights="random", px="250", py="750", block="E1.1")
    assert "row 12, column 4 of 16 × 16, 4 pixels wide" in texts(app)
    assert "What the token at (12, 4) (cross) depends on" in texts(app)
    assert "Step size Delta of each token" in texts(app)
    assert "The four directions of the scan over a 8 x 8 grid" in texts(app)


def test_another_block_has_another_grid(open_app, texts):
    app = open_app("scan", weights="random", px="250", py="750")
    app.button(key="next-block").click().run()
    assert "row 6, column 2 of 8 × 8, 8 pixels wide" in texts(app)


def test_direction_and_reduction(open_app, texts):
    app = open_app("scan", weights="plain", direction="writes", reduction="sum")
    assert "influences through the scan" in texts(app)
    assert "sum of the weights over channels" in texts(app)


def test_the_scan_of_an_image_is_looked_at_once(open_app, monkeypatch):
    done = []
    look = explain.scan_inputs
    monkeypatch.setattr(explain, "scan_inputs", lambda *given: done.append(1) or look(*given))
    app = open_app("scan", weights="random")
    app.segmented_control(key="direction").set_value("writes").run()
    open_app("scan", weights="random", px="10")
    assert len(done) == 1


@pytest.mark.parametrize("weights", ["random", "unet"])
def test_how_far_a_network_sees(open_app, texts, weights):
    app = open_app("scan", weights=weights, sample="ISIC_0012434", px="0", py="0")
    said = texts(app)
    assert "Effective receptive field" in said
    sizes = said.split("The square contains half of the total")[1].split("\n")[0]
    assert f"{weights} " in sizes
    assert "unet " in sizes  # the trained U-Net of the folder stands beside any other network
    assert "untrained" not in said


@pytest.mark.parametrize("weights", ["random", "unet"])
def test_the_receptive_field_follows_the_marked_pixel(open_app, texts, weights):
    """In one run, without a button: the field of the old pixel must not stay under the caption of the new one."""
    app = open_app("scan", weights=weights, sample="ISIC_0012434")
    assert "marked pixel, row 32, column 32" in texts(app)
    app.session_state["py"], app.session_state["px"] = 250, 800
    app.run()
    assert "marked pixel, row 16, column 51" in texts(app)


def test_a_pixel_that_depends_on_nothing_is_an_error_in_the_page(open_app, tmp_path, monkeypatch):
    constant = create_model("unet", dim=4)
    torch.nn.init.zeros_(constant.head.weight)
    card = {"preprocessing": {"size": [64, 64], "normalize": "minmax"}, "threshold": 0.5}
    save_checkpoint(tmp_path / "constant.safetensors", constant, card)
    monkeypatch.setenv("SKINLESION_WEIGHTS_DIR", str(tmp_path))
    app = open_app("scan", weights="constant", sample="ISIC_0012434")
    assert "Mark another pixel" in app.error[0].value


def test_a_network_without_a_scan_says_so(open_app, texts):
    app = open_app("scan", weights="unet")
    assert "has no scan" in app.info[0].value
    assert "The four directions" in texts(app)


@pytest.mark.parametrize(
    ("key", "text"), [("block", "S2"), ("block", "../x"), ("px", "1000"), ("direction", "both"), ("reduction", "max")]
)
def test_a_hostile_parameter_is_ignored_and_said(open_app, texts, key, text):
    app = open_app("scan", **({"weights": "random"} | {key: text}))
    assert "Ignored in the address" in texts(app)
    assert app.query_params.get(key) != text
