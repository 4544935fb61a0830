"""Sphinx settings of the site; `make docs` builds it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from skinlesion.version import __version__

project = "skinlesion"
author = "The skinlesion developers"
copyright = "the skinlesion authors, MIT license"
release = version = __version__
html_title = "skinlesion"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["notebooks/*.ipynb"]  # to be downloaded: the solved ones are shown

# The notebooks are shown as they were run for the repository.
nb_execution_mode = "off"
nb_merge_streams = True
suppress_warnings = ["mystnb.unknown_mime_type"]  # of an interactive figure, its text is shown
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

default_role = "literal"  # docstrings mark names as Markdown does
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures have them
napoleon_use_rtype = False
napoleon_use_ivar = True  # named tuples describe their fields twice otherwise
autodoc_default_options = {"members": True, "show-inheritance": True}

html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_theme_options = {"use_download_button": False, "show_toc_level": 2, "home_page_in_toc": True}
mathjax_path = "mathjax/tex-mml-chtml.js"  # copied from npm, so that the site works offline
