"""The agent loop, run as it stands."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import anyio
import pytest

from examples import agent_loop
from realtime_async import ToolCall
from realtime_async.audio import SilentSpeaker
from tests.examples.watching import BACKENDS, found, journal_of, terminated_when, watched_calls
from tests.oracle.evidence import intents_of, steps_of
from tests.oracle.invariants import check


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_calls_tools_is_spoken_over_and_completes_its_run(
    backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = watched_calls(monkeypatch, agent_loop)

    agent_loop.main(["--backend", backend, "--journal", str(tmp_path / "calls.db")])
    printed = capsys.readouterr().out
    journal = journal_of(tmp_path / "calls.db", found(r"run (\S+)$", printed))

    lines = printed.splitlines()
    assert [line for line in lines if line.startswith("heard:")] == [
        f"heard: {sentence}" for sentence in agent_loop.SENTENCES
    ]
    assert [line for line in lines if line.startswith("tool:")] == [
        "tool:  book_table",
        "tool:  book_table is done",
        "tool:  forecast",
        "tool:  forecast failed",
    ]
    assert "said:  A table for 2 is booked." in lines
    assert "said:  I cannot see the weather from here, I am sorry." in lines
    assert float(found(r"spoken over after ([\d.]+) s", printed)) > 0
    assert printed.count("We have soup") < 20
    assert "complete but for: terminal_event_replayable" in lines
    assert lines[-1].startswith("complete: ")
    assert check(journal, calls, secrets=["table", "soup", "weather"]) == []
    steps = steps_of(journal)
    assert steps[-1].kind == "closed"
    assert "interrupted" in {step.kind for step in steps}
    assert all(intent.result is not None for intent in intents_of(steps))


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_turn_under_way_end_and_completes_the_run(
    by: signal.Signals, tmp_path: Path
) -> None:
    code, printed = terminated_when("heard: please", agent_loop, tmp_path, by=by)

    assert code == 0
    assert "asked to stop" in printed
    assert "said:  A table for 2 is booked." in printed
    assert "complete: " in printed
    assert "weather" not in printed


@pytest.mark.virtual_time
async def test_sigterm_ends_a_call_whose_turn_does_not_end_at_the_deadline() -> None:
    agent = agent_loop.Agent(session=NotImplemented, speaker=SilentSpeaker())
    agent.turn.begin()
    begun = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(agent_loop.drain_on_signal, agent, tasks.cancel_scope)
        await anyio.wait_all_tasks_blocked()
        os.kill(os.getpid(), signal.SIGTERM)
        await anyio.sleep_forever()

    assert anyio.current_time() - begun == pytest.approx(agent_loop.DRAIN_S, abs=1)


@pytest.mark.parametrize(
    "call, result",
    [
        (ToolCall("call.1", "forecast", "{}"), '{"error": "ConnectionError"}'),
        (ToolCall("call.1", "no_such_tool", "{}"), '{"error": "KeyError"}'),
        (ToolCall("call.1", "book_table", "no JSON"), '{"error": "JSONDecodeError"}'),
        (ToolCall("call.1", "book_table", '{"people": 4}'), '{"result": "A table for 4 is booked."}'),
    ],
    ids=["fails", "is unknown", "is called wrongly", "works"],
)
@pytest.mark.virtual_time
async def test_whatever_becomes_of_a_tool_is_told(call: ToolCall, result: str) -> None:
    assert await agent_loop.result_of(call) == result


@pytest.mark.virtual_time
async def test_a_tool_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def dawdle() -> str:
        await anyio.sleep_forever()
        return "never"

    monkeypatch.setattr(agent_loop, "TOOLS", {"dawdle": dawdle})

    assert await agent_loop.result_of(ToolCall("call.1", "dawdle", "{}")) == '{"error": "TimeoutError"}'
