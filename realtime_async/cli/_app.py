"""The commands, as their help tells them; what each does stands in a function of its own elsewhere."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from realtime_async.cli import _commands
from realtime_async.cli._asking import VARIABLE, Exit, answer
from realtime_async.cli._demo import Demo
from realtime_async.cli._demo import demo as call
from realtime_async.cli._doctor import doctor as examine

__all__ = ["app"]

app = typer.Typer(
    help="Look into a journal of realtime_async, and ask what happened. "
    "Exit codes: 0 fine, 1 something is wrong with what the journal holds, "
    "2 a wrong question, or a journal that cannot be reached.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Journal = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="URL",
        envvar=VARIABLE,
        show_default=False,
        help="sqlite:FILE, or postgresql://USER@HOST:PORT/DATABASE.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one value a line.")]
Run = Annotated[str, typer.Argument(metavar="RUN", help="The id of a run.", show_default=False)]


@app.command()
def runs(
    journal: Journal = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="Only runs that bear it.")] = None,
    after: Annotated[str, typer.Option(metavar="RUN", help="Begin after this run.", show_default=False)] = "",
    json: Json = False,
) -> None:
    """List the runs of a journal, in the order of their ids."""
    answer(partial(_commands.runs, journal, after, tag, json=json))


@app.command()
def show(
    run: Run,
    journal: Journal = None,
    after: Annotated[int, typer.Option(metavar="SEQ", min=0, help="Begin after this record.")] = 0,
    json: Json = False,
) -> None:
    """Show the records of a run: when, what, how far each half stands, and what failed."""
    answer(partial(_commands.show, journal, run, after, json=json))


@app.command()
def verify(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="All runs unless told.", show_default=False)
    ] = None,
    journal: Journal = None,
    json: Json = False,
) -> None:
    """
    Check that a run is whole: its sequence, one result for each intent, and its totals.

    Exit code 1 where a record is missing, damaged or wrong; it is named.
    """
    answer(partial(_commands.verify, journal, run, json=json))


@app.command()
def tail(
    run: Run,
    journal: Journal = None,
    last: Annotated[
        int, typer.Option("--last", metavar="COUNT", min=0, help="Show so many records from before.")
    ] = 10,
    json: Json = False,
) -> None:
    """Follow a run while it is written, until it has ended; Ctrl-C leaves it."""
    answer(partial(_commands.tail, journal, run, last, json=json), interrupted=Exit.FINE)


@app.command()
def report(
    run: Run,
    journal: Journal = None,
    input_rate: Annotated[
        int | None,
        typer.Option(
            metavar="HZ",
            min=1,
            show_default=False,
            help="Of the pcm16 mono that was sent: tells its seconds.",
        ),
    ] = None,
    output_rate: Annotated[
        int | None, typer.Option(metavar="HZ", min=1, show_default=False, help="Of that received.")
    ] = None,
    json: Json = False,
) -> None:
    """
    Tell what of a run was never heard, heard late, or heard twice, and what happened to its connections.

    What answers cost is told in the provider's tokens, as far as it said so.
    """
    answer(partial(_commands.report, journal, run, input_rate, output_rate, json=json))


@app.command()
def export(
    run: Run,
    journal: Journal = None,
    form: Annotated[
        _commands.Format, typer.Option("--format", help="One record a line.")
    ] = _commands.Format.JSONL,
) -> None:
    """Write the records of a run to the output, as JSON."""
    answer(partial(_commands.export, journal, run, form))


@app.command()
def doctor(
    journal: Journal = None,
    json: Json = False,
) -> None:
    """Say what is installed, which sound device there is, whether the journal is reachable, and which keys are set."""
    answer(partial(examine, journal, json=json))


@app.command()
def migrate(journal: Journal = None) -> None:
    """Make the tables of a PostgreSQL journal, or bring them to this release; it may be done again."""
    answer(partial(_commands.migrate, journal))


@app.command()
def demo(
    question: Annotated[
        str, typer.Argument(metavar="QUESTION", help="What is asked, in English.")
    ] = "please book a table for two",
    journal: Journal = None,
    sound: Annotated[
        Path | None,
        typer.Option(
            "--input",
            metavar="FILE.wav",
            show_default=False,
            help="A spoken question instead, 16 bit, at any rate.",
        ),
    ] = None,
    microphone: Annotated[
        bool,
        typer.Option("--microphone", help="Speak to it; say goodbye to end the call. Needs the extra audio."),
    ] = False,
    speaker: Annotated[
        bool, typer.Option("--speaker", help="Hear its answers; needs the extra audio.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.wav", show_default=False, help="Keep the answers as sound.")
    ] = None,
    restart_at: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0.1,
            show_default=False,
            help="Replace the connection after so much was said.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Hold a call with a bot in this process, without a network, and journal it; this needs the extra local."""
    asked = Demo(
        question=question,
        input=sound,
        microphone=microphone,
        speaker=speaker,
        output=output,
        restart_at_s=restart_at,
    )
    answer(partial(call, journal, asked, json=json))
