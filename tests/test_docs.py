"""
The code in the documentation runs.

A fence tagged `python` is run: the blocks of a page, in order, are one program, started in an empty folder.
A fence tagged `py` shows a form, such as a signature, and is not run.
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])

TAGS = {"python", "py", "console", "json", "text", "toml"}

FENCE = re.compile(r"^```(?P<tag>\S*)[^\n]*\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)(?P<target>[^)#]+)[^)]*\)")


@attrs.frozen
class Fence:
    tag: str
    code: str
    line: int
    """Of the first line of code, counted from 1."""


def fences(page: Path) -> list[Fence]:
    text = page.read_text(encoding="utf-8")
    return [
        Fence(found["tag"], found["code"], text.count("\n", 0, found.start("code")) + 1)
        for found in FENCE.finditer(text)
    ]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(fence.tag == "python" for fence in fences(page))], ids=name_of
)
def test_the_code_of_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}

    for fence in fences(page):
        if fence.tag == "python":
            # Empty lines in front let a traceback name the line of the page.
            exec(compile("\n" * (fence.line - 1) + fence.code, page, "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_fence_says_whether_it_is_run(page: Path) -> None:
    unknown = [fence for fence in fences(page) if fence.tag not in TAGS and not fence.tag.startswith("{")]

    assert not unknown


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_the_page_leads_to_a_file(page: Path) -> None:
    targets = [found["target"] for found in LINK.finditer(page.read_text(encoding="utf-8"))]

    assert [target for target in targets if not (page.parent / target).exists()] == []
