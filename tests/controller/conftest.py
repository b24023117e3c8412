"""The stage that controller tests play on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

pytest.register_assert_rewrite("tests.controller.staged")

from tests.controller.staged import Stage  # noqa: E402 - its asserts shall say what they saw


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Set sessions up; after the test close them, and let the oracle look at each once more."""
    stage = Stage()
    yield stage
    await stage.strike()
