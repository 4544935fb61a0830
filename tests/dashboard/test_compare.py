"""Compare: two networks, modules ablated, a set, what was measured before, Stop, and links."""

import json

import numpy as np
import pytest
import torch
from streamlit.delta_generator import DeltaGenerator
from streamlit.testing.v1 import AppTest

from skinlesion import explain
from skinlesion.metrics import ratios
from skinlesion.reproduce import load_plan, write_report
from skinlesion.reproduce.results import Key, Results
from skinlesion.segmenter import Segmenter


@pytest.fixture(autouse=True)
def summary(tmp_path, monkeypatch):
    """Where the measured comparison would be; nothing is there yet."""
    path = tmp_path / "reproduce" / "summary.json"
    monkeypatch.setenv("SKINLESION_RESULTS_DIR", str(path.parent))
    return path


def button(app: AppTest, label: str):
    return next(button for button in app.button if button.label == label)


def run(app: AppTest) -> AppTest:
    next(button for button in app.button if button.label.startswith("Compare on ")).click().run()
    assert not app.exception, app.exception[0].message
    return app


def test_two_networks_on_one_image(open_app, runs, texts, weights_folder):
    app = open_app("compare", sample="ISIC_0012434", weights="random", other="unet")
    assert runs == [1, 1]
    rows = app.dataframe[0].value
    assert rows["network"].tolist() == ["A: random", "B: unet"]
    from dashboard.image_choice import samples

    picture = samples()["ISIC_0012434"]
    for name, dsc in zip(("random", "unet"), rows["DSC"], strict=True):
        segmenter = Segmenter.from_pretrained(weights_folder / f"{name}.safetensors")
        mask, truth = segmenter.segment(picture.data, threshold=0.5).mask, picture.truth
        counts = [(mask & truth).sum(), (mask & ~truth).sum(), (~mask & truth).sum(), (~mask & ~truth).sum()]
        assert dsc == pytest.approx(float(ratios(counts)["dsc"]), abs=1e-6)
    assert "Probability of lesion by A minus by B" in texts(app)
    del runs[:]
    app.slider(key="threshold").set_value(0.3).run()
    assert runs == []


def test_an_ablated_module(open_app, runs, weights_folder):
    app = open_app("compare", sample="ISIC_0012434", weights="random", other="random", threshold="0.47")
    assert app.selectbox(key="off_other").value == "CRA at its mean gate"  # by itself it would be compared with itself
    assert runs == [1, 1]
    rows = app.dataframe[0].value
    assert rows["network"].tolist() == ["A: random", "B: random, CRA at its mean gate"]
    from dashboard.image_choice import samples

    segmenter = Segmenter.from_pretrained(weights_folder / "random.safetensors")
    image = segmenter.prepare([samples()["ISIC_0012434"].full()])
    with torch.no_grad():
        outputs = [m(image) for m in (segmenter.model, explain.ablated_model(segmenter.model, ["cra"]))]
    assert (outputs[0] - outputs[1]).abs().max() > 0
    app.selectbox(key="off").set_value("No module").run()
    assert app.dataframe[0].value["network"][0] == "A: random, No module"
    assert runs == [1, 1, 1]
    app.selectbox(key="off").set_value("As trained").run()
    assert runs == [1, 1, 1]


def test_the_shared_network_is_left_as_it_is(open_app):
    app = open_app("compare", sample="ISIC_0012434", weights="random", other="random", off="No module")
    neutral = app.dataframe[0].value
    plain = open_app("compare", sample="ISIC_0012434", weights="random", other="random", off="As trained")
    assert plain.dataframe[0].value["network"][0] == "A: random"
    assert plain.dataframe[0].value["parameters"][0] == neutral["parameters"][1]


def test_a_network_without_modules_has_nothing_to_switch(open_app):
    app = open_app("compare", weights="unet", other="plain")
    for key in ("off", "off_other"):
        assert app.selectbox(key=key).options == ["As trained"]
        assert app.selectbox(key=key).disabled


def test_the_same_twice_is_said(open_app):
    app = open_app("compare", weights="unet", other="unet")
    assert "A and B are the same" in app.info[0].value


def test_over_a_set(open_app, runs, texts):
    app = run(open_app("compare", weights="random", other="unet", set="Samples (real)"))
    table = next(frame.value for frame in app.dataframe if "IoU, pooled" in frame.value)
    images = next(frame.value for frame in app.dataframe if "A - B" in frame.value)
    assert table["network"].tolist() == ["A: random", "B: unet"]
    assert len(images) == 8
    np.testing.assert_allclose(images["A - B"], images["IoU A"] - images["IoU B"])
    gaps = images["A - B"].abs().tolist()
    assert gaps == sorted(gaps, reverse=True)
    assert images["IoU A"].mean() == pytest.approx(table["IoU, mean"][0])
    assert "points (95% interval" in texts(app)
    assert "IoU of 8 images" in texts(app)
    before = len(runs)
    app.selectbox(key="other").set_value("plain").run()
    run(app)
    assert len(runs) == before + 8  # only the new network ran


def test_what_errors_has_examined_is_not_run_again(open_app, runs):
    app = run(open_app("compare", weights="random", other="unet"))
    before = len(runs)
    app.switch_page("views/errors.py").run()
    assert any(metric.label == "IoU, pooled" for metric in app.metric)
    assert len(runs) == before


def test_stop_keeps_the_network_that_is_done(open_app, runs, monkeypatch):
    app = open_app("compare", weights="random", other="unet", set="Samples (real)")
    progress = DeltaGenerator.progress

    def interrupt(self, value, text=None):
        if value > 0.7:
            import streamlit as st

            st.stop()  # where Streamlit would notice that Stop was pressed
        return progress(self, value, text=text)

    monkeypatch.setattr(DeltaGenerator, "progress", interrupt)
    run(app)
    before = len(runs)
    assert 10 <= before < 16
    button(app, "Stop").click().run()
    assert len(runs) == before
    assert all("IoU, pooled" not in frame.value for frame in app.dataframe)
    monkeypatch.setattr(DeltaGenerator, "progress", progress)
    run(app)
    assert len(runs) == 16


def test_without_measured_results_it_says_so(open_app):
    app = open_app("compare")
    assert "hasn't been run here yet" in app.info[-1].value


def test_measured_results_are_shown_as_the_report_has_them(open_app, texts, summary):
    plan = load_plan("cpu")
    results = Results(summary.parent, plan)
    results.claim("isic2017", "0" * 64, {"train": 20, "val": 4, "test": 12}, ["full", "vmunet"])
    rng = np.random.default_rng(0)
    truth = rng.integers(50, 400, 12)
    for cell, missed in (("full", 5), ("vmunet", 30)):
        counts = np.stack([truth - missed, np.full(12, 9), np.full(12, missed), 4000 - truth], axis=1)
        pooled = {name: float(value) for name, value in ratios(counts.sum(0)).items()}
        cost = {"parameters": 12345, "product_flops": 1e9, "flops": 2e9}
        report = {"pooled": pooled, "per_image": {"iou": {"mean": 0.8}}}
        results.save(Key("isic2017", cell, 0), counts, {"report": report, "cost": cost, "seconds": 60})
    spent = {"step_seconds": 0.025, "inference_seconds": 0.008, "step_peak_bytes": 120e6, "cost": cost}
    machine = {"processor": "a", "cores": 2, "torch": "2"}
    costs = {"machine": machine, "threads": 1, "rounds": 3, "cells": {"full": spent}}
    (summary.parent / "costs.json").write_text(json.dumps(costs))
    write_report(results, summary.parent)
    app = open_app("compare")
    claims = next(frame.value for frame in app.dataframe if "verdict" in frame.value).set_index("claim")
    expected = {claim["text"]: claim for claim in json.loads(summary.read_text("utf-8"))["claims"]}
    first = claims.loc["The full network beats VM-UNet"]
    assert first["verdict"] == "reproduced"
    assert first["here"] == pytest.approx(expected["The full network beats VM-UNet"]["difference"])
    assert claims.loc["SE improves on no modules", "verdict"] == "not run"
    assert np.isnan(claims.loc["SE improves on no modules", "here"])
    tables = [frame.value for frame in app.dataframe if "paper IoU" in frame.value]
    assert len(tables) == len(plan.tables)
    full = tables[0].set_index("network").loc["SE + CMN + CRA"]
    assert full[["step ms", "image ms", "step MB"]].tolist() == pytest.approx([25, 8, 120])


@pytest.mark.parametrize(
    "text", ["", "{", '{"plan": "cpu"}', "[]", '{"claims": [{}], "tables": {}, "protocol": "", "costs": null}']
)
def test_damaged_results_are_said(open_app, summary, text):
    summary.parent.mkdir()
    summary.write_text(text)
    app = open_app("compare")
    assert "can't be read" in app.error[0].value.replace("\\", "")
    assert app.dataframe  # the rest of the view is there


def test_a_link_reproduces_what_is_seen(open_app):
    query = {
        "sample": "synthetic-016",
        "weights": "random",
        "threshold": "0.4",
        "other": "random",
        "off": "SE at its mean gate",
        "off_other": "No module",
        "set": "Samples (synthetic)",
    }
    app = open_app("compare", **query)
    assert dict(app.query_params) == query
    assert app.dataframe[0].value["network"].tolist() == ["A: random, SE at its mean gate", "B: random, No module"]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("other", "../../x"),
        ("other", "large"),
        ("off", "Everything"),
        ("off", "CRA at its mean gate"),  # these weights have none
        ("off_other", "<i>"),
        ("set", "nothing"),
        ("threshold", "0"),
    ],
)
def test_a_hostile_parameter_is_ignored_and_said(open_app, texts, key, text):
    app = open_app("compare", **{"weights": "plain", "other": "unet", key: text})
    assert "Ignored in the address" in texts(app)
    assert app.query_params.get(key) != text
    assert len(app.dataframe[0].value) == 2
