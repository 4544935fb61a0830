"""Errors: the numbers of `skinlesion evaluate`, sorted and filtered, local folders, Stop, and links."""

import csv
import io
import json

import numpy as np
import pytest
from streamlit.delta_generator import DeltaGenerator
from streamlit.testing.v1 import AppTest

from skinlesion.cli import main
from skinlesion.data.synthetic import write_dataset


def button(app: AppTest, label: str):
    return next(button for button in app.button if button.label == label)


def evaluate(app: AppTest) -> AppTest:
    next(button for button in app.button if button.label.startswith("Evaluate ")).click().run()
    assert not app.exception, app.exception[0].message
    return app


def metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


@pytest.fixture
def local(tmp_path, monkeypatch):
    """A folder of datasets with one of them, thirty small images."""
    root = write_dataset(tmp_path / "data" / "lesions", n=30, seed=5, size=48)
    monkeypatch.setenv("SKINLESION_DATA_DIR", str(tmp_path / "data"))
    return root


def test_nothing_runs_before_it_is_asked_for(open_app, runs):
    app = open_app("errors")
    assert runs == []
    assert app.selectbox(key="set").options == [
        "Samples (real): 8 images",
        "Samples (synthetic): 12 images",
        "Samples (all): 20 images",
    ]


def test_the_numbers_are_those_of_the_command_line(open_app, local, weights_folder, tmp_path):
    app = evaluate(open_app("errors", weights="random", set="lesions (all)", images="all"))
    out = tmp_path / "out.json"
    path = str(weights_folder / "random.safetensors")
    assert (
        main(
            [
                "evaluate",
                "--data",
                "folder",
                "--root",
                str(local),
                "--weights",
                path,
                "--part",
                "all",
                "--json",
                str(out),
            ]
        )
        == 0
    )
    report = json.loads(out.read_text("utf-8"))
    shown = metrics(app)
    assert shown["IoU, pooled"] == f"{report['pooled']['iou']:.3f}"
    assert shown["DSC, pooled"] == f"{report['pooled']['dsc']:.3f}"
    assert shown["IoU, mean"] == f"{report['per_image']['iou']['mean']:.3f}"
    assert shown["Boundary F1, mean"] == f"{report['per_image']['boundary_f1']['mean']:.3f}"


def test_the_worst_comes_first_and_another_order_changes_it(open_app, texts):
    app = evaluate(open_app("errors", weights="random", set="Samples (all)"))
    table = app.dataframe[-1]
    assert len(table.value) == 20
    rows = table.value.set_index("id")
    assert rows["IoU"][app.session_state["case"]] == rows["IoU"].min()
    app.session_state["case"] = ""
    app.segmented_control(key="sort").set_value("Overconfident").run()
    surest = rows["overconfidence"].sort_values(ascending=False).tolist()

    def at() -> float:
        return rows["overconfidence"][app.session_state["case"]]

    assert at() == surest[0]
    assert "1 of 20, confidence farthest above the DSC first" in texts(app)
    button(app, "Next").click().run()
    assert at() == surest[1]
    assert "2 of 20" in texts(app)
    button(app, "Previous").click().run()
    button(app, "Previous").click().run()
    assert at() == surest[-1]


def test_filters_keep_what_they_say(open_app, texts):
    app = evaluate(open_app("errors", weights="random", set="Samples (all)"))
    rows = app.dataframe[-1].value
    middle = float(np.round(rows["IoU"].median(), 2))
    app.slider(key="errors-range").set_value((0.0, middle)).run()
    count = int((rows["IoU"] <= middle + 1e-9).sum())
    assert f"1 of {count}, lowest IoU first" in texts(app)
    assert app.query_params["high"] == f"{middle:.2f}".rstrip("0").rstrip(".")
    app.slider(key="errors-range").set_value((0.99, 1.0)).run()
    assert "No image of this set matches" in app.info[0].value
    app.slider(key="errors-range").set_value((0.0, 1.0)).run()
    found = {}
    for kind in ("Too much", "Too little"):
        app.segmented_control(key="mistake").set_value(kind).run()
        found[kind] = (
            0
            if app.info
            else int(next(m.value for m in app.markdown if " first" in m.value).split(" of ")[1].split(",")[0])
        )
    assert sum(found.values()) == 20


def test_a_second_look_runs_no_network(open_app, runs):
    app = evaluate(open_app("errors", weights="random"))
    before = len(runs)
    assert before == 8
    app.segmented_control(key="sort").set_value("Outline").run()
    app.selectbox(key="set").set_value("Samples (synthetic)").run()
    app.selectbox(key="set").set_value("Samples (real)").run()
    assert "IoU, pooled" in metrics(app)
    assert len(runs) == before


def test_stop(open_app, runs, monkeypatch):
    app = open_app("errors", weights="random", set="Samples (all)")
    progress = DeltaGenerator.progress

    def interrupt(self, value, text=None):
        if value > 0.4:
            import streamlit as st

            st.stop()  # where Streamlit would notice that Stop was pressed
        return progress(self, value, text=text)

    monkeypatch.setattr(DeltaGenerator, "progress", interrupt)
    evaluate(app)
    assert 8 <= len(runs) <= 10
    button(app, "Stop").click().run()
    assert len(runs) <= 10
    assert "IoU, pooled" not in metrics(app)
    monkeypatch.setattr(DeltaGenerator, "progress", progress)
    evaluate(app)
    assert "IoU, pooled" in metrics(app)
    assert len(runs) == 20  # what was segmented before the stop is remembered


def test_a_large_set_can_be_cut(open_app, local, runs):
    app = open_app("errors", set="lesions (all)")
    assert button(app, "Evaluate 24 images")
    app.segmented_control(key="images").set_value("all").run()
    evaluate(app)
    assert len(runs) == 31  # and the worst one for the close look


def test_one_bad_file_is_left_out_and_said_without_its_folder(open_app, local):
    victim = sorted((local / "images").iterdir())[0]
    victim.write_bytes(b"no image")
    app = evaluate(open_app("errors", set="lesions (all)", images="all"))
    (warning,) = app.warning
    assert victim.name in warning.value.replace("\\", "")
    assert str(local.parent) not in warning.value.replace("\\", "")
    assert len(app.dataframe[-1].value) == 29


def test_a_set_of_bad_files_alone_is_one_message_and_not_tried_again(open_app, local, runs):
    for path in (local / "images").iterdir():
        path.write_bytes(b"no image")
    app = evaluate(open_app("errors", set="lesions (all)"))
    (error,) = app.error
    assert "None of the images of this set can be used" in error.value.replace("\\", "")
    assert str(local.parent) not in error.value.replace("\\", "")
    app.run()
    assert not app.error
    assert button(app, "Evaluate 24 images")


@pytest.mark.parametrize("layout", ["empty", "missing", "lonely"])
def test_a_folder_that_cannot_be_used_is_said(open_app, tmp_path, monkeypatch, layout):
    root = tmp_path / "mydata"
    if layout != "missing":
        root.mkdir()
    if layout == "lonely":
        write_dataset(root / "set", n=2, seed=1, size=32)
        next((root / "set" / "masks").iterdir()).unlink()
    monkeypatch.setenv("SKINLESION_DATA_DIR", str(root))
    app = open_app("errors")
    (warning,) = app.warning
    said = {"empty": "no dataset in a known layout", "missing": "isn't the path of a folder", "lonely": "has no mask"}[
        layout
    ]
    assert said in warning.value.replace("\\", "")
    assert str(tmp_path) not in warning.value.replace("\\", "")
    assert len(app.selectbox(key="set").options) == 3


def test_a_link_reproduces_what_is_seen(open_app):
    query = {
        "sample": "ISIC_0012434",
        "weights": "unet",
        "set": "Samples (all)",
        "sort": "Outline",
        "high": "0.9",
        "case": "synthetic-016",
    }
    app = open_app("errors", **query)
    assert app.query_params["set"] == "Samples (all)"
    evaluate(app)
    assert app.session_state["case"] == "synthetic-016"
    assert {key: app.query_params[key] for key in query if key != "sample"} == {
        k: v for k, v in query.items() if k != "sample"
    }


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("set", "/etc"),
        ("set", "lesions (all)"),  # there is no such folder now
        ("images", "25"),
        ("sort", "__class__"),
        ("mistake", "none"),
        ("low", "-1"),
        ("high", "1.5"),
        ("case", "../../x"),
        ("case", "ISIC_9999999"),
    ],
)
def test_a_hostile_parameter_is_ignored(open_app, texts, key, text):
    app = evaluate(open_app("errors", **{key: text}))
    assert app.query_params.get(key) != text
    assert "IoU, pooled" in metrics(app)


def test_the_csv_says_what_it_is_of(open_app, monkeypatch):
    made = []
    monkeypatch.setattr("streamlit.download_button", lambda label, data, *args, **options: made.append(data()))
    app = open_app("errors", weights="unet")
    evaluate(app)
    rows = list(csv.DictReader(io.StringIO(made[-1].decode())))
    assert len(rows) == 8
    assert {row["weights"] for row in rows} == {"unet"}
    assert {row["set"] for row in rows} == {"Samples (real)"}
    assert all(0 <= float(row["IoU"]) <= 1 for row in rows)


def test_groups_have_scores_a_finding_and_a_filter(open_app, texts):
    app = open_app("errors", weights="random")
    next(button for button in app.button if button.label.startswith("Evaluate")).click().run()
    table = app.dataframe[0].value
    assert table["images"].sum() == 8
    assert "Too few images for a finding" in texts(app)
    app.segmented_control(key="by").set_value("size").run()
    group = app.dataframe[0].value["group"][0]
    count = app.dataframe[0].value["images"][0]
    app.selectbox(key="group").set_value(group).run()
    assert f"1 of {count}, lowest IoU first" in texts(app)
    assert dict(app.query_params)["group"] == group


def group_by(app: AppTest, by: str) -> dict[str, int]:
    app.segmented_control(key="by").set_value(by).run()
    assert not app.exception
    table = app.dataframe[0].value
    return dict(zip(table["group"], table["images"], strict=True))


def test_diagnoses_of_the_packages_images_are_groups(open_app, texts):
    app = evaluate(open_app("errors", weights="random"))
    assert group_by(app, "diagnosis") == {"melanoma": 2, "nevus": 4, "seborrheic keratosis": 2}
    app.selectbox(key="group").set_value("seborrheic keratosis").run()
    assert "1 of 2, lowest IoU first" in texts(app)
    assert app.dataframe[-1].value["diagnosis"].value_counts()["nevus"] == 4


def test_diagnoses_of_a_local_set_come_from_its_table(open_app, local, texts):
    ids = sorted(path.stem for path in (local / "images").iterdir())
    rows = [f"{id},{'mel' if i < 12 else '**n**;v'}" for i, id in enumerate(ids[:-1])]
    (local / "metadata.csv").write_text("\n".join(["id,diagnosis", *rows]))
    app = evaluate(open_app("errors", weights="random", set="lesions (all)", images="all"))
    assert group_by(app, "diagnosis") == {"__n___v": 17, "mel": 12, "unknown": 1}
    app.selectbox(key="group").set_value("__n___v").run()
    link = dict(app.query_params)
    assert "1 of 17, lowest IoU first" in texts(app)
    assert link["group"] == "__n___v"  # as a link can carry it


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (None, "lesions has no diagnoses: put a metadata.csv with the columns id and diagnosis into it"),
        ("id,area\nSYN_0000001,0.3\n", "lesions/metadata.csv has no diagnoses: it needs a column `id`"),
        (b"\xff\xfe\x00", "lesions/metadata.csv is not a CSV table in UTF-8: save it as one"),
    ],
)
def test_without_diagnoses_it_is_said_why(open_app, local, texts, table, said):
    if table is not None:
        (local / "metadata.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    app = evaluate(open_app("errors", weights="random", set="lesions (all)", by="diagnosis"))
    assert said in texts(app)
    assert str(local.parent) not in texts(app)
    assert "1 of 24, lowest IoU first" in texts(app)  # no group hides anything


def test_a_finding_needs_groups_that_are_large_enough():
    from dashboard.groups import _finding

    rows = [
        {"group": name, "images": n, "IoU, pooled": iou, "from": iou - 0.01, "to": iou + 0.01}
        for name, n, iou in (("very light", 40, 0.86), ("brown", 12, 0.58), ("dark", 2, 0.1))
    ]
    assert "Lowest: brown, IoU 0.580 (12 images); highest: very light, 0.860 (40)" in _finding(rows)
    assert "do not overlap" in _finding(rows)
    assert "Too few" in _finding(rows[1:])
