"""What the process took over time, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from tests.soak.footprint import Sample

__all__ = ["draw"]


def draw(samples: Sequence[Sample], path: Path, title: str) -> None:
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "realtime_async", "font.size": 9})
    minutes = [each.at_s / 60 for each in samples]
    rows = {
        "memory, MB": [each.resident_mb for each in samples],
        "file descriptors": [each.descriptors for each in samples],
        "restarts so far": [each.restarts for each in samples],
    }
    figure = Figure(figsize=(8, 5), layout="constrained")
    figure.suptitle(title, fontsize=10)
    for axes, (name, values) in zip(figure.subplots(len(rows), 1, sharex=True), rows.items(), strict=True):
        axes.plot(minutes, values, linewidth=1, color="tab:blue")
        axes.set_ylim(bottom=0)
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("minutes")
    figure.savefig(path, metadata={"Date": None})
