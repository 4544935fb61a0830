"""What a visitor does, in a real browser: sliders, keys, files in and out, links, clicks into pictures."""

import csv
import io
import re

import numpy as np
import pytest
from PIL import Image

from skinlesion.checkpoint import DEFAULT_WEIGHTS
from skinlesion.data.synthetic import synthesize
from skinlesion.segmenter import Segmenter


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A lesion that is no sample."""
    return synthesize(seed=4711, size=(120, 160)).image


def test_the_threshold_changes_the_picture_and_runs_no_network(visitor, server):
    visit = visitor().open()
    runs = len(server.noted("run"))
    before, old = visit.picture(), visit.source()
    visit.slide("threshold", 30)
    visit.until_query("threshold", "0.8")
    visit.changed(old)
    assert (np.abs(visit.picture().astype(int) - before).max(-1) > 40).sum() > 100
    old = visit.source()
    visit.slide("opacity", 8)
    visit.until_query("opacity", "75")
    visit.changed(old)
    assert len(server.noted("run")) == runs


def test_the_mask_follows_the_threshold_while_it_is_dragged_without_the_server(visitor, server, photo, png):
    """Numbers are the package's at every step, and a frame takes less than 30 ms on a quiet machine."""
    visit = visitor().open()
    old = visit.source(part=".before")
    visit.upload(("photo.png", png(photo)))
    visit.changed(old, part=".before")
    visit.ready()
    asked = []
    visit.page.on("websocket", lambda socket: asked.append(socket))
    segmenter = Segmenter.from_pretrained(DEFAULT_WEIGHTS)
    thumb = visit.at("live").locator(".threshold input")
    frames = []
    for threshold in (0.07, 0.31, 0.5, 0.83):
        thumb.evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", threshold)
        visit.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        found = segmenter.segment(photo, threshold=threshold)
        assert visit.at("live").locator(".area dd").inner_text() == f"{100 * found.area_fraction:.1f}%"
        assert float(visit.at("live").locator(".confidence dd").inner_text()) == pytest.approx(
            found.confidence, abs=0.0011
        )
        frames.append(float(visit.at("live").locator(".stage").get_attribute("data-frame")))
    print(f"frames: {frames} ms")
    assert sorted(frames)[len(frames) // 2] < 100  # the machine may be busy
    visit.until_query("threshold", "0.83")  # told once it is let go
    assert not asked


def test_the_value_under_the_pointer_and_zoom_by_keys(visitor, photo, png):
    visit = visitor().open()
    old = visit.source(part=".before")
    visit.upload(("photo.png", png(photo)))
    visit.changed(old, part=".before")
    visit.ready()
    visit.page.keyboard.press("Escape")  # the upload's menu lies over the image
    found = Segmenter.from_pretrained(DEFAULT_WEIGHTS).segment(photo)
    stage, probe = visit.at("live").locator(".stage"), visit.at("live").locator(".probe")
    box = stage.bounding_box()
    stage.hover(position={"x": box["width"] * 0.5, "y": box["height"] * 0.5})
    visit.until(lambda: "probability" in probe.inner_text(), "the value under the pointer")
    row, column = map(int, re.findall(r"\d+", probe.inner_text())[:2])
    assert probe.inner_text().endswith(f"probability {found.probability[row, column]:.2f}")
    whole = visit.source()
    stage.press("+")
    close = visit.changed(whole)
    stage.press("ArrowRight")
    visit.until(lambda: f"row {row}" in probe.inner_text(), "the probe is on the same row")
    stage.press("0")
    visit.until(lambda: visit.source() not in (close,), "the whole image again")


def test_keys_step_through_the_images_and_a_known_image_is_not_run_again(visitor, server):
    visit = visitor().open()
    first, old = visit.chosen("sample"), visit.source(part=".before")
    visit.press("n")
    second = visit.changed(old, part=".before")
    visit.until(lambda: "sample" in visit.query(), "the address names the sample")
    assert visit.chosen("sample") != first
    visit.press("p")
    assert visit.changed(second, part=".before") == old
    visit.ready()
    visit.until(lambda: "(cached)" in visit.footer(), "the footer")
    runs = len(server.noted("run"))
    visit.press("n")
    assert visit.changed(old, part=".before") == second
    visit.until(lambda: "(cached)" in visit.footer(), "the footer")
    assert len(server.noted("run")) == runs


def test_a_key_hides_and_shows_the_overlay(visitor):
    visit = visitor().open()
    shown = visit.source()
    visit.press("o")
    bare = visit.changed(shown)
    visit.until_query("overlay", "0")
    visit.press("o")
    assert visit.changed(bare) == shown


def test_a_file_is_segmented_and_its_name_is_only_text(visitor, photo, png):
    visit = visitor().open()
    old = visit.source(part=".before")
    visit.upload(("<b>bold<img src=x onerror=alert(1)>.png", png(photo)))
    visit.changed(old, part=".before")
    visit.ready()
    assert "Your image, 160 x 120 pixels" in visit.said()
    assert "bold" in visit.chosen("sample")
    found = Segmenter.from_pretrained(DEFAULT_WEIGHTS).segment(photo)
    assert visit.at("live").locator(".area dd").inner_text() == f"{100 * found.area_fraction:.1f}%"
    assert visit.page.locator("b", has_text="bold").count() == 0
    assert visit.page.locator('img[src="x"]').count() == 0


def test_a_bad_file_is_one_message_and_the_app_goes_on(visitor, photo, png):
    visit = visitor().open()
    old = visit.source(part=".before")
    visit.upload(("<b>page.png", b"<html>no image</html>"))
    alert = visit.page.locator('[data-testid="stAlert"]')
    alert.first.wait_for()
    visit.ready()
    assert alert.count() == 1
    assert "not an image" in alert.inner_text()
    assert "page.png" in alert.inner_text()
    assert alert.locator("b").count() == 0
    assert visit.source(part=".before") == old
    visit.upload(("good.png", png(photo)))
    visit.changed(old, part=".before")
    visit.until(lambda: not alert.count(), "the message is gone")


def test_downloads_are_the_mask_the_overlay_and_the_numbers(visitor, photo, png):
    visit = visitor().open(threshold="0.4")
    old = visit.source(part=".before")
    visit.upload(("photo.png", png(photo)))
    visit.changed(old, part=".before")
    visit.ready()
    found = Segmenter.from_pretrained(DEFAULT_WEIGHTS).segment(photo, threshold=0.4)
    mask = np.asarray(Image.open(io.BytesIO(visit.download("get-Mask"))))
    assert np.array_equal(mask, 255 * found.mask.astype(np.uint8))
    overlay = np.asarray(Image.open(io.BytesIO(visit.download("get-Overlay"))))
    assert overlay.shape == photo.shape
    assert not np.array_equal(overlay, photo)
    (row,) = csv.DictReader(io.StringIO(visit.download("get-Numbers").decode()))
    assert int(row["lesion_pixels"]) == found.mask.sum()
    assert (row["image"], row["threshold"], row["weights"]) == ("photo.png", "0.4", DEFAULT_WEIGHTS)


def test_a_link_shows_another_visitor_the_same(visitor):
    visit = visitor().open(sample="synthetic-016", show="Contour")
    old = visit.source()
    visit.slide("threshold", -17)
    visit.until_query("threshold", "0.33")
    visit.changed(old)
    other = visitor()
    other.page.goto(visit.page.url)
    other.ready()
    visit.until(lambda: other.source() == visit.source(), "the same picture")
    same = {"sample": "synthetic-016", "show": "Contour", "threshold": "0.33", "weights": DEFAULT_WEIGHTS}
    assert other.query() == visit.query() == same


def test_a_hostile_address_is_ignored_and_said(visitor):
    script = "<script>alert(1)</script>"
    visit = visitor().open(sample="../../etc/passwd", threshold="9e9", show=script, nonsense="1")
    note = visit.page.get_by_text("Ignored in the address").first.inner_text()
    for what in ("sample", "threshold", "show", "1 unknown parameter"):
        assert what in visit.said()
    assert script not in note + visit.said()
    assert "passwd" not in visit.said()
    visit.until(lambda: visit.query().keys() == {"sample", "weights"}, "a clean address")
    assert visit.query()["sample"] in visit.chosen("sample")
    visit.slide("threshold", 1)
    visit.until_query("threshold", "0.51")


def test_choices_outlive_a_change_of_view(visitor):
    visit = visitor().open(sample="synthetic-016")
    visit.slide("threshold", 7)
    visit.until_query("threshold", "0.57")
    visit.page.get_by_role("link", name="Channels").click()
    visit.page.wait_for_url("**/channels?**")
    visit.at("overview").wait_for()
    visit.ready()
    assert visit.query()["sample"] == "synthetic-016"
    assert "threshold" not in visit.query()  # only what this view shows
    visit.page.get_by_role("link", name="Segment", exact=True).click()
    visit.at("live").wait_for()
    visit.ready()
    visit.until_query("threshold", "0.57")
    visit.until_set("threshold", "0.57")


def _click(visit, key: str, row: float, column: float) -> None:
    """Click into a picture, at parts of its height and width."""
    stage = visit.at(key).locator(".stage")
    box = stage.bounding_box()
    stage.click(position={"x": column * box["width"], "y": row * box["height"]})


def _shot(visit, key: str) -> bytes:
    return visit.at(key).screenshot(timeout=120_000, animations="disabled")


def test_a_click_asks_the_scan_about_a_pixel(visitor):
    visit = visitor().open("scan", weights="small")  # whose grid is 32 x 32
    assert "row 16, column 16" in visit.said()
    before = _shot(visit, "implicit")
    _click(visit, "scan-spot", 0.2, 0.8)
    visit.until(lambda: {"py", "px"} <= visit.query().keys(), "the pixel in the address")
    assert abs(int(visit.query()["py"]) - 200) < 10
    assert abs(int(visit.query()["px"]) - 800) < 10
    visit.until(lambda: "row 6, column 25" in visit.said(), "the token in the caption")
    visit.until(lambda: _shot(visit, "implicit") != before, "another picture")
    visit.at("scan-spot").locator(".stage").press("ArrowDown")
    visit.until(lambda: "row 7, column 25" in visit.said(), "the token below")


def test_a_click_in_why_asks_about_a_pixel_and_the_work_can_be_stopped(visitor):
    visit = visitor().open("why")
    before = _shot(visit, "why-spot")
    assert "mean logit over the predicted mask" in visit.said()
    _click(visit, "why-spot", 0.5, 0.5)
    visit.until_query("ask", "pixel")
    visit.until(lambda: "logit of the pixel" in visit.said(), "the question")
    visit.until(lambda: _shot(visit, "why-spot") != before, "the mark")
    visit.ready()
    visit.page.get_by_role("button", name="Explain").click()
    stop = visit.at("stop-why").get_by_role("button")
    stop.wait_for()
    visit.page.get_by_role("progressbar").first.wait_for()
    stop.click()
    visit.until(lambda: not stop.count(), "it has stopped")
    visit.ready()
    visit.page.get_by_role("button", name=re.compile("Explain")).wait_for()


def test_a_click_on_a_bar_shows_that_channel(visitor):
    visit = visitor().open("channels", block="E2.1")
    title = visit.at("maps").locator("xpath=following::*[@data-testid='stCaptionContainer'][1]")
    visit.until(lambda: "channel" in visit.query(), "the channel to begin with")
    before, said, first = _shot(visit, "maps"), title.inner_text(), visit.query()["channel"]
    bar = visit.page.locator('[class*="st-key-bars-"] .barlayer .point').nth(3)
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    visit.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.9)
    visit.until(lambda: visit.query()["channel"] != first, "another channel in the address")
    visit.until(lambda: f"channel {visit.query()['channel']}:" in title.inner_text(), "the channel in the caption")
    assert title.inner_text() != said
    visit.until(lambda: _shot(visit, "maps") != before, "another picture")


def test_the_threshold_of_compare_moves_masks_and_table_and_leaves_the_map(visitor, server):
    visit = visitor().open("compare", other=DEFAULT_WEIGHTS, off_other="SE at its mean gate")
    agreement = visit.page.get_by_text("The DSC between the two masks is")
    old, said, runs = visit.source("compare-wipe", ".before"), agreement.inner_text(), len(server.noted("run"))
    chart, tables = visit.at("compare-difference").locator(".js-plotly-plot"), visit.page.locator(".stDataFrame")
    there = tables.count()
    visit.slide("threshold", 20)
    visit.until_query("threshold", "0.7")
    visit.changed(old, "compare-wipe", ".before")
    visit.until(lambda: agreement.inner_text() != said, "another agreement")
    visit.ready()
    everything = (1, 1, there)
    visit.until(lambda: (agreement.count(), chart.count(), tables.count()) == everything, "each of them once")
    assert len(server.noted("run")) == runs


def test_a_set_is_evaluated_and_a_click_shows_an_image_closely(visitor):
    visit = visitor().open("errors")
    visit.page.get_by_role("button", name=re.compile("Evaluate")).click()
    tiles = visit.at("errors-tiles").get_by_role("button")
    tiles.first.wait_for()
    visit.ready()
    old = visit.source("errors-wipe")
    tiles.nth(2).click()
    visit.until(lambda: visit.query().get("case") == tiles.nth(2).get_attribute("data-id"), "the case in the address")
    visit.changed(old, "errors-wipe")
    visit.until(lambda: tiles.nth(2).get_attribute("aria-pressed") == "true", "the tile is marked")


def test_the_first_view_is_found_by_its_name_too(visitor):
    visit = visitor()
    visit.page.goto(f"{visit.url}/segment?threshold=0.4")
    visit.ready()
    assert visit.page.get_by_role("dialog").count() == 0
    visit.until_set("threshold", "0.4")
    visit.page.get_by_role("link", name="Why this mask").click()
    visit.page.wait_for_url("**/why?**")
    visit.page.get_by_role("link", name="Segment", exact=True).click()
    visit.at("live").wait_for()
    visit.until_query("threshold", "0.4")


def test_painting_with_the_pointer_or_the_keyboard_changes_the_mask(visitor, server):
    visit = visitor().open("intervene")
    stage = visit.at("painter").locator(".stage")
    visit.until(lambda: stage.get_attribute("data-drawn") == "nothing", "the image is drawn")
    box = stage.bounding_box()
    visit.page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"])
    visit.page.mouse.down()
    visit.page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.55 * box["height"], steps=6)
    visit.page.mouse.up()
    visit.until(lambda: "edits" in visit.query(), "the painting in the address")
    visit.at("finding").wait_for()
    finding = visit.at("finding").inner_text()
    assert "Dice" in finding
    first = visit.query()["edits"]
    assert first.startswith("e.")
    stage.press("ArrowDown")
    stage.press("Enter")
    visit.until(lambda: len(visit.query()["edits"]) > len(first), "one more stamp")
    visit.until(lambda: visit.at("finding").inner_text() != finding, "another finding")
    other = visitor().open("intervene", **visit.query())
    visit.ready()
    same = visit.at("finding").inner_text()
    other.until(lambda: other.at("finding").inner_text() == same, "the same finding from the link")
    visit.at("painter").locator(".clear").click()
    visit.until_query("edits", None)


def test_uploads_survive_a_reload_and_back_goes_back_one_view(visitor, photo, png):
    visit = visitor().open()
    old = visit.source(part=".before")
    visit.upload(("photo.png", png(photo)))
    visit.changed(old, part=".before")
    visit.ready()
    visit.slide("threshold", 5)
    visit.until_query("threshold", "0.55")
    sample = visit.query()["sample"]
    visit.page.reload()
    visit.ready()
    visit.until(lambda: visit.chosen("sample") == "photo.png", "the upload is still there")
    other = visitor().open("segment", sample=sample)
    assert "photo" not in other.chosen("sample")  # without the cookie nobody sees it
    visit.page.get_by_role("link", name="Channels").click()
    visit.page.wait_for_url("**/channels?**")
    visit.ready()
    visit.press("b")  # the next block, which changes the address
    visit.until(lambda: "block" in visit.query(), "the block in the address")
    visit.ready()
    visit.page.go_back()
    visit.at("live").wait_for()
    visit.until(lambda: "channels" not in visit.page.url, "one press back is one view back")


def test_an_image_is_pasted_from_the_clipboard(visitor, photo, png):
    visit = visitor().open()
    old = visit.source(part=".before")
    visit.page.evaluate(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], 'x.png', { type: 'image/png' }));
            document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }));
        }""",
        list(png(photo)),
    )
    visit.changed(old, part=".before")
    visit.until(lambda: visit.chosen("sample") == "pasted.png", "the pasted image")


def test_present_mode_leaves_only_the_view(visitor):
    visit = visitor().open("network", tour="2")
    sidebar = visit.page.locator('[data-testid="stSidebar"]')
    assert sidebar.is_visible()
    visit.page.get_by_role("button", name="Present").click()
    visit.until(lambda: not sidebar.is_visible(), "no sidebar")
    visit.until_query("present", "1")
    visit.press("ArrowRight")
    visit.until_query("tour", "3")
    visit.page.get_by_role("button", name="End presenting").click()
    visit.until(sidebar.is_visible, "the sidebar is back")
