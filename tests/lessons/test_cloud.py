"""A lesson opens on Colab and Kaggle: its badges lead to it, and its first cell installs what is missing."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from skinlesion import SkinlesionError
from skinlesion.lessons.build import NOTEBOOKS, generate
from skinlesion.lessons.catalog import LESSONS
from skinlesion.lessons.cloud import INSTALL, MODULES, PYPROJECT, badges, repository

ROOT = NOTEBOOKS.parent
PROJECT = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.slug)
def test_the_badges_lead_to_the_notebook_they_stand_in(lesson):
    for notebook, folder in zip(generate(lesson), ("notebooks", "notebooks/solutions"), strict=True):
        top = "".join(notebook["cells"][0]["source"])
        owner = PROJECT["urls"]["Repository"].removeprefix("https://github.com/")
        file = f"{folder}/{lesson.file}"
        assert f"(https://colab.research.google.com/github/{owner}/blob/main/{file})" in top
        assert f"(https://kaggle.com/kernels/welcome?src=https://github.com/{owner}/blob/main/{file})" in top
        assert "[![Open in Colab](" in top  # readable without the image
        assert "[![Open in Kaggle](" in top
        assert (ROOT / file).is_file()
        first = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
        assert "".join(first["source"]) == INSTALL


def test_another_repository_is_one_change(tmp_path: Path):
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[project]\nurls = {Repository = "https://github.com/someone/fork/"}\n')
    address = repository(pyproject)
    assert address == "https://github.com/someone/fork"
    assert "/github/someone/fork/blob/main/notebooks/07_se.ipynb)" in badges(address, "notebooks/07_se.ipynb")


@pytest.mark.parametrize("urls", ["", 'Repository = "https://example.org/a/b"', 'Repository = "https://github.com/a"'])
def test_an_address_that_colab_cannot_open_is_refused(urls: str, tmp_path: Path):
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text(f"[project]\n[project.urls]\n{urls}\n")
    with pytest.raises(SkinlesionError, match=r"expected https://github\.com/OWNER/NAME"):
        repository(pyproject)


def test_it_looks_for_every_package_of_the_course():
    modules = {}
    for module, distributions in packages_distributions().items():
        for name in distributions:
            modules.setdefault(name.lower().replace("_", "-"), set()).add(module)
    extras = PROJECT["optional-dependencies"]
    for line in [*extras["train"], *extras["explain"], *extras["course"]]:
        name = re.match(r"[\w.-]+", line)[0].lower()
        if name not in ("skinlesion", "jupyterlab"):  # the lessons run in any notebook, not only in JupyterLab
            assert modules[name] & set(MODULES), name


def test_it_does_nothing_where_all_is_installed(capsys, monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)
    exec(INSTALL, scope := {})
    assert capsys.readouterr() == ("", "")
    assert set(scope) - {"__builtins__"} == {"install_what_is_missing"}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with everything but skinlesion itself."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True, symlinks=True)
    site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not (re.search("skinlesion|^_*editable", path.name) or (site / path.name).exists()):
            (site / path.name).symlink_to(path)
    return folder / "bin" / "python"


def run(python: Path, code: str, index: Path) -> subprocess.CompletedProcess[str]:
    """Code in an interpreter whose pip knows a folder and no index, away from the checkout.

    The other packages are there, perhaps in newer versions than pip would choose, so pip leaves them alone.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "CI")}
    environment |= {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_FIND_LINKS": str(index)}
    command = [str(python), "-c", code]
    return subprocess.run(command, cwd=index, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_it_fails_in_one_sentence_where_nothing_can_be_installed(bare: Path, tmp_path: Path):
    found = run(bare, INSTALL, tmp_path)
    assert "Not installed here: skinlesion\n" in found.stdout
    last = found.stderr.strip().splitlines()[-1]
    assert last.startswith("RuntimeError: pip could not install skinlesion[course]")
    assert "No matching distribution found for skinlesion" in last


@pytest.mark.slow
def test_it_installs_the_course_and_says_so(bare: Path, tmp_path: Path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    begin = "from skinlesion import lessons\nlessons.setup()\nimport skinlesion\nprint(skinlesion.__file__)"
    first = run(bare, f"{INSTALL}\n{begin}", tmp_path)
    assert first.returncode == 0, first.stderr
    said = first.stdout.splitlines()
    assert said[:2] == [
        "Not installed here: skinlesion",
        "Installing skinlesion[course] with pip. This takes a few minutes ...",
    ]
    assert said[2].startswith("Installed.")
    assert Path(said[3]).is_relative_to(bare.parents[1])  # the wheel's, not the checkout's
    again = run(bare, f"{INSTALL}\n{begin}", tmp_path)
    assert again.stdout.splitlines() == said[3:]
