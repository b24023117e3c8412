"""What was measured, as tables of plain text and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

__all__ = ["AtLeast", "AtMost", "Figure", "Goal", "Row", "Table", "quantile"]


@attrs.frozen
class AtMost:
    limit: float

    def is_reached(self, value: float) -> bool:
        return value <= self.limit

    def __str__(self) -> str:
        return f"≤ {self.limit:g}"


@attrs.frozen
class AtLeast:
    limit: float

    def is_reached(self, value: float) -> bool:
        return value >= self.limit

    def __str__(self) -> str:
        return f"≥ {self.limit:g}"


Goal = AtMost | AtLeast


@attrs.frozen
class Figure:
    """One quantity, read once in each round; its median is held against the goal."""

    readings: tuple[float, ...] = attrs.field(converter=tuple[float, ...])
    goal: Goal | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.readings)

    @property
    def verdict(self) -> str | None:
        if self.goal is None:
            return None
        return "reached" if self.goal.is_reached(self.median) else "not reached"

    def __str__(self) -> str:
        if len(self.readings) == 1:
            return _shown(self.median)
        return f"{_shown(self.median)} ({_shown(min(self.readings))}–{_shown(max(self.readings))})"


@attrs.frozen
class Row:
    label: str
    figures: tuple[Figure | None, ...] = attrs.field(converter=tuple[Figure | None, ...])
    """One for each column; None where the column says nothing about this row."""


@attrs.frozen
class Table:
    title: str
    columns: tuple[str, ...]
    rows: Sequence[Row]

    def __str__(self) -> str:
        cells = [["", *self.columns, "goal"], *(self._cells(row) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in cells
        ]
        return "\n".join([self.title, *(f"  {line}" for line in lines)])

    def _cells(self, row: Row) -> list[str]:
        goals = [
            f"{column} {figure.goal}: {figure.verdict}"
            for column, figure in zip(self.columns, row.figures, strict=True)
            if figure is not None and figure.goal is not None
        ]
        return [
            row.label,
            *("" if figure is None else str(figure) for figure in row.figures),
            "; ".join(goals) or "–",
        ]

    def as_json(self) -> Iterator[dict[str, Any]]:
        """One entry for each figure."""
        for row in self.rows:
            for column, figure in zip(self.columns, row.figures, strict=True):
                if figure is not None:
                    yield {
                        "table": self.title,
                        "row": row.label,
                        "column": column,
                        "median": figure.median,
                        "readings": figure.readings,
                        "goal": None if figure.goal is None else str(figure.goal),
                        "verdict": figure.verdict,
                    }


def quantile(values: Sequence[float], share: float) -> float:
    """The value that *share* of *values* do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _shown(value: float) -> str:
    for least, form in ((100, ",.0f"), (10, ".1f"), (0.1, ".2f")):
        if abs(value) >= least:
            return f"{value:{form}}"
    return f"{value:.3f}"
