"""Any image of a local set in the picker, and from Errors and Compare into every view: by an address that lasts."""

import shutil
from urllib.parse import parse_qsl

import pytest
from streamlit.testing.v1 import AppTest

from skinlesion.data.synthetic import write_dataset

ODD = "Größe, 50% (links) & 'rechts'; #2"


@pytest.fixture
def local(tmp_path, monkeypatch):
    """A set of three images, one with a name that an address has to quote."""
    root = write_dataset(tmp_path / "data" / "clinic", n=3, seed=5, size=48)
    for folder in ("images", "masks"):
        first = sorted((root / folder).iterdir())[0]
        shutil.move(first, first.with_name(f"{ODD}{first.suffix}"))
    monkeypatch.setenv("SKINLESION_DATA_DIR", str(tmp_path / "data"))
    return root


def links(app: AppTest) -> dict[str, dict[str, str]]:
    """The choices that each "Open in" carries, by view."""
    found = {}
    for element in app.get("page_link"):
        link = element.proto
        found[link.page.rsplit("/", 1)[-1] or "segment"] = dict(parse_qsl(link.query_string))
    return found


def test_any_image_of_a_local_set_can_be_picked_and_found_again(open_app, local):
    app = open_app(weights="random")
    assert app.selectbox(key="local-set").options == ["clinic (all)"]
    app.selectbox(key="local-image").set_value(ODD).run()
    app.button(key="local-open").click().run()
    assert not app.exception
    assert app.selectbox(key="sample").value == f"clinic (all)/{ODD}"
    link = dict(app.query_params)
    other = open_app(**link)  # another visitor, or the same one after a reload
    assert other.selectbox(key="sample").value == f"clinic (all)/{ODD}"
    assert dict(other.query_params) == link


def test_an_image_that_is_gone_is_ignored_and_said(open_app, local, texts):
    app = open_app(sample="clinic (all)/gone")
    assert "sample (not available here)" in texts(app)
    assert "gone" not in texts(app)


def test_errors_opens_its_image_in_every_view(open_app, local):
    from dashboard.frame import PAGES

    app = open_app("errors", weights="random", set="clinic (all)", case=ODD)
    next(button for button in app.button if button.label.startswith("Evaluate")).click().run()
    found = links(app)
    without = {"errors", "runs", "about"}  # an image of their own
    assert found.keys() == {name for views in PAGES.values() for name, *_ in views} - without
    for view, query in found.items():
        assert query == {"sample": f"clinic (all)/{ODD}"}
        shown = open_app(view, weights="random", **query)
        assert shown.selectbox(key="sample").value == query["sample"], view


def test_compare_opens_its_image_in_the_other_views(open_app):
    app = open_app("compare", weights="random", sample="synthetic-016")
    found = links(app)
    assert "compare" not in found
    assert len(found) == 8
    assert all(query == {"sample": "synthetic-016"} for query in found.values())
