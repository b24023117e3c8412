"""Where a dependency is missing."""

from __future__ import annotations

import sys

import pytest

from realtime_async.adapters.local import LocalSpeechAdapter


@pytest.mark.parametrize(
    "version, advice",
    [((3, 13, 0), r"pip install 'realtime-async\[local\]'"), ((3, 14, 0), r"Python 3\.11 to 3\.13")],
)
def test_a_missing_recogniser_is_told_with_what_to_do(
    version: tuple[int, ...], advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    monkeypatch.setattr(sys, "version_info", version)

    with pytest.raises(ImportError, match=f"needs pocketsphinx.*{advice}"):
        LocalSpeechAdapter()
