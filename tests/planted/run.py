"""
Plant each known fault in a copy of the package, and see the test that it belongs to fail.

A fault is a patch beside this file, which begins with the test that must catch it and the invariant that it breaks.
Arguments are names of patches, `*` stands for anything; without any, all are planted, and every invariant
must have two.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

INVARIANTS = range(1, 12)
FAULTS_EACH = 2
AT_ONCE = 2
# For one test in a fresh interpreter; a test that catches its fault by waiting in vain is too slow a catch.
TEST_S = 60
PROCESS_S = 180
# For all named tests on the sound package, in one process.
SOUND_S = 1200

PYTEST = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=no", "--no-header", "-p", "no:cacheprovider"]
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "_build", "build", "dist", "*.egg-info")


@dataclass(frozen=True)
class Fault:
    patch: Path
    invariant: int
    test: str
    """Node id."""

    @property
    def name(self) -> str:
        return self.patch.stem


@dataclass(frozen=True)
class Verdict:
    fault: Fault
    trouble: str | None
    """None: its test caught it."""
    seconds: float


def read_fault(patch: Path) -> Fault:
    told = dict(re.findall(r"^# (test|invariant): (.+?)\s*$", patch.read_text(), re.MULTILINE))
    if not {"test", "invariant"} <= told.keys():
        sys.exit(f"{patch.name} does not begin with `# test: <node id>` and `# invariant: <number>`")
    return Fault(patch, int(told["invariant"]), told["test"])


def chosen(faults: Sequence[Fault], names: Sequence[str]) -> list[Fault]:
    """The faults that *names* stand for, all if there are none."""
    for name in names:
        if not any(fnmatch.fnmatch(fault.name, name) for fault in faults):
            sys.exit(f"no patch is called {name!r}; there are {', '.join(fault.name for fault in faults)}")
    return [
        fault for fault in faults if not names or any(fnmatch.fnmatch(fault.name, name) for name in names)
    ]


def copy_tree(to: Path) -> None:
    """Copy what belongs to the project, as it stands in the working tree."""
    # Not a checkout of its own, it would list nothing, or its surroundings.
    if not (ROOT / ".git").exists():
        shutil.copytree(ROOT, to, ignore=NOT_COPIED)
        return
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, to / name)


def pytest(tree: Path, seconds: float, *arguments: str) -> tuple[int | None, str]:
    """
    Run pytest on the package in *tree*.

    Returns:
        Its exit code, None where it was out of time, and what it printed.
    """
    # A module patched and restored within a second would be taken from its stale byte code.
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ran = subprocess.run(
            [*PYTEST, *arguments],
            cwd=tree,
            env=environment,
            timeout=seconds,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except subprocess.TimeoutExpired:
        return None, f"not over after {seconds} s"
    return ran.returncode, ran.stdout


def git_apply(tree: Path, patch: Path, *options: str) -> str | None:
    """Apply *patch*; returns what git complained of, None if nothing."""
    # In a repository git would look for the files from its top.
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tree.parent)}
    applied = subprocess.run(
        ["git", "apply", *options, str(patch)],
        cwd=tree,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    return None if applied.returncode == 0 else applied.stderr.strip() or f"git exits {applied.returncode}"


def plant(fault: Fault, tree: Path) -> str | None:
    """Plant one fault in *tree* and take it out again; returns what is wrong, None if it was caught."""
    complaint = git_apply(tree, fault.patch)
    if complaint is not None:
        return f"it does not apply: {complaint}"
    try:
        code, output = pytest(tree, PROCESS_S, "-x", f"--timeout={TEST_S}", fault.test)
    finally:
        complaint = git_apply(tree, fault.patch, "--reverse")
        if complaint is not None:
            raise RuntimeError(f"{fault.name} cannot be taken out again: {complaint}")
    if code == 0:
        return f"{fault.test} does not notice"
    caught = any(
        line == f"FAILED {fault.test}" or line.startswith(f"FAILED {fault.test} - ")
        for line in output.splitlines()
    )
    if code != 1 or not caught:
        return f"{fault.test} did not come to fail; pytest exits {code}:\n{output}"
    return None


def check_sound(tree: Path, faults: Sequence[Fault]) -> None:
    """Leave the program unless every named test passes on the package as it is."""
    began = monotonic()
    tests = list(dict.fromkeys(fault.test for fault in faults))
    code, output = pytest(tree, SOUND_S, *tests)
    if code != 0:
        print(output)
        sys.exit("without a fault planted, not all of the named tests pass")
    print(f"{len(tests)} tests pass while no fault is planted ({monotonic() - began:.0f} s)", flush=True)


def plant_all(faults: Sequence[Fault], trees: Sequence[Path]) -> list[Verdict]:
    """Plant the faults, as many at once as there are *trees*."""
    free: queue.SimpleQueue[Path] = queue.SimpleQueue()
    for tree in trees:
        free.put(tree)

    def judge(fault: Fault) -> Verdict:
        tree = free.get()
        try:
            began = monotonic()
            verdict = Verdict(fault, plant(fault, tree), monotonic() - began)
        finally:
            free.put(tree)
        said = "caught" if verdict.trouble is None else f"NOT CAUGHT: {verdict.trouble}"
        print(f"{fault.name}: {said} ({verdict.seconds:.0f} s)", flush=True)
        return verdict

    with ThreadPoolExecutor(len(trees)) as pool:
        return list(pool.map(judge, faults))


def print_table(verdicts: Sequence[Verdict]) -> None:
    print("\ninvariant  caught  planted")
    for invariant in INVARIANTS:
        ours = [verdict for verdict in verdicts if verdict.fault.invariant == invariant]
        caught = sum(verdict.trouble is None for verdict in ours)
        print(f"{invariant:9}  {caught:6}  {len(ours):7}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests/planted/run.py", description=__doc__)
    parser.add_argument(
        "names", nargs="*", help="of patches, without .patch; `4-*` is all whose name begins so"
    )
    names: list[str] = parser.parse_args(arguments).names
    faults = chosen([read_fault(patch) for patch in sorted(HERE.glob("*.patch"))], names)
    lacking = [
        invariant
        for invariant in INVARIANTS
        if not names and sum(fault.invariant == invariant for fault in faults) < FAULTS_EACH
    ]

    with tempfile.TemporaryDirectory(prefix="planted-") as scratch:
        trees = [Path(scratch).resolve() / str(number) for number in range(min(AT_ONCE, len(faults)))]
        for tree in trees:
            copy_tree(tree)
        check_sound(trees[0], faults)
        verdicts = plant_all(faults, trees)

    print_table(verdicts)
    for invariant in lacking:
        print(f"invariant {invariant} has fewer than {FAULTS_EACH} faults")
    missed = [verdict.fault.name for verdict in verdicts if verdict.trouble is not None]
    if missed:
        print(f"not caught: {', '.join(missed)}")
    return 1 if missed or lacking else 0


if __name__ == "__main__":
    sys.exit(main())
