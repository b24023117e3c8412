"""Whatever a program or an adapter gives, it is refused where it is given, or the run can be read and resumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, get_args

import anyio
import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from realtime_async import RealtimeSessionSidecar
from realtime_async.adapters.scripted import ScriptedAdapter
from realtime_async.controller import RealtimeSessionController
from realtime_async.errors import (
    ContractViolation,
    ProviderConnectionLost,
    ProviderFailure,
)
from realtime_async.journals import MemoryJournal
from realtime_async.journals._codec import decode, encode
from realtime_async.journals._compact import unpack
from realtime_async.journals._stored import packed
from realtime_async.ports import (
    JournalRecord,
    RealtimeEvent,
    RealtimeInputFrame,
    RealtimeOutputFrame,
    ResponseDone,
    ResponseUsage,
    Restarted,
    RunId,
    SourceRef,
)
from realtime_async.testing.clock import BACKENDS, run_virtual
from tests.controller.staged import FRAME, plain_sidecar

ODD = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(-(2**70), 2**70),
    some.just(10**30),
    some.floats(),
    some.text(some.characters(), max_size=300),
    some.sampled_from(["\ud800", "a\x00b", "1006", "429", "durable", "nope", "retryable", "x" * 257]),
    some.binary(max_size=4),
    some.just(object()),
    some.lists(some.one_of(some.integers(), some.text(some.characters())), max_size=2).map(tuple),
    some.dictionaries(some.text(max_size=2), some.integers(), max_size=1),
)


class StoredJournal(MemoryJournal):
    """Keeps records as stores do, and gives back what can be read of that."""

    def append(self, record: JournalRecord) -> Any:
        packed(record)
        return super().append(record)

    async def _records_after(self, run_id: RunId, position: int) -> Sequence[JournalRecord]:
        records = await super()._records_after(run_id, position)
        stored = [unpack(run_id, record.journal_seq, packed(record)) for record in records]
        assert stored == [decode(encode(record)) for record in records] == records
        return stored


class Odd(ScriptedAdapter):
    """Fails each send and each receive as told, once."""

    send_nowait = receive_nowait = None

    def __init__(self, error: Callable[[], Exception]) -> None:
        super().__init__()
        self._errors = {"send": error, "receive": error}

    async def send(self, session_id: Any, frame: Any) -> None:
        self._fail_once("send")
        await super().send(session_id, frame)

    async def receive(self, session_id: Any) -> Any:
        self._fail_once("receive")
        return await super().receive(session_id)

    def _fail_once(self, call: str) -> None:
        if call in self._errors:
            error = self._errors.pop(call)
            raise error()


async def survives(
    *,
    adapter: ScriptedAdapter | None = None,
    sent: Callable[[], RealtimeInputFrame] | None = None,
    received: Callable[[], RealtimeOutputFrame] | None = None,
    sidecar: RealtimeSessionSidecar | None = None,
    **options: Any,
) -> None:
    """Have a short call of what is odd, and let another process take the run up from its journal."""
    journal, side = StoredJournal(), plain_sidecar() if sidecar is None else sidecar
    provider = ScriptedAdapter() if adapter is None else adapter
    try:
        controller = RealtimeSessionController(side, provider, journal, run_id="run-1", **options)
    except ContractViolation:
        return
    await controller.connect()
    with suppress(ContractViolation, ProviderFailure):
        if received is not None:
            provider.feed(received())
            await controller.receive()
        if sent is not None:
            await controller.send(sent())
    if adapter is not None:
        provider.feed(RealtimeOutputFrame.audio(FRAME))
        for step in (lambda: controller.send(RealtimeInputFrame.text("so")), controller.receive):
            # Once the connection is lost, a receive waits for the next.
            with suppress(ProviderFailure), anyio.move_on_after(60):
                await step()
    assert [record async for record in journal.read(RunId("run-1"))] != []
    again = await RealtimeSessionController.resume(
        side, ScriptedAdapter(), journal, run_id="run-1", allow_other_sidecar=True
    )
    await again.send(RealtimeInputFrame.text("still there"))
    await again.close()


def _failing(kind: type[ProviderFailure], name: str) -> Callable[[Any], dict[str, Any]]:
    return lambda value: {"adapter": Odd(lambda: kind("odd", **{name: value}))}


GIVEN: dict[str, Callable[[Any], dict[str, Any]]] = {
    **{
        f"{kind.__name__}.{name}": _failing(kind, name)
        for kind in (ProviderFailure, ProviderConnectionLost)
        for name in ("code", "close_code", "http_status", "kind", "retry")
    },
    "tags": lambda value: {"tags": value},
    "a tag": lambda value: {"tags": (value,)},
    "source": lambda value: {"source": value},
    "fingerprint": lambda value: {"runtime_package_fingerprint": value},
    "agent_id": lambda value: {"agent_id": value},
    "session_id": lambda value: {"session_id": value},
    **{
        f"input {name}": lambda value, name=name: {  # type: ignore[misc]  # a default binds the name
            "sent": lambda: RealtimeInputFrame(**{"media_kind": "text", "payload": "x", name: value})
        }
        for name in ("media_kind", "privacy", "retention", "redacted_summary", "content_refs", "frame_id")
    },
    **{
        f"output {name}": lambda value, name=name: {  # type: ignore[misc]  # so
            "received": lambda: RealtimeOutputFrame(**{"media_kind": "text", name: value})
        }
        for name in (
            "media_kind", "privacy", "retention", "redacted_summary", "content_refs", "frame_id",
            "response_id", "cursor", "payload", "event",
        )
    },
    **{
        f"{event.__name__}.{field.name}": lambda value, event=event, name=field.name: {  # type: ignore[misc]  # so
            "received": lambda: RealtimeOutputFrame.of(event(**{name: value}))
        }
        for event in get_args(RealtimeEvent) if event not in (ResponseDone, Restarted)
        for field in attrs.fields(event)
    },
    "tokens": lambda value: {
        "received": lambda: RealtimeOutputFrame.of(ResponseDone("completed", ResponseUsage(value)))
    },
    "status": lambda value: {"received": lambda: RealtimeOutputFrame.of(ResponseDone(value))},
}  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", GIVEN)
@settings(max_examples=25)
@given(value=ODD)
def test_an_odd_value_is_refused_or_the_run_lives_on(backend: str, name: str, value: Any) -> None:
    async def run() -> None:
        await survives(**GIVEN[name](value))

    run_virtual(run, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["kind", "ref"])
@settings(max_examples=25)
@given(value=ODD)
def test_an_odd_reference_is_refused_or_the_run_lives_on(backend: str, name: str, value: Any) -> None:
    async def run() -> None:
        try:
            source = SourceRef(**{"kind": "host", "ref": "desk", name: value})
        except ContractViolation:
            return
        await survives(source=source)

    run_virtual(run, backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "name",
    ["provider_route_ref", "queue_capacity", "media_policy_ref", "span", "replay_tail_s", "overflow_policy"],
)
@pytest.mark.parametrize(
    "value", [5, 0, -1, 10**30, "\ud800", "a b", "15", None, "", True, 1.5, {1}, {"frames": 50}, object()]
)
def test_a_session_whose_sidecar_is_not_valid_can_be_closed_and_read(
    backend: str, name: str, value: Any
) -> None:
    """It never connects, but its run may have another session, or be completed."""

    async def run() -> None:
        journal = StoredJournal()
        fields = {"sidecar_id": "desk", "provider_route_ref": "acme", "realtime_capability_ref": "voice"}
        side = RealtimeSessionSidecar(**{**fields, name: value})
        controller = RealtimeSessionController(side, ScriptedAdapter(), journal, run_id="run-1")

        await controller.close()

        assert [str(record.payload.kind) async for record in journal.read(RunId("run-1"))] == [
            "close_requested",
            "closed",
        ]

    run_virtual(run, backend=backend)


@pytest.mark.parametrize("name", ["close_code", "http_status", "code"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_provider_said_is_in_no_record_though_an_adapter_takes_it_for_a_number(
    backend: str, name: str
) -> None:
    async def run() -> None:
        journal = StoredJournal()
        adapter = Odd(lambda: ProviderFailure("refused", **{name: "mauve-door"}))  # type: ignore[arg-type]  # odd
        controller = RealtimeSessionController(plain_sidecar(), adapter, journal, run_id="run-1")
        await controller.connect()

        with pytest.raises(ProviderFailure):
            await controller.send(RealtimeInputFrame.text("hello"))

        records = [record async for record in journal.read(RunId("run-1"))]
        assert str(records[-1].payload.kind) == "input_send_failed"
        assert [record for record in records if b"mauve" in encode(record)] == []

    run_virtual(run, backend=backend)
