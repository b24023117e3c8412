"""How the documentation is built; `nox -s docs` builds it."""

from __future__ import annotations

import sys
from pathlib import Path

from realtime_async import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "realtime_async"
copyright = "the realtime_async developers"
release = __version__

extensions = [
    "house_docstrings",
    "myst_parser",
    "phase_table",
    "sphinx.ext.autodoc",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"realtime_async {release}"

# A name in single backticks, in a docstring, is a piece of Python.
default_role = "py:obj"

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 100
autodoc_default_options = {"members": True, "undoc-members": True}
