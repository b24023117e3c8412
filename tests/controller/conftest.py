"""The stage that controller tests play on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.controller.staged import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Set sessions up; after the test close them, and let the oracle look at each once more."""
    stage = Stage()
    yield stage
    await stage.strike()
