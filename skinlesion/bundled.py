"""Where the app and the lessons are: beside the package in a checkout, inside it when it was installed from a wheel."""

from pathlib import Path

from skinlesion.errors import SkinlesionError

_PLACES = (Path(__file__).parent / "bundled", Path(__file__).parents[1])


def bundled(name: str) -> Path:
    """The folder of the app ("dashboard") or of the lessons ("notebooks").

    Raises:
        SkinlesionError: this installation has none.
    """
    for place in _PLACES:
        if (place / name / _SIGNS[name]).is_file():
            return place / name
    raise SkinlesionError(f"This installation has no {name}: reinstall skinlesion from a wheel or a checkout.")


# A file that tells the folder from others of that name, which a package may have for neighbors.
_SIGNS = {"dashboard": "views/segment.py", "notebooks": "src/00_start.py"}
