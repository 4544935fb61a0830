"""Synthetic dermoscopy: believable enough to teach and to test with, with an exact mask and no download.

``synthesize(seed)`` draws one image, ``write_dataset`` a folder of them. One idea a file: ``recipe`` decides what is
shown, ``fields`` holds the coordinates and the noise, ``skin``, ``shape`` and ``pigment`` make the lesion and what is
under it, ``tissue`` turns pigment into color, ``artifacts`` adds what lies in the way, ``camera`` takes the picture.

Nothing here is medical data, and a drawing that resembles a nevus or a melanoma is neither.
"""

from skinlesion.data.synthetic.dataset import write_dataset
from skinlesion.data.synthetic.scene import SyntheticLesion, synthesize

__all__ = ["SyntheticLesion", "synthesize", "write_dataset"]
