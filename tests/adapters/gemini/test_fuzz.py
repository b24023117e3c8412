"""Servers that say anything at all: the session neither hangs nor raises what is no error of ours."""

from __future__ import annotations

import json

import anyio
import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from realtime_async.adapters.gemini import GeminiLiveAdapter
from realtime_async.errors import AgentError, ProviderConnectionLost
from realtime_async.ports import GoAway, RealtimeCloseReason
from realtime_async.testing.clock import BACKENDS
from realtime_async.testing.loopback import DropHow
from realtime_async.testing.loopback.gemini import LoopbackGemini
from tests.adapters.gemini.gemini_side import KEY, config_for
from tests.adapters.gemini.talking import REQUEST, SECRET, SESSION
from tests.adapters.gemini.test_wire import MADE_UP

LAST = 4711.0
SAYINGS = st.lists(MADE_UP, max_size=6)


async def hear_out(
    server: LoopbackGemini, sayings: list[str | bytes], *, ends: DropHow | None
) -> list[AgentError]:
    """Return what was raised until the connection ended, or until the last message came."""
    raised: list[AgentError] = []
    async with GeminiLiveAdapter(config_for(server)) as adapter:
        with anyio.fail_after(10):
            await adapter.connect(REQUEST)
            for saying in sayings:
                server.say(saying)
            if ends is None:
                server.say(json.dumps({"goAway": {"timeLeft": f"{LAST:g}s"}}))
            else:
                server.drop(ends)
            while not any(isinstance(error, ProviderConnectionLost) for error in raised):
                try:
                    frame = await adapter.receive(SESSION)
                except AgentError as error:
                    raised.append(error)
                    continue
                if frame is not None and frame.event == GoAway(LAST):
                    break
            await adapter.close(SESSION, RealtimeCloseReason.NORMAL)
    return raised


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("ends", [None, DropHow.CLOSE, DropHow.RESET])
def test_whatever_a_server_says_the_session_goes_on_until_its_end(backend: str, ends: DropHow | None) -> None:
    with LoopbackGemini(key=KEY) as server:

        @given(sayings=SAYINGS)
        @settings(max_examples=15)
        def check(sayings: list[str | bytes]) -> None:
            raised = anyio.run(lambda: hear_out(server, sayings, ends=ends), backend=backend)

            assert SECRET not in repr([(vars(error), str(error)) for error in raised])

        check()
