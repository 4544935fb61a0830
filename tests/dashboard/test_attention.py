"""Cross-region attention: the gates that are shown are the package's, they follow the choices, and links."""

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
    return float(segmenter.probability([samples()["ISIC_0012434"].full()])[0].median())


def test_the_range_of_the_product_is_the_packages(open_app, texts, weights_folder):
    app = open_app("attention", weights="random", sample="ISIC_0012434", skip="S3", pick="channel", channel="2")
    product = gates(weights_folder)["S3"].product(2)
    assert f"here by {product.min():.2f} to {product.max():.2f}" in texts(app)
    assert "S3, gates of channel 2" in texts(app)


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


@pytest.mark.parametrize(("change", "metrics"), [("shift", 2), ("turn", 2), ("cover", 1)])
def test_gates_of_a_changed_image(open_app, texts, change, metrics, monkeypatch, weights_folder):
    monkeypatch.setattr("dashboard.weights.Weights.threshold", property(lambda self: middle(weights_folder)))
    app = open_app("attention", weights="random", sample="ISIC_0012434", change=change)
    assert len(app.metric) == metrics
    assert "in units of the gate" in texts(app)


def test_a_shift_by_nothing_changes_nothing(open_app):
    app = open_app("attention", weights="random", down="0", right="0")
    assert [metric.value for metric in app.metric] == ["0.0000", "0.0000"]


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
    assert "Ignored from the address" in texts(app)
    assert app.query_params.get(key) != text
