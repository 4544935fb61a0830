import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from skinlesion import Segmenter, SkinlesionError
from skinlesion.data.samples import bundled_samples
from skinlesion.demo import run_demo
from skinlesion.overlay import PREDICTED, border, encode, error_overlay, line_width, overlay, thumbnail
from skinlesion.report import ReportRow, write_report


class _Page(HTMLParser):
    """Collects every address that a page refers to, its text, and whether its tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def row(small_checkpoint: Path, photo: np.ndarray) -> ReportRow:
    found = Segmenter.from_pretrained(small_checkpoint).segment(photo, threshold=0.4)
    truth = np.zeros(photo.shape[:2], dtype=bool)
    truth[10:40, 20:60] = True
    return ReportRow("<script>alert('&')</script>", found, truth, {"IoU": 0.25, "DSC": 0.4})


def test_the_page_needs_nothing_else_and_runs_nothing(row: ReportRow, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_report(
        path,
        title="A & B",
        introduction="<b>bold</b>",
        rows=[row, row],
        totals={"all <i>": {"IoU": 0.125, "DSC": 0.5}},
        facts={"weights": '"><img src=http://example.com/x.png>'},
        commands=["skinlesion predict <your photo>"],
    )
    text = path.read_text(encoding="utf-8")
    page = _Page(text)
    assert not page.open
    assert page.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert not {"script", "b", "i", "link", "iframe"} & set(page.tags)
    assert "url(" not in text
    assert "<script>alert('&')</script>" in page.text
    assert "A & B" in page.text
    assert "0.125" in page.text
    assert "prefers-color-scheme: dark" in text
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_the_demo_scores_the_bundled_images_and_writes_its_page(small_checkpoint: Path, tmp_path: Path, cli) -> None:
    code, out, err = cli("demo", "--weights", small_checkpoint, "--out", tmp_path / "d")
    assert code == 0, err
    page = tmp_path / "d" / "skinlesion-demo.html"
    assert str(page.resolve()) in out
    assert "skinlesion predict" in out
    text = _Page(page.read_text(encoding="utf-8")).text
    for sample in bundled_samples():
        assert sample.title in text
    assert cli("demo", "--weights", small_checkpoint, "--out", tmp_path / "d")[0] == 0, "a second run replaces it"


def test_the_first_time_of_the_demo_is_not_the_warm_up(small_checkpoint: Path, tmp_path: Path) -> None:
    """Before the first row is timed the network has run, and each row is of a run of its own."""
    segmenter = Segmenter.from_pretrained(small_checkpoint)
    ran = []
    segmenter.model.register_forward_hook(lambda *_: ran.append(1))
    before = []
    run_demo(segmenter, tmp_path, progress=lambda done, total: before.append(len(ran)))
    assert before == [number + 2 for number in range(len(bundled_samples()))]


def test_demo_totals_are_over_all_pixels_of_a_kind(small_checkpoint: Path, tmp_path: Path) -> None:
    found = run_demo(Segmenter.from_pretrained(small_checkpoint), tmp_path)
    real = [
        (row.found.mask, row.truth)
        for row, sample in zip(found.rows, bundled_samples(), strict=True)
        if sample.kind == "real"
    ]
    both = sum(int((mask & truth).sum()) for mask, truth in real)
    either = sum(int((mask | truth).sum()) for mask, truth in real)
    label = f"{len(real)} real images, pooled"
    assert found.totals[label]["IoU"] == pytest.approx(both / either)
    assert found.totals[label]["DSC"] == pytest.approx(2 * both / (both + either))


def test_a_missing_name_of_weights_is_not_replaced_by_another(cli, tmp_path: Path) -> None:
    code, out, err = cli("demo", "--weights", "enormous", "--out", tmp_path / "d")
    assert (code, out) == (2, "")
    assert re.search("Unknown weights 'enormous'", err)
    assert not (tmp_path / "d").exists()


def test_a_page_that_cannot_be_written_leaves_nothing(row: ReportRow, tmp_path: Path) -> None:
    with pytest.raises(SkinlesionError, match=r"Cannot write .*page\.html"):
        write_report(
            tmp_path / "missing" / "page.html", title="", introduction="", rows=[row], totals={}, facts={}, commands=[]
        )


def test_borders_are_inside_the_mask_and_not_along_the_frame() -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:, 2:] = True  # touches two sides of the frame
    line = border(mask, 1)
    expected = mask.copy()
    expected[3:, 3:] = False
    assert np.array_equal(line, expected)
    assert np.array_equal(border(mask, 2), mask & ~np.pad(np.ones((4, 4), dtype=bool), ((4, 0), (4, 0))))
    assert not border(np.ones((5, 5), dtype=bool), 3).any()


def test_overlays_color_what_they_say() -> None:
    image = np.full((50, 50, 3), 200, dtype=np.uint8)
    mask, truth = np.zeros((2, 50, 50), dtype=bool)
    mask[10:30, 10:30] = True
    truth[20:40, 20:40] = True
    drawn = overlay(image, mask, opacity=0.0)
    assert np.array_equal((drawn == PREDICTED).all(axis=-1), border(mask, line_width((50, 50))))
    errors = error_overlay(image, mask, truth)
    assert np.array_equal(errors[25, 25], image[25, 25])  # found and true: as it was
    assert len({tuple(errors[y, x]) for y, x in ((12, 12), (35, 35), (25, 25))}) == 3
    assert (image == 200).all(), "the image that was given stays as it was"


def test_thumbnails_only_shrink() -> None:
    image = np.zeros((10, 400, 3), dtype=np.uint8)
    assert thumbnail(image, 200).shape == (5, 200, 3)
    assert thumbnail(image, 800) is image
    mask = np.zeros((1, 400), dtype=bool)
    assert thumbnail(mask, 100).shape == (1, 100)
    assert thumbnail(mask, 100).dtype == bool
    assert encode(mask, "PNG").startswith(b"\x89PNG")
