"""The live page in a real browser, from a plain static server, against PyTorch."""

import contextlib
import functools
import http.server
import importlib.util
import io
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from skinlesion import Segmenter, observe
from skinlesion.checkpoint import DEFAULT_WEIGHTS
from skinlesion.data.samples import bundled_samples
from skinlesion.data.synthetic import synthesize
from skinlesion.errors import SkinlesionError

pytestmark = pytest.mark.slow  # the page's network is exported first
PATIENCE = 120_000  # milliseconds for anything: the machine may be busy
BUILD = Path(__file__).parents[2] / "docs" / "live" / "build.py"


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012  as in the class above it
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def log_message(self, *_: Any) -> None:
        pass

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the visitor left
            super().handle()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, as `docs/live/build.py` assembles it."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    if shutil.which("npm") is None:
        pytest.skip("npm is missing: the page takes onnxruntime-web from it")
    spec = importlib.util.spec_from_file_location("live_build", BUILD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = os.environ.get("SKINLESION_LIVE_MODEL")  # an export from before, to try a change of the page quickly
    try:
        return module.build(tmp_path_factory.mktemp("live") / "deep" / "inside", model=model and Path(model))
    except SkinlesionError as error:
        if "npm could not fetch" not in str(error):
            raise
        pytest.skip(f"onnxruntime-web is missing: {error}")


@pytest.fixture(scope="session")
def address(folder: Path) -> Iterator[str]:
    """Where it is served: not at the root, as on a project's page."""
    handler = functools.partial(_Handler, directory=folder.parents[1])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/deep/inside/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def segmenter() -> Segmenter:
    return Segmenter.from_pretrained(DEFAULT_WEIGHTS)


class Tab:
    """A visitor's tab on the page."""

    def __init__(self, browser: Any, address: str, size: tuple[int, int] = (1280, 800)) -> None:
        self.page = browser.new_context(viewport={"width": size[0], "height": size[1]}).new_page()
        self.page.set_default_timeout(PATIENCE)
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda line: line.type == "error" and self.problems.append(line.text))
        self.page.context.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)

    def text(self, id: str) -> str:
        return self.page.locator(f"#{id}").inner_text()

    def wait(self, true: Callable[[], Any], what: str) -> Any:
        end = time.monotonic() + PATIENCE / 1000
        while not (found := true()):
            assert time.monotonic() < end, f"waited in vain: {what}; {self.text('status')}"
            self.page.wait_for_timeout(20)
        return found

    def segmented(self, title: str) -> "Tab":
        """Wait until an image has its mask."""
        self.wait(lambda: title in self.text("status") and "%" in self.text("fraction"), f"{title} is segmented")
        return self

    def give(self, name: str, data: bytes) -> "Tab":
        """Choose a file."""
        self.page.locator("#file").set_input_files({"name": name, "mimeType": "", "buffer": data})
        return self

    def problem(self) -> str:
        """The sentence that the page shows when it can't do something."""
        self.wait(self.page.locator("#problem").is_visible, "a message")
        return self.text("problem")

    def set(self, id: str, value: float) -> None:
        """Drag a slider to a value."""
        self.page.locator(f"#{id}").fill(str(value))

    def mask(self) -> np.ndarray:
        """The file that "Save the mask" gives, bool (H, W)."""
        with self.page.expect_download() as coming:
            self.page.get_by_role("button", name="Save the mask").click()
        return np.asarray(Image.open(coming.value.path()).convert("L")) > 127


@pytest.fixture
def tab(chromium: Any, address: str) -> Iterator[Callable[..., Tab]]:
    """tab(): a new tab; when the test ends nothing has failed in it, and nothing went elsewhere."""
    tabs: list[Tab] = []

    def come(browser: Any = None, **options: Any) -> Tab:
        tabs.append(Tab(browser or chromium, address, **options))
        return tabs[-1]

    yield come
    for each in tabs:
        each.page.context.close()
        assert each.problems == []
        assert [url for url in each.requests if not url.startswith((address, "blob:"))] == []


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def assert_same_mask(found: np.ndarray, segmenter: Segmenter, image: Any, threshold: float, share: float) -> None:
    """All pixels but those whose probability is within rounding of the threshold, and `share` of the image."""
    expected = segmenter.segment(image, threshold=threshold)
    assert found.shape == expected.mask.shape
    sure = np.abs(expected.probability - threshold) > 1e-3
    assert (found != expected.mask)[sure].mean() <= share
    assert found.any()
    assert not found.all()


@pytest.mark.parametrize("size", [(430, 610), (120, 90), (160, 160), (1600, 1100)])
def test_the_mask_is_pytorchs(tab, segmenter: Segmenter, size: tuple[int, int]) -> None:
    image = synthesize(seed=4711, size=size).image
    visit = tab().give("lesion.png", png(image)).segmented("lesion.png")
    assert_same_mask(visit.mask(), segmenter, image, 0.5, 0)
    visit.set("threshold", 0.83)
    assert_same_mask(visit.mask(), segmenter, image, 0.83, 0)
    expected = segmenter.segment(image, threshold=0.83)
    assert visit.text("fraction") == f"{100 * expected.area_fraction:.1f}%"
    assert abs(float(visit.text("confidence")) - expected.confidence) < 0.006


def test_samples_are_jpeg_files_and_differ_by_few_pixels(tab, segmenter: Segmenter) -> None:
    visit = tab()
    real = [sample for sample in bundled_samples() if sample.kind == "real"]
    for sample in real[:4]:
        visit.page.get_by_role("button", name=sample.title).click()
        visit.segmented(sample.title)
        assert_same_mask(visit.mask(), segmenter, sample.image_path, 0.5, 0.001)


def test_a_photo_lies_as_its_camera_says_and_transparent_pixels_are_white(tab, segmenter: Segmenter) -> None:
    image = synthesize(seed=7, size=(200, 300)).image
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(image).save(buffer, "JPEG", quality=95, exif=exif)
    visit = tab().give("turned.jpg", buffer.getvalue()).segmented("turned.jpg: 200 × 300")
    assert_same_mask(visit.mask(), segmenter, buffer.getvalue(), 0.5, 0.002)
    clear = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    clear[:40] = 0
    visit.give("clear.png", png(clear)).segmented("clear.png")
    assert_same_mask(visit.mask(), segmenter, png(clear), 0.5, 0.001)


def test_the_first_mask_comes_soon_after_loading(tab) -> None:
    visit = tab()
    visit.wait(lambda: not visit.page.locator("#progress").is_visible(), "the network is loaded")
    start = time.monotonic()
    visit.segmented("(ISIC_")
    assert time.monotonic() - start < 30, "three seconds on a quiet machine; this one may be busy"


def test_gates_are_pytorchs(tab, segmenter: Segmenter) -> None:
    import torch

    image = synthesize(seed=9, size=(160, 160)).image
    with torch.no_grad(), observe(segmenter.model, "S2.cra.gate_h", "D1.1.se.gate") as seen:
        segmenter.model(segmenter.prepare([image]))
    rows, channels = seen["S2.cra.gate_h"][0].mean(-1), seen["D1.1.se.gate"][0]
    visit = tab().give("lesion.png", png(image)).segmented("lesion.png")
    visit.page.locator("#skip").select_option("S2")
    visit.page.locator("#block").select_option("D1.1")
    assert visit.page.locator("#rows").evaluate("canvas => canvas.height") == len(rows)
    assert f"Row gates of S2: {rows.min():.3f} to {rows.max():.3f}" in visit.text("cra-text")
    expected = (
        f"{len(channels)} channels, gates {channels.min():.2f} to {channels.max():.2f}, mean {channels.mean():.2f}"
    )
    assert expected in visit.text("se-text")
    assert visit.page.get_by_role("img", name="Row gates of S2").count() == 1


def test_opacity_and_border_change_what_is_drawn(tab) -> None:
    visit = tab().segmented("(ISIC_")

    def alphas() -> set[str]:
        read = "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.join()"
        return set(visit.page.locator("#layer").evaluate(read).split(",")[3::4])

    assert alphas() == {"0", "64", "255"}
    visit.set("opacity", 0.5)
    visit.page.get_by_label("Draw the border").uncheck()
    visit.wait(lambda: alphas() == {"0", "128"}, "the tint alone")


def test_an_image_can_be_dropped_and_pasted(tab) -> None:
    visit = tab().segmented("(ISIC_")
    data = list(png(synthesize(seed=3, size=(64, 80)).image))
    give = """([kind, data]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(data)], `${kind}.png`, {type: 'image/png'}));
        const event = kind === 'drop' ? new DragEvent('drop', {dataTransfer: transfer, bubbles: true})
            : new ClipboardEvent('paste', {clipboardData: transfer, bubbles: true});
        document.body.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        visit.page.evaluate(give, [kind, data])
        visit.segmented(f"{kind}.png: 80 × 64 pixels")


def test_the_keyboard_reaches_everything(tab) -> None:
    visit = tab().segmented("(ISIC_")
    reached = set()
    for _ in range(30):
        visit.page.keyboard.press("Tab")
        reached.add(visit.page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"file", "save", "threshold", "opacity", "contour", "BUTTON", "skip", "block", "A"} <= reached
    visit.page.locator("#threshold").focus()
    visit.page.keyboard.press("ArrowRight")
    assert visit.text("threshold-value") == "0.51"
    area = visit.page.locator("#image").get_attribute("aria-label")
    assert "the mask covers" in area


def bad_files() -> dict[str, tuple[bytes, str]]:
    photo = io.BytesIO()
    Image.fromarray(synthesize(seed=5, size=(300, 300)).image).save(photo, "JPEG")
    huge = bytearray(png(np.zeros((8, 8, 3), np.uint8)))
    huge[16:24] = (30_000).to_bytes(4, "big") * 2
    return {
        "report.pdf": (b"%PDF-1.7 ...", "report.pdf is a PDF, not an image: save the page as PNG or JPEG first."),
        "cut.png": (png(synthesize(seed=5, size=(90, 90)).image)[:2000], "cut.png is damaged or incomplete"),
        "broken.jpg": (photo.getvalue()[:400], "broken.jpg is damaged or incomplete"),
        "huge.png": (bytes(huge), "huge.png is too large (30000 × 30000 pixels): reduce it"),
        "notes.txt": (b"just words", "notes.txt is not an image that this browser can read"),
        "empty.png": (b"", "empty.png is empty"),
        "x.heic": (b"\0\0\0\x18ftypheic\0\0\0\0", "x.heic is a HEIC photo"),
        "<img src=x onerror=alert(1)>.tif": (b"II*\0....", "<img src=x onerror=alert(1)>.tif is a TIFF image"),
    }


def test_a_bad_file_is_one_sentence_and_the_page_goes_on(tab) -> None:
    visit = tab().segmented("(ISIC_")
    for name, (data, sentence) in bad_files().items():
        visit.give(name, data)
        visit.wait(lambda name=name: name in visit.text("problem"), name)
        assert sentence in visit.problem()
        assert "Still showing" in visit.text("status")
    visit.give("good.png", png(synthesize(seed=5, size=(90, 90)).image)).segmented("good.png")
    assert not visit.page.locator("#problem").is_visible()


def test_a_fifty_megapixel_photo_works(tab, segmenter: Segmenter) -> None:
    image = np.asarray(Image.fromarray(synthesize(seed=11, size=(600, 800)).image).resize((8192, 6144)))
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    visit = tab().give("photo.jpg", buffer.getvalue()).segmented("photo.jpg: 8192 × 6144 pixels, shown and measured at")
    share = float(visit.text("fraction").rstrip("%")) / 100
    assert abs(share - segmenter.segment(buffer.getvalue()).area_fraction) < 0.002


def test_a_phone_shows_everything_without_scrolling_sideways(tab) -> None:
    visit = tab(size=(400, 800)).segmented("(ISIC_")
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 400
    slider = visit.page.locator("#threshold").bounding_box()
    image = visit.page.locator("#image").bounding_box()
    assert slider["y"] + slider["height"] <= 800, "the image changes in view while the threshold is dragged"
    assert image["y"] >= 0


@pytest.mark.parametrize(
    ("option", "sentence"),
    [("--js-flags=--jitless", "needs WebAssembly, which this browser lacks"), ("--disable-3d-apis", None)],
)
def test_wasm_is_needed_and_webgl_is_not(chromium, chromium_options, tab, option, sentence) -> None:
    browser = chromium.browser_type.launch(**chromium_options | {"args": [*chromium_options["args"], option]})
    try:
        visit = tab(browser)
        if sentence:
            assert sentence in visit.problem()
            assert visit.page.locator("#file").is_disabled()
        else:
            visit.segmented("(ISIC_")
    finally:
        browser.close()
