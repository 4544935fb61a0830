"""Images from elsewhere: a photo that isn't dermoscopy, the camera, local sets, and links that carry an image on."""

import re

import numpy as np
import pytest
from PIL import Image, ImageDraw

CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # Chromium's own moving picture
LOCAL = "clinic (all)/SYN_0000002"


def landscape() -> np.ndarray:
    """What a holiday photo shows."""
    image = Image.new("RGB", (400, 300), (135, 206, 235))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 180, 400, 300), fill=(60, 160, 60))
    draw.ellipse((300, 20, 350, 70), fill=(255, 220, 0))
    draw.polygon([(50, 180), (120, 60), (190, 180)], fill=(120, 110, 100))
    return np.asarray(image)


def test_a_photo_that_is_not_dermoscopy_is_flagged_beside_the_number(visitor, png):
    visit = visitor().open()
    notes, old = visit.at("live").locator(".notes"), visit.source(part=".before")
    assert not notes.is_visible()  # a real image of the package
    visit.upload(("holiday.png", png(landscape())))
    visit.changed(old, part=".before")
    notes.get_by_text("This doesn't look like a dermoscopy image.").wait_for()
    visit.press("n")  # on to an image of the package: the warning goes with the photo
    visit.until(lambda: not notes.is_visible(), "no warning")


@pytest.fixture
def camera(chromium, chromium_options):
    """A browser that has a camera."""
    browser = chromium.browser_type.launch(**chromium_options | {"args": [*chromium_options["args"], *CAMERA]})
    yield browser
    browser.close()


def test_a_photo_is_taken_with_the_camera(camera, visitor):
    visit = visitor(browser=camera, permissions=("camera",)).open()
    old = visit.source(part=".before")
    visit.page.get_by_role("button", name="Your own images").click()
    visit.page.get_by_text("Take a photo with the camera").click()
    visit.until(
        lambda: visit.page.evaluate("document.querySelector('video')?.readyState === 4"), "the camera's picture"
    )
    visit.page.get_by_role("button", name="Take Photo").click()
    visit.changed(old, part=".before")
    visit.until(lambda: visit.chosen("sample") == "photo.jpg", "the photo is chosen")
    assert re.search(r"Your image, \d+ x \d+ pixels", visit.said())


def test_an_image_of_a_local_set_is_picked(visitor):
    visit = visitor().open()
    old = visit.source(part=".before")
    visit.page.get_by_role("button", name="Your own images").click()
    image = visit.at("local-image").locator("input")
    image.click()
    image.fill("0002")
    visit.page.get_by_role("option", name="SYN_0000002").click()
    visit.at("local-open").get_by_role("button").click()
    visit.changed(old, part=".before")
    visit.until_query("sample", LOCAL)
    visit.page.reload()
    visit.ready()
    assert visit.chosen("sample") == "SYN_0000002"


@pytest.mark.parametrize("view", ["errors", "compare"])
def test_open_in_carries_an_image_into_another_view(visitor, view):
    choices = {"set": "clinic (all)", "case": "SYN_0000002"} if view == "errors" else {"sample": LOCAL}
    visit = visitor().open(view, **choices)
    if view == "errors":
        visit.page.get_by_role("button", name=re.compile("Evaluate")).click()
    links = visit.at(f"open-in-{view}")
    links.get_by_role("link", name="Channels").click()
    visit.page.wait_for_url("**/channels?**")
    visit.ready()
    visit.until(lambda: visit.chosen("sample") == "SYN_0000002", "the same image in Channels")
    visit.until_query("sample", LOCAL)
    visit.page.go_back()
    visit.page.wait_for_url(f"**/{view}?**")
    visit.ready()
    visit.until(lambda: links.count() == 1, "what was computed, after one press of Back")


def test_the_link_is_copied_as_it_stands_in_the_address(visitor):
    visit = visitor(permissions=("clipboard-read", "clipboard-write")).open(sample="synthetic-016")
    visit.slide("threshold", 3)
    visit.until_query("threshold", "0.53")
    visit.page.get_by_role("button", name="Copy link").click()
    visit.page.get_by_role("button", name="Copied").wait_for()
    assert visit.page.evaluate("navigator.clipboard.readText()") == visit.page.url
