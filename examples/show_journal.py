"""
What happened in a run, from its journal: as a table, and as a picture of both halves of the session.

    python examples/show_journal.py calls.db
    python examples/show_journal.py calls.db --run offline-bot.1a2b3c4d5e6f --picture run.svg

It needs the extra examples.
The last run of the file is shown unless another one is named.
A journal holds no content, so neither do the table and the picture: they tell when, how much, and how it ended.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path

import anyio
import attrs

from realtime_async import AgentError, JournalRecord, RunId
from realtime_async import RealtimeSessionRecordKind as Kind
from realtime_async.journals import open_journal
from realtime_async.reports import Step, steps_of

try:
    from rich.console import Console
    from rich.table import Table
except ImportError as missing:
    sys.exit(f"show_journal: {missing.name} is missing: pip install -e '.[examples]'")

WIDE = 160

SPEAKS, FALLS_SILENT = "speech_started", "speech_stopped"
ANSWER_BEGINS, ANSWER_ENDS = "response_started", "response_done"


@attrs.frozen
class Stretch:
    begins_s: float
    ends_s: float

    @property
    def bar(self) -> tuple[float, float]:
        return self.begins_s, max(self.ends_s - self.begins_s, 0.004)


# The table


def table(steps: Iterable[Step], run_id: str) -> Table:
    shown = Table(title=f"run {run_id}", title_justify="left", box=None)
    for heading in ("seq", "at s", "took ms", "frames", "kB", "gate"):
        shown.add_column(heading, justify="right")
    for heading in ("what", "about"):
        shown.add_column(heading)
    for step in steps:
        shown.add_row(*row(step), style=style(step))
    return shown


def row(step: Step) -> Iterator[str]:
    payload = step.record.payload
    is_result = step.since_intent_s is not None
    yield str(step.record.journal_seq)
    yield f"{step.at_s:.3f}"
    yield f"{step.since_intent_s * 1000:.0f}" if step.since_intent_s is not None else ""
    yield str(payload.extent.frames) if payload.extent is not None else ""
    yield f"{payload.extent.bytes / 1000:.1f}" if payload.extent is not None and is_result else ""
    yield str(payload.backpressure_state.queued_frames or "")
    yield payload.kind
    yield step.about


def style(step: Step) -> str:
    if step.is_trouble:
        return "red"
    if step.is_notable:
        return "yellow"
    return "dim" if step.since_intent_s is None else ""


# What the picture shows


def sent(steps: Iterable[Step], *kinds: Kind) -> list[Stretch]:
    """When frames went to the provider: from their intent on, or from the frames before them."""
    stretches: list[Stretch] = []
    for step in steps:
        if step.kind in kinds:
            before = stretches[-1].ends_s if stretches else 0.0
            stretches.append(Stretch(max(step.at_s - (step.since_intent_s or 0), before), step.at_s))
    return stretches


def received(steps: Iterable[Step]) -> list[Stretch]:
    """When frames came: many of them in the time since the one before, or a single one."""
    stretches: list[Stretch] = []
    for step in steps:
        if step.kind is Kind.OUTPUT_RECEIVED:
            many = step.record.payload.extent is not None and stretches
            stretches.append(Stretch(stretches[-1].ends_s if many else step.at_s, step.at_s))
    return stretches


def summary(step: Step) -> str:
    return step.record.payload.redacted_summary or ""


def between(steps: Sequence[Step], first: str, last: str) -> list[Stretch]:
    """From each *first* to the next *last*; a *first* that comes again in between is the same one."""
    stretches = []
    begun: float | None = None
    for step in steps:
        if summary(step) == first and begun is None:
            begun = step.at_s
        elif summary(step) == last and begun is not None:
            stretches.append(Stretch(begun, step.at_s))
            begun = None
    return [*stretches, Stretch(begun, steps[-1].at_s)] if begun is not None else stretches


def restarts(steps: Sequence[Step]) -> list[Stretch]:
    """From the request to the new connection, or to the end where there was none."""
    stretches = []
    begun: float | None = None
    for step in steps:
        if step.kind is Kind.RESTART_REQUESTED:
            begun = step.at_s
        elif step.kind is Kind.RESTART_COMPLETED and begun is not None:
            stretches.append(Stretch(begun, step.at_s))
            begun = None
    return [*stretches, Stretch(begun, steps[-1].at_s)] if begun is not None else stretches


def draw(steps: Sequence[Step], run_id: str, picture: Path) -> None:
    """Draw the run into *picture*, in the format that its name ends in."""
    # It takes a second to import, and the table doesn't need it.
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    lanes = [
        ("person speaks", "tab:orange", between(steps, SPEAKS, FALLS_SILENT)),
        ("input sent", "tab:blue", sent(steps, Kind.INPUT_SENT)),
        ("input said again", "tab:cyan", sent(steps, Kind.INPUT_REPLAYED)),
        ("output received", "tab:olive", received(steps)),
        ("answers", "tab:green", between(steps, ANSWER_BEGINS, ANSWER_ENDS)),
    ]
    # Words stay words, and the same run makes the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "realtime_async"}):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        halves, gate = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        for height, (_, colour, stretches) in enumerate(lanes):
            halves.broken_barh([stretch.bar for stretch in stretches], (height - 0.35, 0.7), color=colour)
        halves.set_yticks(range(len(lanes)), [name for name, _, _ in lanes])
        halves.set_ylim(len(lanes) - 0.4, -0.6)
        halves.set_title(f"run {run_id}", loc="left", fontsize="medium")
        times = [step.at_s for step in steps]
        depth = [step.record.payload.backpressure_state.queued_frames for step in steps]
        gate.step(times, depth, where="post", color="tab:red")
        gate.fill_between(times, depth, step="post", color="tab:red", alpha=0.3)
        gate.set_ylim(0, 1.1 * max(1, *depth))
        gate.yaxis.get_major_locator().set_params(integer=True)
        gate.set_ylabel("frames in\nthe gate")
        gate.set_xlabel("seconds")
        for axes in (halves, gate):
            for restart in restarts(steps):
                axes.axvspan(
                    restart.begins_s, restart.ends_s, color="tab:purple", alpha=0.25, label="restart"
                )
            for step in steps:
                if step.kind is Kind.INTERRUPT_REQUESTED:
                    axes.axvline(step.at_s, color="black", linestyle=":", label="interruption")
        handles, labels = halves.get_legend_handles_labels()
        marks = dict(zip(labels, handles, strict=True))
        if marks:
            figure.legend(marks.values(), marks.keys(), loc="outside upper right", fontsize="small", ncols=2)
        metadata = {"Date": None} if picture.suffix == ".svg" else None
        figure.savefig(picture, metadata=metadata)


# The program


async def read(journal: Path, run_id: str | None) -> list[JournalRecord]:
    """The records of a run; None: of the one that was written last."""
    async with open_journal(f"sqlite:{journal}") as opened:
        if run_id is None:
            runs = [run async for run in opened.runs()]
            if not runs:
                sys.exit(f"show_journal: {str(journal)!r} holds no run yet")
            run_id = max(runs, key=lambda run: run.began_millis or 0).run_id
        return [record async for record in opened.read(RunId(run_id))]


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Show a run as a table, and as a picture.")
    parser.add_argument("journal", type=Path, metavar="FILE.db", help="what a SqliteJournal wrote")
    parser.add_argument("--run", metavar="RUN_ID", help="the last one unless told")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.svg|.png", help="draw it, too; needs the extra examples"
    )
    options = parser.parse_args(arguments)
    if options.picture is not None and options.picture.suffix not in {".svg", ".png"}:
        parser.error(f"--picture {options.picture}: the name of a picture ends in .svg or .png")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    if isinstance(sys.stdout, TextIOWrapper):
        # A file may be called what it has no letters for.
        sys.stdout.reconfigure(errors="backslashreplace")
    if not options.journal.is_file():
        sys.exit(f"show_journal: there is no file {str(options.journal)!r}")
    try:
        records = anyio.run(read, options.journal, options.run)
        if not records:
            sys.exit(f"show_journal: {str(options.journal)!r} holds no run {options.run!r}")
        steps, run_id = list(steps_of(records)), records[0].run_id
        screen = Console()
        # Without a terminal nothing is cut off.
        screen = screen if screen.is_terminal else Console(width=WIDE)
        screen.print(table(steps, run_id))
        if options.picture is not None:
            draw(steps, run_id, options.picture)
            print(options.picture)
    except ImportError as error:
        sys.exit(f"show_journal: a picture needs {error.name}: pip install -e '.[examples]'")
    except (AgentError, OSError) as error:
        sys.exit(f"show_journal: {error}")


if __name__ == "__main__":
    main()
