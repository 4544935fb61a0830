"""Colors that color-blind people can tell apart (Okabe and Ito), and readable on light and on dark pages."""

from skinlesion.overlay import MISSED, PREDICTED, TRUE, WRONG

RGB = tuple[int, int, int]

BLUE: RGB = PREDICTED
GREEN: RGB = TRUE
ORANGE: RGB = MISSED
PURPLE: RGB = WRONG
GRAY: RGB = (128, 128, 128)
VERMILION: RGB = (213, 94, 0)
CYCLE: tuple[RGB, ...] = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, GRAY)

SEQUENTIAL = "cividis"  # made for color-blind readers; both libraries know it by this name
HEAT = "inferno"  # the same evenness with more contrast, for what is mostly dark
DIVERGING = "PuOr"  # purple to orange over white


def hexadecimal(color: RGB) -> str:
    """(0, 158, 115) -> #009e73."""
    return "#{:02x}{:02x}{:02x}".format(*color)
