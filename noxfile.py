"""
Everything that the project runs on itself.

With nox at hand: `nox -s tests`, or `nox` for all that a change must pass.
Without it: `python3 noxfile.py -s tests` makes an environment of its own, installs nox there and hands over.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parent
NOX_HOME = ROOT / ".nox" / "nox"


def hand_over_to_nox() -> NoReturn:
    """Run nox on this file with our own arguments, from an environment that holds nothing else."""
    if sys.version_info < (3, 11):  # noqa: UP036 - anything may have started this script
        sys.exit("realtime_async needs Python 3.11 or later; this is " + sys.version.split()[0])
    scripts = NOX_HOME / ("Scripts" if sys.platform == "win32" else "bin")
    nox_program = scripts / ("nox.exe" if sys.platform == "win32" else "nox")
    # pip writes its programs last: where nox is, its installation was not cut short.
    if not nox_program.exists():
        print(f"installing nox in {NOX_HOME}", flush=True)
        try:
            venv.create(NOX_HOME, clear=True, with_pip=True)
        except subprocess.CalledProcessError:
            sys.exit(
                "This Python makes no virtual environments; on Debian and Ubuntu: apt install python3-venv"
            )
        subprocess.run([scripts / "python", "-m", "pip", "install", "--quiet", "nox>=2026.1"], check=True)
    arguments = ["--noxfile", __file__, *sys.argv[1:]]
    sys.exit(subprocess.run([nox_program, *arguments], check=False).returncode)


if __name__ == "__main__":
    hand_over_to_nox()

import nox  # noqa: E402 - what stands above must run where nox isn't installed

PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")

nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests", "coverage", "docs", "bot", "examples"]


@nox.session
def bot(session: nox.Session) -> None:
    """Ask the offline voice bot a question, and hear its answer; arguments go to the bot."""
    install(session, ".[local,trio]")
    session.run("python", "examples/offline_bot.py", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Run each example once, as it stands."""
    install(session, ".[cli,examples,local,test]")
    journal = Path(session.create_tmp(), "calls.db")
    answer = Path(session.create_tmp(), "answer.wav")
    files = ["--journal", str(journal)]
    session.run("python", "examples/make_question.py", "--output", str(answer.with_name("question.wav")))
    session.run("python", "examples/offline_bot.py", *files, "--output", str(answer), "--restart-at", "1")
    session.run("python", "examples/show_journal.py", str(journal))
    session.run("python", "examples/trio_bot.py", *files)
    session.run("python", "examples/agent_loop.py", *files)
    session.run("pytest", "examples/test_my_bot.py")


@nox.session
def picture(session: nox.Session) -> None:
    """Draw the picture of a run that the documentation shows, from a run of the offline bot."""
    install(session, ".[examples,local]")
    journal = Path(session.create_tmp(), "calls.db")
    answer = Path(session.create_tmp(), "answer.wav")
    files = ["--journal", str(journal), "--output", str(answer)]
    session.run("python", "examples/offline_bot.py", *files, "--restart-at", "1")
    session.run("python", "examples/show_journal.py", str(journal), "--picture", "docs/run.svg")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite, measuring its coverage; with arguments, run pytest with them instead."""
    install(session, ".[cli,examples,local,test]")
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest")


@nox.session(python=["3.11", "3.12", "3.13", "3.14"], tags=["slow"])
def pythons(session: nox.Session) -> None:
    """Run the test suite on every Python that is installed."""
    install(session, ".[cli,examples,local,test]")
    session.run("pytest", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Report what the last `tests` covered; the core must be covered whole, branches too."""
    session.install("coverage", silent=False)
    if not (ROOT / ".coverage").exists():
        session.error("there is nothing to report: run `nox -s tests` first")
    session.run("coverage", "report")
    session.run("coverage", "report", "--include=realtime_async/_core/*", "--fail-under=100")


@nox.session
def lint(session: nox.Session) -> None:
    """Check form, likely bugs, calls that only one event loop knows, and who imports whom."""
    install(session, ".", *dependency_group("lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check", "--diff")
    session.run("lint-imports", "--no-cache")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of everything that is Python."""
    install(session, ".[audio,cli,docs,examples,local,test]", *dependency_group("types"))
    session.run("mypy", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; every warning is an error."""
    install(session, ".[cli,docs,local,test]")
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-E", "-b", "html", "docs", "docs/_build/html")


@nox.session(tags=["slow"])
def links(session: nox.Session) -> None:
    """Ask each site that the documentation links to whether the page is still there; this needs a network."""
    install(session, ".[cli,docs,local,test]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "linkcheck", "docs", "docs/_build/links")


@nox.session(tags=["slow"])
def bench(session: nox.Session) -> None:
    """Measure what a frame costs; arguments go to the benchmark."""
    install(session, ".[test]")
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session(tags=["slow"])
def faults(session: nox.Session) -> None:
    """Take the provider away while somebody speaks, at real lengths, and tell what was lost and how late the rest was."""
    install(session, ".[test]")
    session.run("python", "-m", "tests.faults", *session.posargs)


@nox.session(tags=["slow"])
def soak(session: nox.Session) -> None:
    """Hold calls with a provider that goes wrong again and again, and see that nothing grows; `--minutes 30` unless told."""
    install(session, ".[examples,test]")
    session.run("python", "-m", "tests.soak", *session.posargs)


@nox.session(tags=["slow"])
def database(session: nox.Session) -> None:
    """Restart a PostgreSQL server while calls go on, at real lengths, and tell what they noticed."""
    install(session, ".[test]")
    session.run("python", "-m", "tests.faults.database", *session.posargs)


@nox.session(tags=["slow"])
def planted(session: nox.Session) -> None:
    """Plant each known fault in a copy of the package, and see the test that it belongs to fail."""
    install(session, ".[cli,examples,local,test]")
    session.run("python", "tests/planted/run.py", *session.posargs)


def install(session: nox.Session, project: str, *others: str) -> None:
    """Install *project* from this tree, editable, and *others*; pip shows how far it is."""
    session.install("-e", project, *others, silent=False)


def dependency_group(name: str) -> list[str]:
    """Return the requirements of one of pyproject's dependency groups."""
    return [*nox.project.dependency_groups(PYPROJECT, name)]
