"""What a mask file's values mean: which pixels are lesion, in the encodings found in practice.

A mask is *binary* if it has one value besides 0, whatever that value is: 0/255, 0/1, 0/128, black and one color, a
drawing on a transparent layer. Everything else (soft edges, JPEG compression, several colors) needs a threshold, which
the user has to choose: ``--mask-threshold``.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from skinlesion.errors import SkinlesionError

_MOST_CLASSES = 20  # in a file that numbers several structures


@dataclass(frozen=True)
class MaskRules:
    """How to read the masks of a dataset.

    Attributes:
        threshold: lowest gray value, 1 to 255, that counts as lesion in a mask that isn't binary; None to reject those.
        resize: resize a mask whose size differs from its image's, by nearest neighbor; otherwise it is rejected.
        invert: black pixels are the lesion.

    Raises:
        SkinlesionError: the threshold is out of range.
    """

    threshold: int | None = None
    resize: bool = False
    invert: bool = False

    def __post_init__(self) -> None:
        if self.threshold is not None and not (type(self.threshold) is int and 1 <= self.threshold <= 255):
            raise SkinlesionError(f"--mask-threshold must be from 1 to 255, such as 128; got {self.threshold}.")


DEFAULT_RULES = MaskRules()


def to_binary(picture: Image.Image, label: str, rules: MaskRules = DEFAULT_RULES) -> np.ndarray:
    """Decide which pixels are lesion.

    Args:
        picture: a decoded mask, in any mode.
        label: what to call it in errors.
        rules: see `MaskRules`.

    Returns:
        bool (H, W).

    Raises:
        SkinlesionError: it isn't binary, and there is no threshold.
    """
    if picture.mode == "1":
        mask = np.array(picture, dtype=bool)
    else:
        mask = _lesion(_values(picture, label, rules), label, rules)
    return ~mask if rules.invert else mask


def looks_inverted(mask: np.ndarray) -> bool:
    """Whether the lesion fills the border of the frame and leaves out part of the inside.

    Args:
        mask: bool (H, W).
    """
    if mask.all() or min(mask.shape) < 3:
        return False
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool(border.mean() > 0.9 and mask[1:-1, 1:-1].mean() < border.mean())


def _lesion(values: np.ndarray, label: str, rules: MaskRules) -> np.ndarray:
    """bool (H, W) from gray values (H, W)."""
    if not np.isfinite(values).all() or values.min() < 0:
        raise SkinlesionError(f"{label} holds values that are negative or not numbers; save it as an 8-bit image.")
    present = np.unique(values)
    nonzero = present[present != 0]
    if len(nonzero) == 0:
        return np.zeros(values.shape, dtype=bool)
    # One value on its own could be a lesion all over or a gray background, unless it is one that means "on".
    if len(nonzero) == 1 and (len(present) == 2 or nonzero[0] in (1, 255, 65535)):
        return values != 0
    if rules.threshold is None:
        raise SkinlesionError(_not_binary(label, values, present))
    return _to_eight_bits(values) >= rules.threshold


def _to_eight_bits(values: np.ndarray) -> np.ndarray:
    """Values in [0, 255], whatever range the file uses: 8 or 16 bits, or fractions."""
    top = values.max()
    if values.dtype.kind == "f":
        return values * 255.0 if top <= 1 else values
    return values / 257.0 if top > 255 else values


def _values(picture: Image.Image, label: str, rules: MaskRules) -> np.ndarray:
    """A mask's gray values, (H, W): of a color mask the brightest channel, of a transparent one what is drawn on it."""
    if picture.mode in ("L", "F") or picture.mode.startswith("I"):
        return np.asarray(picture)
    try:
        channels = np.asarray(picture.convert("RGBA"))
    except ValueError as error:
        raise SkinlesionError(
            f"{label}: a mask must be black and white, not {picture.mode}; save it as PNG."
        ) from error
    opacity, color = channels[..., 3], channels[..., :3]
    if (opacity != opacity.flat[0]).any():
        visible = color[opacity > 0]
        if (visible == visible[0]).all():  # one color drawn on a transparent layer: black would do as well as white
            return opacity
    gray = color.max(axis=-1)
    if rules.threshold is None and (color != color[..., :1]).any():
        _require_one_color(color, gray, label)
    # On a layer that is opaque all over the division gives back the gray values exactly.
    return (gray.astype(np.uint16) * opacity // 255).astype(np.uint8)


def _require_one_color(color: np.ndarray, gray: np.ndarray, label: str) -> None:
    """Two colors besides black may be two structures or a background: no way to tell which one is the lesion."""
    drawn = color[gray > 0]
    if (drawn != drawn[0]).any() or not (gray == 0).any():
        count = len(np.unique(color.reshape(-1, 3), axis=0))
        raise SkinlesionError(
            f"{label} is not a binary mask: it holds {count} colors. Save it in black and white, or pass "
            "--mask-threshold 128 to count every pixel whose brightest channel reaches that value."
        )


def _not_binary(label: str, values: np.ndarray, present: np.ndarray) -> str:
    some = ", ".join(str(value) for value in present[:4].tolist())
    more = ", ..." if len(present) > 4 else ""
    message = f"{label} is not a binary mask: it holds {len(present)} gray values ({some}{more})."
    if values.dtype.kind != "f" and present[-1] < _MOST_CLASSES:
        return (
            f"{message} They look like class labels. Pass --mask-threshold 1 if every class is lesion, or save "
            "the one that is as 255 and the rest as 0."
        )
    if values.max() <= 255 and not ((values > 32) & (values < 223)).any():
        message += " They are close to black and white, which suggests JPEG compression."
    brightest = float(_to_eight_bits(values).max())
    middle = 128 if brightest >= 128 else max(1, round(brightest / 2))  # of a mask that is dark all over
    return (
        f"{message} Pass --mask-threshold {middle} to count pixels at least that bright, or save as PNG with 0 and 255."
    )
