"""What a wheel brings, what an import costs, and what each module says it offers."""

from __future__ import annotations

from importlib import metadata

import realtime_async


def test_the_version_is_that_of_the_installed_distribution() -> None:
    assert realtime_async.__version__ == metadata.version("realtime-async")
