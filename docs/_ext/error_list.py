"""
The `error-list` directive: every public error, with messages that a program meets.

Each error is provoked while the page is built, so what stands there is what a program reads.
"""

from __future__ import annotations

import logging
from inspect import cleandoc

import structlog
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from docs._ext.provoked_errors import Provocation, met_by, provoke
from realtime_async import errors

__all__ = ["ErrorList", "setup"]


class ErrorList(SphinxDirective):
    """A section per class, in the order of the module; in it what was done, and what was raised."""

    def run(self) -> list[nodes.Node]:
        # The sessions log what happens to them, which is not for whoever builds the pages.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        classes = [each for each in vars(errors).values() if is_error(each) and met_by(each)]
        return [self.section(each) for each in classes]

    def section(self, error: type[errors.AgentError]) -> nodes.section:
        name = error.__name__
        title = nodes.title("", "", nodes.literal(text=name))
        met = nodes.definition_list("", *(self.item(each) for each in met_by(error)))
        return nodes.section("", title, *self.told(error.__doc__), met, ids=[nodes.make_id(name)])

    def told(self, docstring: str | None) -> list[nodes.Node]:
        paragraphs = cleandoc(docstring or "").split("\n\n")
        return [nodes.paragraph("", "", *self.parse_inline(each)[0]) for each in paragraphs if each]

    def item(self, provocation: Provocation) -> nodes.definition_list_item:
        error = provoke(provocation)
        return nodes.definition_list_item(
            "",
            nodes.term("", "", *self.parse_inline(provocation.what_was_done)[0]),
            nodes.definition(
                "",
                nodes.paragraph("", "", nodes.literal(text=error.message)),
                nodes.paragraph("", "", *self.parse_inline(f"kind `{error.kind}`, retry `{error.retry}`")[0]),
            ),
        )


def is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, errors.AgentError)


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_directive("error-list", ErrorList)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
