"""How the documentation is built; `nox -s docs` builds it."""

from __future__ import annotations

import sys
from pathlib import Path

from realtime_async import __version__

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

project = "realtime_async"
copyright = "the realtime_async developers"
release = __version__

extensions = [
    "error_list",
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

nitpicky = True

nitpick_ignore_regex = [
    # Other packages: no network is asked for their inventories.
    ("py:.*", rf"(_pytest|anyio|hypothesis|websockets|{'|'.join(sys.stdlib_module_names)})\..*"),
    # One of anyio's, which is imported where types are checked alone.
    ("py:class", "TaskGroup"),
    # Type variables.
    ("py:class", r"(.*\.)?(Args|F|Id|T)"),
    # What has a private name may change: a signature that shows it says enough.
    ("py:class", r"realtime_async\.(.*\.)?_.*"),
    # Sphinx looks for the first half of "tuple of any length".
    ("py:class", r"tuple\[.*"),
]

myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
maximum_signature_line_length = 100
autodoc_default_options = {"members": True, "undoc-members": True}
