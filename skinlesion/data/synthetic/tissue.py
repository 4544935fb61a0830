"""What the skin is made of at each pixel, and the color that light comes back with.

Light that has passed through pigment is weakened exponentially (Lambert and Beer), each color by its own
factor. Melanin near the surface is brown; deep in the skin scattering makes it blue-gray; blood is pink.
"""

from dataclasses import dataclass

import numpy as np

from skinlesion.data.synthetic.fields import Box

# Per unit of pigment, the optical density for red, green, blue. Melanin's from the median skin and lesion of ISIC 2017.
ABSORPTION = np.array([[0.32, 0.66, 1.0], [0.95, 0.76, 0.5], [0.08, 0.5, 0.4]], dtype=np.float32)
PALE = np.array([0.92, 0.87, 0.84], dtype=np.float32)  # skin without any pigment
# Melanin, deep melanin, blood of each named color, over the skin's own.
TONES: dict[str, tuple[float, float, float]] = {
    "tan": (0.4, 0.0, 0.0),
    "light brown": (0.66, 0.02, 0.02),
    "brown": (0.98, 0.08, 0.04),
    "dark brown": (1.4, 0.32, 0.05),
    "black": (1.7, 1.0, 0.1),
    "gray-brown": (0.6, 0.3, 0.0),
    "blue-gray": (0.55, 0.75, 0.0),
    "pink": (0.16, 0.0, 0.55),
    "red": (0.35, 0.02, 0.85),
}


@dataclass
class Tissue:
    """Pigments, each float32 (H, W), and ``scar``: how much of the surface is white, in [0, 1]."""

    melanin: np.ndarray
    deep: np.ndarray
    blood: np.ndarray
    scar: np.ndarray

    def window(self, box: Box) -> "Tissue":
        """Return views of the part in ``box``: what is added there is added here."""
        return Tissue(self.melanin[box], self.deep[box], self.blood[box], self.scar[box])

    def color(self) -> np.ndarray:
        """Return the reflected color, float32 (H, W, 3), 1 for white."""
        density = sum(
            pigment[..., None] * per_unit  # (H, W, 3)
            for pigment, per_unit in zip((self.melanin, self.deep, self.blood), ABSORPTION, strict=True)
        )
        color = PALE * np.exp(-density)
        white = np.array([0.86, 0.82, 0.84], dtype=np.float32)
        return color + self.scar[..., None] * (white - color)
