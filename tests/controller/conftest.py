"""The stage that controller tests play on."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from tests.controller.staged import Stage


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """Set sessions up; after the test close them, and let the oracle look at each once more."""
    stage = Stage()
    yield stage
    await stage.strike()


@pytest.fixture(autouse=True, scope="session")
def quiet() -> Iterator[None]:
    """Render no log line: thousands of calls are made here, and nobody reads them."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)
