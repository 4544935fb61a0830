"""Film an intervention in the dashboard: python docs/intervention.py  (writes docs/intervention.webp)."""

from io import BytesIO

from PIL import Image
from playwright.sync_api import Page
from views import BASE, HERE, app

WIDTH, HEIGHT, SHOWN = 1280, 900, 800  # pixels of the window, and of the film's width
STROKE = ((0.50, 0.36), (0.50, 0.42), (0.49, 0.48), (0.48, 0.54))  # (row, column), across the lesion


def frame(page: Page) -> Image.Image:
    """The window now."""
    shot = Image.open(BytesIO(page.screenshot())).convert("RGB")
    return shot.resize((SHOWN, round(SHOWN * HEIGHT / WIDTH)), Image.Resampling.LANCZOS)


def main() -> None:
    """Erase a lesion stroke by stroke: the mask, the control and the gates follow."""
    frames, lengths = [], []
    with app() as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(f"{BASE}/intervene?sample=ISIC_0014642&present=1")
        stage = page.locator(".st-key-painter .stage")
        stage.locator("xpath=self::*[@data-drawn]").wait_for(timeout=120_000)
        page.wait_for_timeout(3000)
        box = stage.bounding_box()
        assert box is not None
        frames.append(frame(page))
        lengths.append(1500)
        for row, column in STROKE:
            page.mouse.move(box["x"] + column * box["width"], box["y"] + row * box["height"])
            page.wait_for_timeout(200)
            frames.append(frame(page))
            lengths.append(350)
            before = page.url
            page.mouse.down()
            page.mouse.up()
            page.wait_for_timeout(150)
            frames.append(frame(page))
            lengths.append(250)
            page.wait_for_function("before => location.href !== before", arg=before, timeout=60_000)
            page.wait_for_timeout(1500)
            frames.append(frame(page))
            lengths.append(1200)
    lengths[-1] = 3000
    frames[0].save(
        HERE / "intervention.webp",
        save_all=True,
        append_images=frames[1:],
        duration=lengths,
        loop=0,
        quality=60,
        method=6,
    )


if __name__ == "__main__":
    main()
