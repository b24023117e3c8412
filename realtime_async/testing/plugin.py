"""
Fixtures for pytest.

    pytest_plugins = ["realtime_async.testing.plugin"]

    @pytest.fixture
    def anyio_backend(virtual_time_backend):
        return virtual_time_backend
"""

from __future__ import annotations

from typing import Any

import pytest

from realtime_async.adapters.scripted import ScriptedAdapter
from realtime_async.journals import MemoryJournal
from realtime_async.testing.clock import BACKENDS, backend_options

__all__ = ["memory_journal", "scripted_adapter", "virtual_time_backend"]


@pytest.fixture(params=BACKENDS)
def virtual_time_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """
    Each event loop in turn, with a clock that jumps to the next deadline when every task waits.

    Return it from a fixture named `anyio_backend`, and the async tests in its reach run in virtual time.
    """
    backend: str = request.param
    return backend, backend_options(backend)


@pytest.fixture
def memory_journal() -> MemoryJournal:
    """An empty journal."""
    return MemoryJournal()


@pytest.fixture
def scripted_adapter() -> ScriptedAdapter:
    """A provider that takes everything and says what it is fed."""
    return ScriptedAdapter()
