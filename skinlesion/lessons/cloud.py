"""Lessons on Google Colab and Kaggle: badges that open one there, and a first cell that installs what is missing.

The address of the repository is written once, in `pyproject.toml` under `[project.urls]`.
"""

import tomllib
from pathlib import Path
from urllib.parse import quote, urlsplit

from skinlesion.errors import SkinlesionError

BRANCH = "main"
PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
# What the lessons import besides the core's dependencies, which come with any installation of the package.
MODULES = (
    "albumentations",
    "captum",
    "cv2",
    "ipywidgets",
    "matplotlib",
    "plotly",
    "pytorch_lightning",
    "tensorboard",
)
# A function, so that a lesson's own names stay as they are.
INSTALL = f"""\
# For Colab and Kaggle: installs what is missing. Where nothing is missing, this cell does nothing.
def install_what_is_missing():
    import importlib.util
    import subprocess
    import sys

    def missing():
        importlib.invalidate_caches()
        needed = "skinlesion {" ".join(MODULES)}"
        return [name for name in needed.split() if importlib.util.find_spec(name) is None]

    before = missing()
    if not before:
        return
    print("Not installed here: " + ", ".join(before))
    print("Installing skinlesion[course] with pip. This takes a few minutes ...", flush=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "skinlesion[course]"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip() or "It gave no reason.").splitlines()[-1]
        raise RuntimeError("pip could not install skinlesion[course] (on Kaggle, turn on Internet first): " + reason)
    if missing():
        raise RuntimeError("Restart the kernel and run this cell again: pip did not provide " + ", ".join(missing()))
    print("Installed. If an import below fails, restart the kernel and run all cells.")


install_what_is_missing()"""


def repository(pyproject: Path = PYPROJECT) -> str:
    """The repository's address, such as "https://github.com/OWNER/NAME".

    Raises:
        SkinlesionError: the file names no repository on GitHub, which is where Colab and Kaggle fetch notebooks from.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    address = str(project.get("urls", {}).get("Repository", "")).rstrip("/")
    parts = urlsplit(address)
    if (parts.scheme, parts.netloc) != ("https", "github.com") or len(Path(parts.path).parts) != 3:
        raise SkinlesionError(
            f"{pyproject.name}: Repository under [project.urls] is {address!r}; expected https://github.com/OWNER/NAME."
        )
    return address


def badges(address: str, file: str) -> str:
    """Links in Markdown that open a notebook on Colab and on Kaggle.

    Args:
        address: of the repository.
        file: the notebook's path in it.
    """
    place = f"{urlsplit(address).path}/blob/{BRANCH}/{file}"
    colab = f"https://colab.research.google.com/github{place}"
    kaggle = f"https://kaggle.com/kernels/welcome?src={quote(f'https://github.com{place}', safe=':/')}"
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab}) "
        f"[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]({kaggle})"
    )
