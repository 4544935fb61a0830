"""The Segment view: what is shown, what sliders do, uploads good and bad, downloads."""

import csv
import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from skinlesion.checkpoint import load_checkpoint, save_checkpoint
from skinlesion.data.images import read_image
from skinlesion.segmenter import Segmenter


def mine(app: AppTest) -> dict:
    """This visitor's images."""
    from dashboard.visits import _visits

    return _visits()[app.session_state["_visit"]].pictures


def upload(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    app.file_uploader[0].set_value([(name, data, "image/png") for name, data in files])
    app.run()
    assert not app.exception, app.exception[0].message
    return app


def choose(app: AppTest, **settings: object) -> AppTest:
    """What the live image sends when a control is let go; in tests/browser it is a real one."""
    for name, value in settings.items():
        app.session_state[name] = value
    app.run()
    assert not app.exception, app.exception[0].message
    return app


def test_opens_with_a_prediction_and_says_what_made_it(open_app, texts, runs):
    app = open_app()
    assert runs == [1]
    for fact in ("device **cpu**", "scan engine **", "weights **", "network **", "Not a medical device"):
        assert fact in texts(app)


def test_the_threshold_runs_no_network_and_stands_in_the_address(open_app, runs):
    app = open_app(sample="ISIC_0012434", weights="random")
    choose(app, threshold=0.31, opacity=80, show="Contour", wipe=20)
    assert runs == [1]
    kept = {"threshold": "0.31", "opacity": "80", "show": "Contour", "wipe": "20"}
    assert kept.items() <= dict(app.query_params).items()


GOOD = {"threshold": 0.4, "opacity": 35, "wipe": 0, "show": "Fill", "overlay": True}


@pytest.mark.parametrize(
    "wrong",
    [
        *({"threshold": value} for value in (0, 1, -1, "0.5", None, True, float("nan"), [0.5])),
        *({"opacity": 101}, {"wipe": -1}, {"show": "Everything"}, {"show": ["Fill"]}, {"overlay": 1}),
    ],
)
def test_what_a_browser_sends_is_checked(wrong):
    from dashboard.components.live_mask import Settings, read_settings

    assert read_settings(GOOD, ["Fill"]) == Settings(0.4, 35, 0, "Fill", True)
    assert read_settings({**GOOD, **wrong}, ["Fill"]) is None
    assert read_settings(None, ["Fill"]) is None


def test_uncalibrated_weights_say_so_beside_the_number(open_app, texts):
    said = texts(open_app())
    assert "aren't calibrated" in said
    assert "can't check whether this is a dermoscopy image" in said


def test_calibrated_weights_say_so(open_app, texts, weights_folder, tmp_path, monkeypatch):
    model, card = load_checkpoint(weights_folder / "random.safetensors")
    save_checkpoint(tmp_path / "calibrated.safetensors", model, {**card, "temperature": 1.5})
    monkeypatch.setenv("SKINLESION_WEIGHTS_DIR", str(tmp_path))
    assert "calibrated (temperature 1.50)" in texts(open_app())


def test_next_and_previous_go_round(open_app, runs):
    app = open_app()
    first = app.selectbox(key="sample").value
    app.button(key="previous").click().run()
    last = app.selectbox(key="sample").value
    assert last == app.session_state["sample"] != first
    app.button(key="next").click().run()
    assert app.selectbox(key="sample").value == first
    assert runs == [1, 1]  # the first image was remembered


def test_flipped_views_give_an_uncertainty(open_app, runs):
    app = open_app(show="Uncertainty")
    assert app.session_state["show"] == "Fill"  # there is none without the views
    app.toggle(key="tta").set_value(True).run()
    assert runs == [1, 1]
    assert app.query_params["tta"] == "1"
    assert choose(app, show="Uncertainty").session_state["show"] == "Uncertainty"


def test_mistakes_are_shown_only_where_the_truth_is_known(open_app, photo_file):
    app = open_app(show="Mistakes")
    assert app.session_state["show"] == "Mistakes"
    upload(app, ("mine.png", photo_file))
    assert app.session_state["show"] == "Fill"


def test_upload_is_segmented_and_kept_between_views_and_forgotten_when_asked(open_app, photo_file, runs):
    app = upload(open_app(), ("mine.png", photo_file))
    assert app.session_state["sample"].startswith("mine-")
    assert runs == [1, 1]
    app.run()
    assert app.session_state["sample"].startswith("mine-")
    next(button for button in app.button if button.label == "Delete my images").click().run()
    assert not app.session_state["sample"].startswith("mine-")


def bomb() -> bytes:
    """A PNG whose header promises 30,000 x 30,000 pixels."""
    buffer = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("text.png", b"<html>no image</html>", "not an image"),
        ("empty.png", b"", "not an image"),
        ("cut.png", None, "damaged"),
        ("bomb.png", bomb(), "too large"),
        ("heavy.png", b"\x89PNG" + bytes(11_000_000), "11 MB"),
        ("page.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_a_bad_upload_is_one_message_and_the_app_goes_on(open_app, photo_file, name, data, says):
    app = open_app()
    upload(app, (name, photo_file[: len(photo_file) // 2] if data is None else data))
    (error,) = app.error
    assert says in error.value.replace("\\", "")
    assert name in error.value.replace("\\", "")
    assert not app.session_state["sample"].startswith("mine-")  # the sample is still shown
    upload(app, ("good.png", photo_file))
    assert not app.error
    assert app.session_state["sample"].startswith("mine-")


def test_of_several_files_the_good_ones_are_taken(open_app, png, photo):
    app = upload(open_app(), ("bad.png", b"nothing"), ("good.png", png(photo)), ("flat.png", png(photo * 0 + 9)))
    assert len(app.error) == 1
    assert sum(id.startswith("mine-") for id in mine(app)) == 2


def test_a_file_name_is_shown_as_text(open_app, photo_file):
    app = upload(open_app(), ("<img src=x onerror=alert(1)>[a](http://x.y)`$.png", photo_file))
    written = [*app.caption, *app.markdown, *app.error]
    assert all("<img" not in element.value and "[a](" not in element.value for element in written)
    assert not any(c in "<>[]`$" for option in app.selectbox(key="sample").options for c in option)


def test_uploads_of_one_visitor_are_not_seen_by_another(open_app, photo_file):
    mine = upload(open_app(), ("mine.png", photo_file))
    id = mine.session_state["sample"]
    other = open_app(sample=id)
    assert other.session_state["sample"] != id
    assert all(not option.startswith("mine") for option in other.selectbox(key="sample").options)


def test_uploads_are_bounded(open_app, png, photo, monkeypatch):
    monkeypatch.setattr("dashboard.image_choice.MAX_FILES", 3)
    files = [(f"{i}.png", png(np.roll(photo, i))) for i in range(5)]
    app = upload(open_app(), *files)
    assert len(mine(app)) == 3
    assert "first 3 of 5" in app.error[0].value
    monkeypatch.setattr("dashboard.image_choice.MAX_TOTAL", 2 * len(files[0][1]) + 10)
    upload(app, ("more.png", png(np.roll(photo, 9))))
    assert len(mine(app)) <= 2


def test_several_images_at_once(open_app, runs):
    app = open_app()
    next(button for button in app.button if button.label == "Segment 20 images").click().run()
    assert len(runs) == 20
    (table,) = app.dataframe
    assert len(table.value) == 20
    assert table.value["DSC"].between(0, 1).all()
    assert [button.label for button in app.download_button][-1].startswith("All masks")


def test_downloads_are_those_of_the_command_line(weights_folder, photo, png, tmp_path):
    """The zip holds what `skinlesion predict` writes, at the image's own size."""
    from dashboard import downloads
    from dashboard.image_choice import read_upload
    from dashboard.predict import Prediction
    from skinlesion.prediction import predict_files

    segmenter = Segmenter.from_pretrained(weights_folder / "random.safetensors")
    picture = read_upload("my photo.png", png(photo))
    mean = segmenter.predict([picture.full()]).mean
    pair = (picture, Prediction(mean[0, 0].numpy(), 1.0, None, None, 0.1))
    (tmp_path / "my photo.png").write_bytes(png(photo))
    predict_files(segmenter, [tmp_path / "my photo.png"], tmp_path / "out", threshold=0.45)

    with zipfile.ZipFile(io.BytesIO(downloads.batch_zip([pair, pair], 0.45, "random"))) as file:
        assert sorted(file.namelist()) == [
            *("my photo-2_mask.png", "my photo-2_overlay.png", "my photo_mask.png", "my photo_overlay.png"),
            "predictions.csv",
        ]
        for name in ("my photo_mask.png", "my photo_overlay.png"):
            assert np.array_equal(read_image(file.read(name)), read_image(tmp_path / "out" / name))
        rows = list(csv.DictReader(io.StringIO(file.read("predictions.csv").decode())))
    (written,) = csv.DictReader(io.StringIO((tmp_path / "out" / "predictions.csv").read_text("utf-8")))
    same = ("mask", "overlay", "width", "height", "lesion_pixels", "lesion_fraction", "confidence", "threshold")
    assert [rows[0][key] for key in same] == [written[key] for key in same]


def test_an_uploaded_mask_is_the_truth_of_its_image(open_app, png, photo):
    lesion = (photo.min(2) < 100).astype(np.uint8) * 255
    app = upload(open_app(), ("a.png", png(photo)), ("a_segmentation.png", png(lesion)), ("b_mask.png", png(lesion)))
    pictures = {picture.title: picture for picture in mine(app).values()}
    assert pictures.keys() == {"a.png", "b_mask.png"}  # a mask without its image is an image
    assert np.array_equal(pictures["a.png"].truth, lesion > 0)
    upload(app, ("c.png", png(np.roll(photo, 3))), ("c_mask.png", png(lesion[:-1])))
    assert "the sizes must match" in app.error[0].value.replace("\\", "")


def test_uploads_outlive_a_reload_for_the_browser_that_has_the_cookie(open_app, photo_file, monkeypatch):
    first = upload(open_app(), ("mine.png", photo_file))
    id, token = first.session_state["sample"], first.session_state["_visit"]
    stranger = open_app(sample=id)
    assert stranger.session_state["sample"] != id
    monkeypatch.setattr("dashboard.visits.cookie", lambda: token)  # a real one in tests/browser
    assert open_app(sample=id).session_state["sample"] == id


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
@pytest.mark.parametrize("show", ["Fill", "Contour", "Mistakes", "Probability"])
def test_a_picture_as_seen_says_how_it_was_made(kind, show, weights_folder):
    from dashboard import exports
    from dashboard.components.live_mask import Settings
    from dashboard.image_choice import samples
    from dashboard.predict import Prediction

    picture = samples()["ISIC_0012434"]
    probability = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    prediction = Prediction(probability, 1.0, None, None, 0.1)
    data = exports.as_seen(picture, prediction, Settings(0.4, 50, 0, show, True), "random", kind)
    assert data.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])
    with np.load(io.BytesIO(exports.arrays_npz(picture, prediction, Settings(0.4, 50, 0, show, True)))) as arrays:
        assert np.array_equal(arrays["mask"], arrays["probability"] >= 0.4)
        assert arrays["truth"].shape == picture.image.shape[:2]
