"""What a synthetic image shows: drawn from the seed before any pixel, and open to change by name.

A style is a way of looking, not a diagnosis: the names say what a drawing resembles.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from skinlesion.data.synthetic.fields import stream
from skinlesion.data.synthetic.tissue import TONES
from skinlesion.errors import SkinlesionError


class Style(NamedTuple):
    """How lesions of one style are drawn: odds and ranges, from looking at ISIC 2017."""

    odds: float
    patterns: dict[str, float]
    tones: tuple[tuple[str, ...], ...]  # palettes to choose from, the main tone first
    contrast: tuple[float, float]  # factor on the pigment
    ragged: tuple[float, float]  # how far the border wanders, as a fraction of the radius
    soft: tuple[float, float]  # width of the border's transition, as a fraction of the radius
    veil: float = 0.0  # odds of a blue-white veil
    regression: float = 0.0  # odds of a white, scar-like area
    vessels: float = 0.0  # odds of visible vessels


STYLES: dict[str, Style] = {
    "nevus-like": Style(
        odds=0.36,
        patterns={"network": 0.4, "globules": 0.35, "structureless": 0.25},
        tones=(("brown", "tan"), ("brown", "dark brown"), ("light brown", "brown"), ("dark brown", "brown")),
        contrast=(0.32, 1.1),
        ragged=(0.05, 0.14),
        soft=(0.05, 0.16),
    ),
    "atypical": Style(
        odds=0.2,
        patterns={"network": 0.6, "globules": 0.25, "structureless": 0.15},
        tones=(("brown", "tan", "dark brown"), ("light brown", "dark brown", "pink"), ("brown", "pink", "tan")),
        contrast=(0.32, 1.0),
        ragged=(0.12, 0.26),
        soft=(0.06, 0.2),
        regression=0.12,
        vessels=0.05,
    ),
    "melanoma-like": Style(
        odds=0.16,
        patterns={"network": 0.4, "globules": 0.25, "structureless": 0.35},
        tones=(
            ("dark brown", "black", "brown"),
            ("brown", "blue-gray", "black", "tan"),
            ("dark brown", "blue-gray", "pink"),
            ("brown", "black", "red", "tan"),
        ),
        contrast=(0.5, 1.25),
        ragged=(0.15, 0.32),
        soft=(0.04, 0.15),
        veil=0.45,
        regression=0.35,
        vessels=0.12,
    ),
    "keratosis-like": Style(
        odds=0.11,
        patterns={"cysts": 0.8, "structureless": 0.2},
        tones=(("tan", "gray-brown"), ("gray-brown", "brown"), ("light brown", "gray-brown", "tan")),
        contrast=(0.4, 1.05),
        ragged=(0.06, 0.18),
        soft=(0.02, 0.06),
    ),
    "pink": Style(
        odds=0.07,
        patterns={"structureless": 0.8, "globules": 0.2},
        tones=(("pink", "red"), ("pink", "tan"), ("red", "pink", "light brown")),
        contrast=(0.4, 0.9),
        ragged=(0.08, 0.2),
        soft=(0.06, 0.18),
        vessels=0.7,
    ),
    "blue": Style(
        odds=0.03,
        patterns={"structureless": 1.0},
        tones=(("blue-gray", "black"), ("blue-gray", "gray-brown")),
        contrast=(0.9, 1.5),
        ragged=(0.03, 0.09),
        soft=(0.05, 0.12),
    ),
    "faint": Style(
        odds=0.07,
        patterns={"structureless": 0.55, "network": 0.35, "globules": 0.1},
        tones=(("tan", "light brown"), ("tan", "pink"), ("light brown", "tan")),
        contrast=(0.3, 0.65),
        ragged=(0.1, 0.28),
        soft=(0.1, 0.28),
    ),
}
PATTERNS = ("network", "globules", "structureless", "cysts")
TONE_ODDS = {1: 0.2, 2: 0.32, 3: 0.24, 4: 0.12, 5: 0.07, 6: 0.05}  # the archive is mostly light skin
# Lesion area as a fraction of the frame: quantiles of ISIC 2017's 2150 masks, the extremes drawn in.
_AREA_QUANTILES = (
    (0, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1),
    (0.008, 0.0147, 0.024, 0.05, 0.126, 0.283, 0.466, 0.595, 0.8, 0.85),
)
CHOICES: dict[str, tuple[str, ...]] = {
    "style": tuple(STYLES),
    "pattern": PATTERNS,
    "hair": ("none", "dark", "light"),
    "ruler": ("none", "bar", "ticks"),
    "sticker": ("none", "disc", "chart"),
    "glints": ("none", "speckles", "lamps"),
    "vignette": ("none", "soft", "corners", "round"),
}
_RANGES: dict[str, tuple[float, float]] = {
    "skin_tone": (1, 6),
    "area": (0.005, 0.9),
    "contrast": (0.1, 3.0),
    "ragged": (0.0, 0.5),
    "soft": (0.005, 0.5),
    "lobes": (1, 4),
    "hair_count": (0, 80),
    "bubbles": (0, 60),
    "blur": (0.0, 0.02),
}


@dataclass(frozen=True)
class Recipe:
    """Everything that is decided before drawing; each field is also a knob of ``synthesize``.

    Attributes:
        style: one of ``STYLES``; sets the odds of most of what follows.
        pattern: network (honeycomb lines), globules, structureless, or cysts (pale dots and dark pits).
        tones: names of the lesion's colors, joined by "+".
        skin_tone: 1 (palest) to 6 (darkest), in the manner of Fitzpatrick's types.
        area: the lesion's share of the frame, in (0, 1).
        contrast: factor on the pigment; under 0.5 is hard to see.
        ragged: how far the border wanders, as a fraction of the radius.
        soft: width of the border's transition, as a fraction of the radius.
        lobes: number of overlapping parts.
        blue_veil: a whitish blue film over part of the lesion.
        regression: a white, scar-like part with gray dots.
        vessels: thin red vessels in the lesion.
        freckles: small spots on the skin around, which are not lesion.
        hair: none, dark or light.
        hair_count: number of hairs.
        ruler: none, bar (a scale with MM in the frame) or ticks (marks along its edge).
        bubbles: number of gel bubbles.
        ink: a violet pen mark.
        sticker: none, disc (colored, at the edge) or chart (strip of color patches).
        glints: none, speckles (reflections on the skin's relief) or lamps (at the left and right edge).
        vignette: none, soft, corners (dark corners of a round window) or round (all of the window is seen).
        blur: standard deviation of the lens blur, as a fraction of the frame's height.
    """

    style: str
    pattern: str
    tones: str
    skin_tone: int
    area: float
    contrast: float
    ragged: float
    soft: float
    lobes: int
    blue_veil: bool
    regression: bool
    vessels: bool
    freckles: bool
    hair: str
    hair_count: int
    ruler: str
    bubbles: int
    ink: bool
    sticker: str
    glints: str
    vignette: str
    blur: float


def draw_recipe(seed: int, knobs: Mapping[str, Any]) -> Recipe:
    """Draw what the image of ``seed`` shows; what ``knobs`` names is taken from there.

    Each field has its own random stream, so a knob leaves the other fields as they were (a new style, of
    course, brings its own odds).

    Raises:
        SkinlesionError: an unknown knob or a value that it cannot take.
    """
    _check(knobs)

    def draw(name: str, sample: Any) -> Any:
        return knobs[name] if name in knobs else sample(stream(seed, "recipe " + name))

    name = draw("style", lambda rng: _choose(rng, {key: style.odds for key, style in STYLES.items()}))
    style = STYLES[name]
    bare = 0.0 if knobs.get("hair_count") else 0.5
    hair = draw("hair", lambda rng: _choose(rng, {"none": bare, "dark": 0.38, "light": 0.12}))
    hair_count = draw("hair_count", lambda rng: min(2 + int(rng.exponential(9)), 60))
    return Recipe(
        style=name,
        pattern=draw("pattern", lambda rng: _choose(rng, style.patterns)),
        tones=draw("tones", lambda rng: "+".join(style.tones[rng.integers(len(style.tones))])),
        skin_tone=draw("skin_tone", lambda rng: _choose(rng, TONE_ODDS)),
        area=draw("area", lambda rng: float(np.interp(rng.random(), *_AREA_QUANTILES))),
        contrast=draw("contrast", lambda rng: rng.uniform(*style.contrast)),
        ragged=draw("ragged", lambda rng: rng.uniform(*style.ragged)),
        soft=draw("soft", lambda rng: rng.uniform(*style.soft)),
        lobes=draw("lobes", lambda rng: _choose(rng, {1: 0.62, 2: 0.22, 3: 0.12, 4: 0.04})),
        blue_veil=draw("blue_veil", lambda rng: bool(rng.random() < style.veil)),
        regression=draw("regression", lambda rng: bool(rng.random() < style.regression)),
        vessels=draw("vessels", lambda rng: bool(rng.random() < style.vessels)),
        freckles=draw("freckles", lambda rng: bool(rng.random() < 0.25)),
        hair=hair if hair_count else "none",
        hair_count=hair_count if hair != "none" else 0,
        ruler=draw("ruler", lambda rng: _choose(rng, {"none": 0.74, "bar": 0.16, "ticks": 0.1})),
        bubbles=draw("bubbles", lambda rng: int(rng.exponential(6)) + 1 if rng.random() < 0.25 else 0),
        ink=draw("ink", lambda rng: bool(rng.random() < 0.07)),
        sticker=draw("sticker", lambda rng: _choose(rng, {"none": 0.93, "disc": 0.055, "chart": 0.015})),
        glints=draw("glints", lambda rng: _choose(rng, {"none": 0.79, "speckles": 0.16, "lamps": 0.05})),
        vignette=draw(
            "vignette", lambda rng: _choose(rng, {"none": 0.46, "soft": 0.2, "corners": 0.27, "round": 0.07})
        ),
        blur=draw("blur", lambda rng: 0.0012 + 0.0014 * float(rng.gamma(1.5))),
    )


def _choose(rng: np.random.Generator, odds: Mapping[Any, float]) -> Any:
    """Return a key with probability in proportion to its value."""
    limits = np.cumsum(list(odds.values()))
    return list(odds)[int(np.searchsorted(limits, rng.random() * limits[-1], side="right"))]


def _check(knobs: Mapping[str, Any]) -> None:
    kinds = {field.name: field.type for field in fields(Recipe)}
    for name, value in knobs.items():
        if name not in kinds:
            raise SkinlesionError(f"synthesize has no knob {name!r}: choose among {', '.join(kinds)}.")
        if name == "tones" and not (isinstance(value, str) and set(value.split("+")) <= TONES.keys()):
            raise SkinlesionError(f"tones={value!r} is not valid: join any of {', '.join(TONES)} with '+'.")
        if name in CHOICES and value not in CHOICES[name]:
            raise SkinlesionError(f"{name}={value!r} is not valid: choose one of {', '.join(CHOICES[name])}.")
        if kinds[name] is bool and not isinstance(value, bool):
            raise SkinlesionError(f"{name}={value!r} is not valid: choose True or False.")
        if name in _RANGES:
            low, high = _RANGES[name]
            allowed = (int,) if kinds[name] is int else (int, float)
            if not isinstance(value, allowed) or not low <= value <= high:
                whole = "a whole number" if kinds[name] is int else "a number"
                raise SkinlesionError(f"{name}={value!r} is not valid: choose {whole} from {low:g} to {high:g}.")
    if knobs.get("hair") == "none" and knobs.get("hair_count"):
        raise SkinlesionError("hair='none' and a hair_count contradict each other: leave one of them out.")
