"""Cross-region attention: the gates that are shown are the package's, they follow the choices, and links."""

import json

import numpy as np
import pytest

from skinlesion import explain
from skinlesion.segmenter import Segmenter


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows whenever the gates of an image are computed."""
    done: list[int] = []
    gates = explain.cra_gates

    def count(model, image):
        done.append(1)
        return gates(model, image)

    monkeypatch.setattr(explain, "cra_gates", count)
    return done


def gates(weights_folder, id="ISIC_0012434"):
    from dashboard.image_choice import samples

    segmenter = Segmenter.from_pretrained(weights_folder / "random.safetensors")
    return explain.cra_gates(segmenter.model, segmenter.prepare([samples()[id].full()]))


def middle(weights_folder) -> float:
    """A threshold that some pixels of the first sample reach and some do not."""
    from dashboard.image_choice import samples

    segmenter = Segmenter.from_pretrained(weights_folder / "random.safetensors")
    return float(segmenter.predict([samples()["ISIC_0012434"].full()]).mean.median())


def test_the_range_of_the_product_is_the_packages(open_app, texts, weights_folder):
    app = open_app("attention", weights="random", sample="ISIC_0012434", skip="S3", pick="channel", channel="2")
    product = gates(weights_folder)["S3"].product(2)
    assert f"here by {product.min():.2f} to {product.max():.2f}" in texts(app)
    assert "S3, gates of channel 2" in texts(app)


@pytest.mark.parametrize("query", [{"skip": "S3"}, {"skip": "S2", "pick": "channel", "channel": "2"}])
def test_the_finding_is_the_correlation_with_the_mask(open_app, texts, weights_folder, monkeypatch, query):
    from dashboard.image_choice import samples

    value = middle(weights_folder)
    monkeypatch.setattr("dashboard.weights.Weights.threshold", property(lambda self: value))
    said = texts(open_app("attention", weights="random", sample="ISIC_0012434", **query))
    segmenter = Segmenter.from_pretrained(weights_folder / "random.safetensors")
    probability = segmenter.predict([samples()["ISIC_0012434"].full()]).mean[0, 0].numpy()
    product = gates(weights_folder)[query["skip"]].product(int(query["channel"]) if "channel" in query else None)
    share = (probability >= value).reshape(product.shape[0], 64 // product.shape[0], product.shape[1], -1).mean((1, 3))
    r = np.corrcoef(product.ravel(), share.ravel())[0, 1]
    assert f"correlation with the predicted lesion (r = {r:+.2f} over the grid)" in said
    assert ("hardly distinguish" in said) == (abs(r) < 0.1)


def test_no_finding_without_a_mask(open_app, texts, monkeypatch):
    monkeypatch.setattr("dashboard.weights.Weights.threshold", property(lambda self: 1.0))
    assert "the gates can't be compared with it" in texts(open_app("attention", weights="random"))


def test_the_sharpest_channel(open_app, texts, weights_folder):
    app = open_app("attention", weights="random", sample="ISIC_0012434", pick="strongest")
    assert f"S2, gates of channel {gates(weights_folder)['S2'].strongest}" in texts(app)


def test_keys_walk_through_skips_and_channels_without_looking_again(open_app, texts, looked, weights_folder):
    s3 = gates(weights_folder)["S3"]
    app = open_app("attention", weights="random", sample="ISIC_0012434")
    before = len(looked)
    app.button(key="next-skip").click().run()
    assert "S3, mean gates" in texts(app)
    app.button(key="next-channel").click().run()
    assert f"S3, gates of channel {s3.strongest}" in texts(app)
    app.button(key="next-channel").click().run()
    assert f"S3, gates of channel {(s3.strongest + 1) % s3.gate_h.shape[1]}" in texts(app)
    assert app.query_params["skip"] == "S3"
    assert len(looked) == before


@pytest.mark.parametrize("change", ["shift", "turn"])
def test_gates_of_an_untrained_network_are_not_said_to_follow(open_app, texts, change):
    """They move by some noise, and the gain may be above 0: the other images' gains are as large."""
    app = open_app("attention", weights="random", sample="ISIC_0012434", change=change)
    assert "No sign that the gates of S2 follow this image" in texts(app)
    assert "19 other images" in texts(app)
    assert "The changed image and its predicted mask" in texts(app)


def test_covering_the_lesion_is_compared_with_covering_skin(open_app, texts, monkeypatch, weights_folder):
    change = "cover"
    monkeypatch.setattr("dashboard.weights.Weights.threshold", property(lambda self: middle(weights_folder)))
    app = open_app("attention", weights="random", sample="ISIC_0012434", change=change)
    said = texts(app)
    assert "Covering the lesion changes the gates of S2 by" in said
    assert "covering the same shape elsewhere" in said or "too large for a control" in said


def test_a_shift_by_nothing_has_no_finding(open_app, texts):
    assert "isn't shifted yet" in texts(open_app("attention", weights="random", down="0", right="0"))


def test_neighbors_have_one_scale(open_app):
    """Colors of two skips can be compared, and those of the changed image too."""
    scales = set()
    for skip in ("S2", "S3"):
        app = open_app("attention", weights="random", sample="ISIC_0012434", skip=skip)
        for chart in (app.get("plotly_chart")[0], app.get("plotly_chart")[2]):
            heat = next(t for t in json.loads(chart.proto.spec)["data"] if t["type"] == "heatmap")
            scales.add((heat["zmin"], heat["zmax"]))
    assert len(scales) == 1


def test_a_mask_that_is_empty_cannot_be_covered(open_app, monkeypatch):
    monkeypatch.setattr("dashboard.weights.Weights.threshold", property(lambda self: 1.1))
    assert "nothing to cover" in open_app("attention", weights="random", change="cover").info[0].value


@pytest.mark.parametrize("weights", ["plain", "unet"])
def test_a_network_without_it_says_so(open_app, weights):
    app = open_app("attention", weights=weights)
    assert "has no cross-region attention" in app.info[0].value
    assert not app.metric


def test_a_link_reproduces_the_view(open_app):
    query = {"weights": "random", "sample": "ISIC_0012434", "skip": "S3", "pick": "channel", "channel": "5"}
    app = open_app("attention", change="turn", quarters="2", **query)
    assert app.number_input(key="channel").value == 5
    assert dict(app.query_params) == query | {"change": "turn", "quarters": "2"}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("skip", "S9"),
        ("skip", "<script>"),
        ("channel", "-1"),
        ("channel", "9999"),
        ("pick", "all"),
        ("down", "97"),
        ("quarters", "4"),
    ],
)
def test_a_hostile_parameter_is_ignored_and_said(open_app, texts, key, text):
    app = open_app("attention", **({"weights": "random"} | {key: text}))
    assert "Ignored in the address" in texts(app)
    assert app.query_params.get(key) != text
