"""A session on a stage: a controller between a scripted provider and a journal, with the oracle watching."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import attrs

from realtime_async import Delivery, RealtimeSessionSidecar
from realtime_async._core.recovery import RunFold
from realtime_async.adapters.scripted import ScriptedAdapter
from realtime_async.controller import RealtimeSessionController
from realtime_async.errors import AgentError
from realtime_async.journals import MemoryJournal
from realtime_async.ports import (
    JournalRecord,
    RealtimeInputFrame,
    RealtimeSessionRecord,
    RunId,
    RunJournal,
)
from tests.controller.recording import RecordedAdapter, RecordedJournal, recorded_adapter
from tests.oracle.invariants import check

__all__ = ["FRAME", "SECRET", "Stage", "StagedSession", "audio", "kinds_of", "plain_sidecar", "text"]

SECRET = "mauve-door"
"""What is said in every frame of a test, and may be found nowhere else."""

FRAME = (SECRET.encode() * 96)[:960]
"""20 ms."""

_numbers = itertools.count(1)


def audio(number: int | None = None) -> RealtimeInputFrame:
    return RealtimeInputFrame.audio(FRAME, frame_id=f"audio.{next(_numbers) if number is None else number}")


def text(number: int | None = None) -> RealtimeInputFrame:
    return RealtimeInputFrame.text(SECRET, frame_id=f"text.{next(_numbers) if number is None else number}")


def plain_sidecar(**fields: Any) -> RealtimeSessionSidecar:
    """A sidecar without spans, unless told."""
    return RealtimeSessionSidecar("desk", "provider.acme", "realtime.voice", **fields)


def kinds_of(records: Iterable[RealtimeSessionRecord]) -> list[str]:
    return [str(record.kind) for record in records]


class StagedSession:
    """
    One controller, and all that can be known of it from outside.

    Args:
        sidecar: `plain_sidecar()` unless told.
        journal: Shared by the sessions of a run, or by several runs.
        options: Of the controller.
    """

    def __init__(
        self,
        provider: ScriptedAdapter | None = None,
        *,
        sidecar: RealtimeSessionSidecar | None = None,
        journal: RunJournal | None = None,
        run_id: str = "run-1",
        **options: Any,
    ) -> None:
        inner = MemoryJournal() if journal is None else journal
        self.journal = inner if isinstance(inner, RecordedJournal) else RecordedJournal(inner)
        self.run_id = RunId(run_id)
        self.provider = ScriptedAdapter() if provider is None else provider
        self.adapter: RecordedAdapter = recorded_adapter(self.provider, self.journal, run_id)
        self.accepted: list[str] = []
        """Frame ids in the order in which they were given to `send`; left empty where that is not known."""
        self.sidecar = plain_sidecar() if sidecar is None else sidecar
        self._json: list[dict[str, Any]] = []
        self._fold = RunFold()
        self.controller = RealtimeSessionController(
            self.sidecar, self.adapter, self.journal, run_id=run_id, **options
        )

    async def resumed(
        self, provider: ScriptedAdapter | None = None, *, journal: RunJournal | None = None, **options: Any
    ) -> StagedSession:
        """
        Resume the session, as another process would: with a lane of its own, and its calls in the same log.

        Args:
            provider: The same one, unless told.
            journal: What this one's journal writes to, unless told.
        """
        after = copy.copy(self)
        after.journal = RecordedJournal(self.journal.inner if journal is None else journal)
        after.provider = self.provider if provider is None else provider
        after.adapter = recorded_adapter(after.provider, after.journal, self.run_id, self.adapter)
        options = {"sidecar": self.sidecar, **options}
        after.controller = await RealtimeSessionController.resume(
            adapter=after.adapter, journal=after.journal, run_id=self.run_id, **options
        )
        return after

    @property
    def session_id(self) -> str:
        return str(self.controller.state.session_id)

    async def records(self) -> list[JournalRecord]:
        """What the journal holds of the run."""
        return [record async for record in self.journal.read(self.run_id)]

    async def kinds(self, after: int = 0) -> list[str]:
        """The kinds of the records after the first *after*."""
        return [str(record.payload.kind) for record in (await self.records())[after:]]

    async def check(self) -> None:
        """Let the oracle look: at the journal, the calls, and what the controller shows."""
        await self.check_fold()
        controller = self.controller
        self._look(
            {
                self.session_id: {
                    "delivery": _plain(attrs.asdict(controller.delivery)),
                    "state": _plain(attrs.asdict(controller.state)),
                }
            }
        )

    async def check_records(self) -> None:
        """The same without what the controller shows: after a journal failure it knows more than the journal."""
        await self._read()
        self._look(None)

    async def check_fold(self) -> None:
        """What the records fold to is what the controller shows, but for spans that are open still."""
        await self._read()
        folded = self._fold.sessions.get(self.session_id)
        if folded is None:
            return
        state, delivery = self.controller.state, self.controller.delivery
        if self.controller._rt.lane.failure is not None and self.controller._rt.terminal is None:
            # That the journal has failed is in no record; a session that had ended before has not failed.
            assert state.lifecycle_status == "failed"
            state = attrs.evolve(state, lifecycle_status=folded.state.lifecycle_status)
            told = _given_up(folded.delivery(), delivery)
        else:
            told = folded.delivery()
        if any(intent.payload.extent is not None for intent in folded.open_intents.values()):
            state = attrs.evolve(
                state, send_cursor=folded.state.send_cursor, receive_cursor=folded.state.receive_cursor
            )
            told = attrs.evolve(told, sent=delivery.sent, queued=delivery.queued, replayed=delivery.replayed)
        assert folded.state == state
        assert delivery == attrs.evolve(
            told, refused=delivery.refused, confirmed_through=delivery.confirmed_through
        )

    async def _read(self) -> None:
        """Take in what was written since."""
        async for record in self.journal.read(self.run_id, after=len(self._json)):
            self._fold.add(record)
            self._json.append(_plain(attrs.asdict(record)))

    def _look(self, live: dict[str, Any] | None) -> None:
        violations = check(
            self._json,
            self.adapter.log,
            live=live,
            accepted=self.accepted,
            secrets=[SECRET, FRAME.hex()],
            sessions=[self.session_id],
        )
        assert not violations, violations


class Stage:
    """Makes sessions, and clears up behind them."""

    def __init__(self) -> None:
        self._sessions: list[StagedSession] = []
        self._left: list[StagedSession] = []

    def session(self, provider: ScriptedAdapter | None = None, **options: Any) -> StagedSession:
        """A session that is not connected; the arguments are those of `StagedSession`."""
        staged = StagedSession(provider, **options)
        self._sessions.append(staged)
        return staged

    async def connected(self, provider: ScriptedAdapter | None = None, **options: Any) -> StagedSession:
        """A session that is open."""
        staged = self.session(provider, **options)
        await staged.controller.connect()
        return staged

    async def resumed(
        self, before: StagedSession, provider: ScriptedAdapter | None = None, **options: Any
    ) -> StagedSession:
        """Put in the place of *before* what resumes it, see `StagedSession.resumed`."""
        staged = await before.resumed(provider, **options)
        self._sessions.remove(before)
        self._left.append(before)
        self._sessions.append(staged)
        return staged

    async def strike(self) -> None:
        """Close every session, and let the oracle look at each."""
        for staged in self._left + self._sessions:
            with suppress(AgentError):
                await staged.controller.close()
        for staged in self._sessions:
            await staged.check()


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(value))
    return plain


def _given_up(told: Delivery, shown: Delivery) -> Delivery:
    """How frames ended that had no result when the journal failed: only the controller can say."""
    assert shown.queued == 0
    assert shown.dropped >= told.dropped + told.queued
    assert shown.in_doubt >= told.in_doubt
    return attrs.evolve(told, queued=0, dropped=shown.dropped, in_doubt=shown.in_doubt)
