"""
The `phase-table` and `phase-moves` directives: which operation is legal in which phase, and what leads where.

They are drawn from the tables that the runtime itself asks, so the page cannot say anything else.
"""

from __future__ import annotations

from collections.abc import Mapping

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from realtime_async._core.lifecycle import ALLOWED, NEXT, Happening, Operation, Phase, Verdict

__all__ = ["PhaseMoves", "PhaseTable", "setup"]

NOT_ALLOWED = "error"

# A verdict without a meaning stops the build.
MEANING: Mapping[str, str] = {
    Verdict.GO: "It is carried out.",
    Verdict.GATE: "The frame waits in the gate for the next connection.",
    Verdict.WAIT: "It goes on when there is a connection again.",
    Verdict.FENCE: "It is recorded and holds back the rest of the answer; there is no provider to tell.",
    Verdict.SHARE: "It waits for the close under way and returns the same result.",
    Verdict.NONE: "The stream has ended: it returns None.",
    Verdict.REPEAT: "It returns the same terminal record again.",
    NOT_ALLOWED: "SessionStateError, before anything is written or called.",
}


class PhaseTable(SphinxDirective):
    """One row per phase, one column per operation, and what the words in the cells mean."""

    def run(self) -> list[nodes.Node]:
        operations = list(Operation)
        head = row(["phase", *operations])
        body = [
            row([phase, *(allowed.get(each, NOT_ALLOWED) for each in operations)])
            for phase, allowed in ALLOWED.items()
        ]
        columns = [nodes.colspec(colwidth=1) for _ in range(len(operations) + 1)]
        group = nodes.tgroup(
            "", *columns, nodes.thead("", head), nodes.tbody("", *body), cols=len(operations) + 1
        )
        return [nodes.table("", group), meanings()]


class PhaseMoves(SphinxDirective):
    """One row per happening: the phases that it moves a session from, and to."""

    def run(self) -> list[nodes.Node]:
        body = [row([happening, *moves_at(happening)]) for happening in Happening]
        columns = [nodes.colspec(colwidth=width) for width in (2, 5, 2)]
        head = row(["what happens", "in the phase", "leads to"])
        group = nodes.tgroup("", *columns, nodes.thead("", head), nodes.tbody("", *body), cols=3)
        return [nodes.table("", group)]


def moves_at(happening: Happening) -> tuple[str, str]:
    """From where, and to where; every happening has one end."""
    origins = [phase for phase, what in NEXT if what is happening]
    (end,) = {NEXT[phase, happening] for phase in origins}
    return "any" if set(origins) == set(Phase) else ", ".join(origins), end


def row(words: list[str]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=spoken(word))) for word in words))


def meanings() -> nodes.definition_list:
    entries = [
        nodes.definition_list_item(
            "", nodes.term(text=spoken(word)), nodes.definition("", nodes.paragraph(text=MEANING[word]))
        )
        for word in (*Verdict, NOT_ALLOWED)
    ]
    return nodes.definition_list("", *entries)


def spoken(word: str) -> str:
    return word.replace("_", " ")


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_directive("phase-table", PhaseTable)
    app.add_directive("phase-moves", PhaseMoves)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
