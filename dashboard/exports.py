"""What the screen shows, as a file: PNG, SVG or PDF with caption and settings, and the arrays behind it as NPZ."""

import io

import numpy as np

from dashboard.components.live_mask import LEGENDS, Settings
from dashboard.image_choice import Picture
from dashboard.images import enlarge
from dashboard.predict import Prediction
from skinlesion.data.images import resize_mask
from skinlesion.plots.rasters import confusion, masked

KINDS = {"png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf"}


def as_seen(picture: Picture, prediction: Prediction, settings: Settings, weights: str, kind: str) -> bytes:
    """The image with its overlay, and below it what it is and how it was made.

    Args:
        picture: the image.
        prediction: of the network.
        settings: of the live image; the wipe isn't drawn.
        weights: their name.
        kind: one of `KINDS`.
    """
    import matplotlib

    matplotlib.use("agg", force=False)
    from matplotlib.figure import Figure

    image = enlarge(picture.image)
    height, width = image.shape[:2]
    figure = Figure(figsize=(6, 6 * height / width + 0.9), dpi=200)
    axes = figure.add_axes((0, 0.9 / (6 * height / width + 0.9), 1, 1 - 0.9 / (6 * height / width + 0.9)))
    axes.imshow(_drawn(image, picture, prediction, settings))
    axes.set_axis_off()
    figure.text(0.02, 0.02, _caption(picture, prediction, settings, weights), fontsize=7, va="bottom", wrap=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def _drawn(image: np.ndarray, picture: Picture, prediction: Prediction, settings: Settings) -> np.ndarray:
    if not settings.overlay:
        return image
    size, opacity = image.shape[:2], settings.opacity / 100
    probability = prediction.at(size)
    if settings.show in ("Probability", "Uncertainty"):
        from matplotlib import colormaps

        spread = prediction.spread_at(size) if settings.show == "Uncertainty" else None
        values = probability if spread is None else spread / max(float(spread.max()), 1e-6)
        heat, strength = 255 * colormaps["cividis"](values)[..., :3], max(opacity, 0.3)
        return ((1 - strength) * image + strength * heat).astype(np.uint8)
    mask = probability >= settings.threshold
    if settings.show == "Mistakes" and picture.truth is not None:
        return confusion(image, mask, resize_mask(picture.truth, size), opacity)
    return masked(image, mask, None, opacity, "contour" if settings.show == "Contour" else "fill")


def _caption(picture: Picture, prediction: Prediction, settings: Settings, weights: str) -> str:
    found = prediction.segmentation(picture.image, settings.threshold)
    legend = LEGENDS[settings.show] if settings.overlay else "Without overlay."
    warnings = "".join(f" {warning}" for warning in found.warnings)
    return (
        f"{picture.title.replace('$', ' ')}. {legend}\nWeights {weights}, threshold {settings.threshold:.2f}, opacity "
        f"{settings.opacity}%, temperature {prediction.temperature:.2f}. Lesion {100 * found.area_fraction:.1f}% of "
        f"the image, confidence {found.confidence:.3f}.{warnings}\n"
        "skinlesion, for teaching and research; not a medical device."
    )


def arrays_npz(picture: Picture, prediction: Prediction, settings: Settings) -> bytes:
    """Image, calibrated probability, mask, and what else is known, at the size that is shown."""
    size = (picture.image.shape[0], picture.image.shape[1])
    probability = prediction.at(size)
    arrays = {
        "image": picture.image,
        "probability": probability,
        "mask": probability >= settings.threshold,
        "network_probability": prediction.probability,  # at the network's own size, not calibrated
        "threshold": np.float32(settings.threshold),
        "temperature": np.float32(prediction.temperature),
    }
    if picture.truth is not None:
        arrays["truth"] = picture.truth
    if (spread := prediction.spread_at(size)) is not None:
        arrays["spread"] = spread
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()
