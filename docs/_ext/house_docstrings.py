"""
Lets autodoc read docstrings as this package writes them.

The names that `realtime_async` offers say that they live there, so autodoc would look for the texts
under their fields in the wrong file.
Napoleon knows `Args:` and `Raises:`, but takes the text under a field, and that of `Returns:`, for "type: description".
What stands indented between paragraphs is code or a drawing.
A name in backticks is looked for in the whole package; one in lower case may be a value, or somebody else's, and is
left alone where it isn't found.
"""

from __future__ import annotations

import builtins
import re
from pkgutil import walk_packages

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import ExtensionMetadata

import realtime_async

__all__ = ["setup"]


def share_field_texts(app: Sphinx) -> None:
    """Let each package know the texts under what its own modules define."""
    modules = [found.name for found in walk_packages(realtime_async.__path__, "realtime_async.")]
    for package in ("realtime_async", *modules):
        texts = analyzed(package).attr_docs
        for inner in modules:
            if inner.startswith(f"{package}."):
                texts |= analyzed(inner).find_attr_docs()


def analyzed(module: str) -> ModuleAnalyzer:
    analyzer = ModuleAnalyzer.for_module(module)
    analyzer.analyze()
    return analyzer


class HouseDocstring(GoogleDocstring):
    """Its `Returns:` is a sentence, which may have a colon, and no type before it."""

    def _consume_returns_section(self, preprocess_types: bool = False) -> list[tuple[str, str, list[str]]]:  # noqa: FBT001, FBT002 - napoleon's own
        return [("", "", self._dedent(self._consume_to_next_section()))]


def read_docstring(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    for number in reversed(range(2, len(lines))):
        before, blank, line = lines[number - 2 : number + 1]
        if line.startswith("    ") and not blank and before and not before.startswith((" ", "..")):
            lines[number:number] = ["::", ""]
    if lines[:1] and re.fullmatch(r"Alias for field number \d+", lines[0]):
        # A named tuple's own words for a field without any.
        lines.clear()
    if what not in {"attribute", "property"}:
        lines[:] = HouseDocstring(lines, name=name, obj=obj).lines()


def read_signature(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Show a default that attrs makes anew each time as one, and not by attrs' name for having none."""
    return signature and signature.replace("NOTHING", "..."), returns


def leave_builtins(app: Sphinx, doctree: nodes.document) -> None:
    """Link no type of Python's own: Sphinx would take `bytes` for any field that is called so."""
    for node in list(doctree.findall(pending_xref)):
        if node.get("reftype") == "class" and hasattr(builtins, node["reftarget"]):
            node.replace_self(node.children)


def find_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.TextElement
) -> nodes.Node | None:
    """Link the name to the one object that is called so; None: Sphinx may complain of it."""
    name: str = node["reftarget"].partition("(")[0]
    if node.get("reftype") != "obj":
        return None
    domain = env.domains.python_domain
    called_so = {full for full in domain.objects if f".{full}".endswith(f".{name}")}
    at_home = {full for full in called_so if full.rpartition(".")[2] == name} & {f"realtime_async.{name}"}
    for full in at_home or (called_so if len(called_so) == 1 else ()):
        found = domain.objects[full]
        return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, shown, full)
    is_ours = re.fullmatch(r"[A-Z][a-z]+[A-Z]\w*", name) and not called_so
    return None if is_ours else shown


def setup(app: Sphinx) -> ExtensionMetadata:
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("builder-inited", share_field_texts)
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", read_signature)
    app.connect("doctree-read", leave_builtins)
    app.connect("missing-reference", find_name)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
