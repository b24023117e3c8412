"""
Lets autodoc read docstrings as this package writes them.

The names that `realtime_async` offers say that they live there, so autodoc would look for the texts
under their fields in the wrong file.
Napoleon knows `Args:` and `Raises:`, but takes the text under a field for "type: description".
What stands indented between paragraphs is code or a drawing.
"""

from __future__ import annotations

from pkgutil import walk_packages

from sphinx.application import Sphinx
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.typing import ExtensionMetadata

import realtime_async

__all__ = ["setup"]


def share_field_texts(app: Sphinx) -> None:
    """Let the package know the texts under the fields of all its private classes."""
    package = ModuleAnalyzer.for_module("realtime_async")
    package.analyze()
    for found in walk_packages(realtime_async.__path__, "realtime_async."):
        if "._" in found.name:
            package.attr_docs.update(ModuleAnalyzer.for_module(found.name).find_attr_docs())


def read_docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    for number in reversed(range(2, len(lines))):
        before, blank, line = lines[number - 2 : number + 1]
        if line.startswith("    ") and not blank and before and not before.startswith((" ", "..")):
            lines[number:number] = ["::", ""]
    if what not in {"attribute", "property"}:
        lines[:] = GoogleDocstring(lines, name=name, obj=obj).lines()


def setup(app: Sphinx) -> ExtensionMetadata:
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("builder-inited", share_field_texts)
    app.connect("autodoc-process-docstring", read_docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
