"""Why this mask: three answers with their scores, one pixel, what is remembered, Stop, and links."""

import pytest
from streamlit.delta_generator import DeltaGenerator
from streamlit.testing.v1 import AppTest

from skinlesion import explain
from skinlesion.segmenter import Segmenter


@pytest.fixture
def attributed(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """A list that grows by (method, layer) whenever an attribution is computed."""
    done: list[tuple] = []
    attribute = explain.attribute

    def count(model, image, region, method, **options):
        if (method, options["layer"]) not in done:  # integrated gradients may need several attempts
            done.append((method, options["layer"]))
        return attribute(model, image, region, method, **options)

    monkeypatch.setattr(explain, "attribute", count)
    return done


@pytest.fixture
def asked(open_app):
    """asked(): the view, about a mask that the random network does find, with the small settings of the tests."""

    def start(**query: str) -> AppTest:
        default = {"sample": "ISIC_0012434", "weights": "plain", "ask": "pixel", "method": "all"}
        return open_app("why", **{**default, **query})

    return start


def button(app: AppTest, label: str):
    return next(button for button in app.button if button.label == label)


def scores(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric if "faithfulness" in metric.label}


def run(app: AppTest, label: str = "Explain") -> AppTest:
    button(app, label).click().run()
    assert not app.exception, app.exception[0].message
    return app


def test_nothing_runs_before_it_is_asked_for(asked, attributed, texts):
    app = asked()
    assert attributed == []
    assert scores(app) == {}
    assert "Explained here: the **logit of the pixel** in row 32, column 32" in texts(app)


def test_three_methods_with_a_score_each(asked, attributed, texts, weights_folder):
    app = run(asked(px="250", py="750", cam="D1.1"))
    assert attributed == [("grad_cam", "D1.1"), ("integrated_gradients", None), ("occlusion", None)]
    shown = scores(app)
    assert list(shown) == [
        "Grad-CAM at D1.1: faithfulness",
        "Integrated gradients: faithfulness",
        "Occlusion: faithfulness",
    ]
    assert "Grad-CAM at D1.1: evidence for lesion" in texts(app)
    # The numbers are those of the package.
    from dashboard.image_choice import samples

    segmenter = Segmenter.from_pretrained(weights_folder / "plain.safetensors")
    image = segmenter.prepare([samples()["ISIC_0012434"].full()])
    region = explain.pixel_region((64, 64), (48, 16))
    found = explain.attribute(segmenter.model, image, region, "occlusion", layer=None)
    control = explain.random_control(segmenter.model, image, region)
    expected = explain.faithfulness(segmenter.model, image, found, control).score
    assert shown["Occlusion: faithfulness"] == f"{expected:+.2f}"


def test_another_layer_asks_only_grad_cam_anew_and_what_was_asked_is_remembered(asked, attributed):
    app = run(asked(cam="D1.1"))
    first = scores(app)
    del attributed[:]
    app.selectbox(key="cam").set_value("E1.1").run()
    assert list(scores(app)) == ["Integrated gradients: faithfulness", "Occlusion: faithfulness"]
    run(app, "Explain the rest")
    assert attributed == [("grad_cam", "E1.1")]
    app.selectbox(key="cam").set_value("D1.1").run()
    assert scores(app) == first
    assert len(attributed) == 1


def test_stop_leaves_nothing_running_and_keeps_what_is_done(asked, attributed, monkeypatch):
    app = asked(cam="D1.1")
    progress = DeltaGenerator.progress

    def interrupt(self, value, text=None):
        """Where Streamlit would notice that Stop was pressed: while occlusion runs."""
        if text == "Occlusion":
            import streamlit as st

            st.stop()
        return progress(self, value, text=text)

    monkeypatch.setattr(DeltaGenerator, "progress", interrupt)
    run(app)
    assert len(scores(app)) == 2
    del attributed[:]
    button(app, "Stop").click().run()
    assert attributed == []
    assert len(scores(app)) == 2
    monkeypatch.setattr(DeltaGenerator, "progress", progress)
    run(app, "Explain the rest")
    assert attributed == [("occlusion", None)]
    assert len(scores(app)) == 3


def test_the_shuffled_network_is_asked_the_same(asked, attributed):
    app = run(asked())
    before = len(attributed)
    run(app, "Run the shuffled network")
    assert len(attributed) == before == 3  # the same three
    values = [float(metric.value) for metric in app.metric if metric.label == "Occlusion"]
    assert len(values) == 1
    assert -1 <= values[0] <= 1


def test_one_method_alone_with_an_estimate_beforehand(asked, attributed, texts):
    app = asked(method="occlusion", cam="D1.1")
    assert "Takes about" in texts(app)
    assert "forward passes" in texts(app)
    run(app)
    assert attributed == [("occlusion", None)]
    assert list(scores(app)) == ["Occlusion: faithfulness"]


def test_a_map_that_does_not_add_up_has_no_score(asked, texts, monkeypatch):
    """48% off and headlined +0.83 was what one could see."""
    monkeypatch.setattr("dashboard.attributions.MOST_STEPS", 32)
    monkeypatch.setattr("skinlesion.explain.attribution.Attribution.completeness_gap", property(lambda self: 0.48))
    app = run(asked(method="integrated_gradients"))
    assert scores(app) == {"Integrated gradients: faithfulness": "not converged"}
    assert "48% off" in texts(app)


def test_integrated_gradients_take_more_steps_until_they_add_up(asked, monkeypatch):
    tried = []
    attribute = explain.attribute

    def coarse(*given, steps, **options):
        tried.append(steps)
        found = attribute(*given, steps=2, **options)
        found.map[:] *= 0 if steps < 64 else (found.score - found.baseline_score) / found.map.sum()
        return found

    monkeypatch.setattr(explain, "attribute", coarse)
    app = run(asked(method="integrated_gradients"))
    assert tried == [32, 64]
    assert scores(app)["Integrated gradients: faithfulness"] != "not converged"


def test_an_empty_mask_cannot_be_asked_about(asked, texts, monkeypatch):
    monkeypatch.setattr("dashboard.weights.Weights.threshold", property(lambda self: 0.999))
    app = asked(ask="mask")
    assert "No pixel reaches the threshold" in app.info[0].value
    assert all(button.label != "Explain" for button in app.button)
    app.segmented_control(key="ask").set_value("pixel").run()
    assert button(app, "Explain")


def test_any_network_can_be_asked(asked):
    app = run(asked(weights="unet", ask="pixel"))
    assert len(scores(app)) == 3
    assert app.selectbox(key="cam").value in app.selectbox(key="cam").options


def test_a_pixel_that_is_no_lesion_and_an_empty_map(asked, texts, monkeypatch):
    monkeypatch.setattr("dashboard.weights.Weights.threshold", property(lambda self: 0.999))
    attribute = explain.attribute

    def empty(*arguments, **options):
        found = attribute(*arguments, **options)
        found.map[:] = 0
        return found

    monkeypatch.setattr(explain, "attribute", empty)
    app = run(asked())
    assert "**not lesion**" in texts(app)
    assert "they mean little here" in texts(app)
    assert texts(app).count("The map is empty") == 3
    assert "-0.00" not in scores(app).values()


def test_a_link_reproduces_the_question(asked):
    app = asked(px="250", py="999", cam="E2.1", baseline="blur")
    assert dict(app.query_params) == {
        "sample": "ISIC_0012434",
        "weights": "plain",
        "ask": "pixel",
        "method": "all",
        "px": "250",
        "py": "999",
        "cam": "E2.1",
        "baseline": "blur",
    }
    assert app.selectbox(key="baseline").value == "blur"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("ask", "everything"),
        ("px", "1000"),
        ("py", "-1"),
        ("py", "1e2"),
        ("cam", "S2"),  # this network has none
        ("cam", "<b>"),
        ("cam", "encoder.0.0"),
        ("baseline", "../skin"),
    ],
)
def test_a_hostile_parameter_is_ignored_and_said(open_app, texts, key, text):
    app = open_app("why", weights="plain", **{key: text})
    assert "Ignored in the address" in texts(app)
    assert app.query_params.get(key) != text
    assert app.selectbox(key="cam").value in app.selectbox(key="cam").options


def test_another_visitor_sees_nothing_of_it(asked):
    run(asked())
    assert scores(asked()) == {}
