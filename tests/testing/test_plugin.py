"""The pytest plugin, in a project of somebody else."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

PROJECT = """
import anyio
import pytest
from realtime_async import RealtimeInputFrame, RealtimeSessionSidecar, open_session

pytest_plugins = ["realtime_async.testing.plugin"]
pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend(virtual_time_backend):
    return virtual_time_backend

async def test_an_agent_says_hello(scripted_adapter, memory_journal):
    sidecar = RealtimeSessionSidecar.voice_defaults("front-desk")
    async with open_session(sidecar, scripted_adapter, memory_journal, run_id="call-1") as session:
        await session.send(RealtimeInputFrame.text("hello"))
        await anyio.sleep(3600)

    assert [frame.payload for frame in scripted_adapter.sent] == ["hello"]
"""


def test_fixtures_serve_a_test_on_both_event_loops_in_virtual_time(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PROJECT)

    result = pytester.runpytest_subprocess("-W", "error", "-p", "no:cacheprovider", timeout=60)

    result.assert_outcomes(passed=2)
