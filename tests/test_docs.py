"""
The code in the documentation runs, what it names exists, and its links lead somewhere.

A fence tagged `python` is run: the blocks of a page, in order, are one program, started in an empty folder.
Those tagged `sql` are run between them, by the owner of an empty PostgreSQL database that the page gets.
Tests among them are then run by pytest, too.
In a fence tagged `console` are commands; where lines begin with `$`, only those, and the rest is what they print.
Those that run an example run, in the same folder; the others are held against what they name.
"""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import pytest
import structlog

from realtime_async._shell.speaking import LEVELS, LEVELS_BESIDE_RECORDS
from tests.bench.__main__ import SECTIONS
from tests.postgres_server import DatabaseMaker

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

# Directives apart, a fence is one of these; of the last one nothing can be asked.
TAGS = {"python", "console", "sql", "text"}

HOSTS = {"anyio.readthedocs.io", "keepachangelog.com", "semver.org", "www.structlog.org"}

FENCE = re.compile(r"^```(?P<tag>\S*)[^\n]*\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)(?P<target>[^)#]+)[^)]*\)")
URL = re.compile(r"\bhttps?://[^\s)>`'\"]+")


@attrs.frozen
class Fence:
    tag: str
    code: str
    line: int
    """Of the first line of code, counted from 1."""


def fences(page: Path, tag: str | None = None) -> list[Fence]:
    text = page.read_text(encoding="utf-8")
    found = [
        Fence(each["tag"], each["code"], text.count("\n", 0, each.start("code")) + 1)
        for each in FENCE.finditer(text)
    ]
    return [fence for fence in found if tag in (None, fence.tag)]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def pages_with(tag: str) -> list[Path]:
    return [page for page in PAGES if fences(page, tag)]


def defines_tests(page: Path) -> bool:
    return any(
        re.search(r"^(class Test|(async )?def test_)", each.code, re.MULTILINE)
        for each in fences(page, "python")
    )


def commands(page: Path) -> list[str]:
    """What a reader types: the lines behind a `$`; where there is none, all."""
    typed: list[str] = []
    for fence in fences(page, "console"):
        lines = fence.code.splitlines()
        prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        typed += prompted or [line for line in lines if line]
    return typed


@pytest.fixture(autouse=True)
def _configured_for_itself() -> Iterator[None]:
    """A page may configure structlog."""
    yield
    structlog.reset_defaults()


def run(page: Path, query: Callable[[str], object] | None = None) -> None:
    namespace: dict[str, object] = {"__name__": "__main__"}
    for fence in fences(page):
        if fence.tag == "python":
            # Empty lines in front let a traceback name the line of the page.
            exec(compile("\n" * (fence.line - 1) + fence.code, page, "exec"), namespace)
        elif fence.tag == "sql":
            assert query is not None
            query(fence.code)


@pytest.mark.parametrize(
    "page", [page for page in pages_with("python") if not fences(page, "sql")], ids=name_of
)
def test_the_code_of_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    run(page)


def test_the_tutorial_can_be_run_again_in_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who follows it does so after each block."""
    monkeypatch.chdir(tmp_path)

    for _ in range(2):
        run(ROOT / "docs" / "tutorial.md")


@pytest.mark.parametrize("page", pages_with("sql"), ids=name_of)
def test_the_code_of_the_page_runs_beside_a_server(
    page: Path, postgres: DatabaseMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    role = "voice_worker"
    with postgres.database(template="template0") as database:
        monkeypatch.setenv("VOICE_JOURNAL_OWNER", database.admin_dsn)
        monkeypatch.setenv("VOICE_JOURNAL", database.dsn_of(role, "from-your-secret-store"))
        try:
            run(page, database.execute)
        finally:
            database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_the_tests_on_the_pages_pass(tmp_path: Path) -> None:
    """As pytest runs them, in a project of somebody else; all at once, as starting it takes longest."""
    pages = [page for page in PAGES if defines_tests(page)]
    for page in pages:
        code = "\n".join(fence.code for fence in fences(page, "python"))
        (tmp_path / f"test_{page.stem.replace('-', '_')}.py").write_text(code, encoding="utf-8")
    (tmp_path / "pytest.toml").write_text('[pytest]\nanyio_mode = "auto"\n', encoding="utf-8")

    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout[-3000:]
    assert len(pages) > 1
    assert len(set(re.findall(r"call +(test_\w+\.py)::", ended.stdout))) == len(pages)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_fence_says_what_it_is(page: Path) -> None:
    unknown = [fence for fence in fences(page) if fence.tag not in TAGS and not fence.tag.startswith("{")]

    assert not unknown


# -- commands


PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = set(PYPROJECT["project"]["optional-dependencies"])
SESSIONS = set(
    re.findall(r"^@nox\.session.*?^def (\w+)", (ROOT / "noxfile.py").read_text(), re.MULTILINE | re.DOTALL)
)
# What a reader has before there is anything of ours; whoever follows the pages runs it.
NOT_OURS = {"cd", "git", "python3 -m venv", "source"}


# A test of its own holds that page to the command.
COMMANDS = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")


def is_an_example(command: str) -> bool:
    return command.startswith("python examples/")


def complaint(command: str) -> str | None:
    """What is wrong with a command that is not run here; None: nothing."""
    words = shlex.split(command, comments=True)
    match words:
        case ["python3", "noxfile.py", "-s" | "-l", *names] | ["nox", "-s" | "-l", *names]:
            missing = set(names[: names.index("--")] if "--" in names else names) - SESSIONS
            return f"no session {missing}" if missing else None
        case ["pip", "install", *what]:
            missing = {extra for each in what for extra in re.findall(r"[\w-]+", _in_brackets(each))} - EXTRAS
            return f"no extra {missing}" if missing else None
        case ["python", "-m", module, *_]:
            return None if Path(ROOT, *module.split(".")).exists() or module == "pytest" else f"no {module}"
        case ["realtime-async", name, *_]:
            return None if re.search(rf"^### {name}$", COMMANDS, re.MULTILINE) else f"no command {name}"
        case ["export", *_]:
            return None
        case ["pytest", *paths]:
            missing = {path for path in paths if not (path.startswith("-") or (ROOT / path).exists())}
            return f"no {missing}" if missing else None
        case _ if any(command.startswith(known) for known in NOT_OURS):
            return None
        case _:
            return "nobody knows it: run it in this test, or say what it needs"


def _in_brackets(requirement: str) -> str:
    return requirement.partition("[")[2].partition("]")[0]


@pytest.mark.parametrize(
    "page, command",
    [(page, command) for page in pages_with("console") for command in commands(page)],
    ids=str,
)
def test_what_a_command_names_exists(page: Path, command: str) -> None:
    if is_an_example(command):
        assert (ROOT / shlex.split(command)[1]).exists()
    else:
        assert complaint(command) is None


@pytest.mark.parametrize(
    "command",
    sorted(
        {command for page in pages_with("console") for command in commands(page) if is_an_example(command)}
    ),
)
def test_an_example_on_a_page_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.setattr(sys, "argv", shlex.split(command)[1:])

    ended_with: object = None
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        ended_with = end.code

    assert ended_with in (None, 0)


# -- links


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_the_page_leads_to_a_file(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = [found["target"] for found in LINK.finditer(text)]

    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_out_leads_to_a_host_that_we_know(page: Path) -> None:
    """Whether it answers is for `nox -s links`, which has a network."""
    urls = URL.findall(page.read_text(encoding="utf-8"))

    assert [url for url in urls if urlsplit(url).hostname not in HOSTS] == []


# -- what pages say of the code


EVENTS = {f"realtime_{kind}": level for kind, level in LEVELS.items()} | {**LEVELS_BESIDE_RECORDS}


@pytest.mark.parametrize("event, level", EVENTS.items())
def test_the_page_of_logs_names_each_event_at_its_level(event: str, level: str) -> None:
    page = (ROOT / "docs" / "howto-log.md").read_text(encoding="utf-8")

    row = next(line for line in page.splitlines() if line.startswith(f"| {level} |"))

    assert f"`{event}`" in row


@pytest.mark.parametrize("section", SECTIONS)
def test_the_page_of_benchmarks_says_what_each_section_compares(section: str) -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    table = page.partition("| section |")[2].partition("\n\n")[0]

    names, says = zip(*(row.split("|")[1:3] for row in table.splitlines()[2:]), strict=True)

    assert any(f"`{section}`" in name and text.strip() for name, text in zip(names, says, strict=True))


PROOF = re.compile(r"\[(?P<name>\w+)\]\((?P<path>tests/\S+?\.py)\)")


def guarantees() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("\n| | proven by |\n")[2].partition("\n\n")[0]
    return table.splitlines()[1:]


def test_there_are_as_many_guarantees_as_the_page_explains() -> None:
    page = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")

    explained = re.findall(r"^## (.+)$", page.partition("## Where it ends")[0], re.MULTILINE)

    assert len(guarantees()) == len(explained) > 0


@pytest.mark.parametrize("guarantee", guarantees(), ids=lambda row: re.findall(r"\*\*(.+?)\*\*", row)[0])
def test_the_tests_that_prove_a_guarantee_exist(guarantee: str) -> None:
    proofs = list(PROOF.finditer(guarantee))

    assert proofs
    for proof in proofs:
        path = ROOT / proof["path"]
        assert path.stem == proof["name"]
        assert re.search(r"^(async )?def test_|^class Test", path.read_text(encoding="utf-8"), re.MULTILINE)
