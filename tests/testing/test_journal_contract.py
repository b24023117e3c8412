"""The contract of journals takes a journal that is written otherwise than those of this package."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from operator import attrgetter
from typing import Any, Self

import anyio
import attrs
import pytest

from realtime_async.errors import JournalConflict
from realtime_async.journals import MemoryJournal
from realtime_async.journals._verdicts import Durable
from realtime_async.ports import JournalCursor, JournalRecord, RunId, RunJournal, RunSummary
from realtime_async.testing import _patience
from realtime_async.testing._journal_records import full_record
from realtime_async.testing.journal_contract import JournalContract
from realtime_async.testing.journals import SuspendingJournal
from realtime_async.testing.run_list_contract import RunListContract

__all__: list[str] = []


class GeneratingJournal(AbstractAsyncContextManager["GeneratingJournal", None]):
    """
    Reads by async generators, as comes naturally.

    On Trio, one that the contract left to be collected would fail the test, or another.
    """

    def __init__(self) -> None:
        self.store = MemoryJournal()

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        return self.store.append(record)

    async def read(self, run_id: RunId, *, after: int = 0) -> AsyncGenerator[JournalRecord, None]:
        async for record in self.store.read(run_id, after=after):
            yield record

    async def runs(self, *, after: str = "", tag: str | None = None) -> AsyncGenerator[RunSummary, None]:
        async for run in self.store.runs(after=after, tag=tag):
            yield run

    async def last(self, run_id: RunId) -> JournalCursor | None:
        return await self.store.last(run_id)

    async def aclose(self) -> None:
        await self.store.aclose()

    async def __aenter__(self) -> Self:
        await self.store.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class TestGeneratingJournal(JournalContract, RunListContract):
    @pytest.fixture(autouse=True)
    def _place(self) -> None:
        self.journal = GeneratingJournal()

    def open_journal(self) -> GeneratingJournal:
        return self.journal

    def open_listed_journal(self) -> GeneratingJournal:
        return self.journal


class PromptJournal(GeneratingJournal):
    """Has its records at hand, so that reading waits for nothing, and only writing does."""

    def __init__(self) -> None:
        super().__init__()
        self._written = SuspendingJournal(self.store)
        self._records: dict[RunId, dict[int, JournalRecord]] = {}

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        taken = self._written.append(record)
        self._records.setdefault(record.run_id, {})[record.journal_seq] = record
        return taken

    async def read(self, run_id: RunId, *, after: int = 0) -> AsyncGenerator[JournalRecord, None]:
        for record in list(self._records.get(run_id, {}).values())[after:]:
            yield record


class TestPromptJournal(JournalContract):
    @pytest.fixture(autouse=True)
    def _place(self) -> None:
        self.journal = PromptJournal()

    def open_journal(self) -> PromptJournal:
        return self.journal


class Never:
    def __await__(self) -> Generator[Any, Any, JournalCursor]:
        yield from anyio.sleep_forever().__await__()
        raise AssertionError


class HangingJournal(GeneratingJournal):
    """Never says that anything is durable."""

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        self.store.append(record)
        return Never()


class Hanging(JournalContract, RunListContract):
    """Not collected by its name: it fails."""

    patience_s = 0.05

    def open_journal(self) -> GeneratingJournal:
        return HangingJournal()

    def open_listed_journal(self) -> GeneratingJournal:
        return HangingJournal()


class Unopened(Hanging):
    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[RunJournal]:
        await anyio.sleep_forever()
        yield MemoryJournal()

    def open_journal(self) -> AbstractAsyncContextManager[RunJournal]:  # type: ignore[override]  # it never comes
        return self._opened()


WAITS: dict[str, tuple[Callable[[], Awaitable[None]], str]] = {
    "an append": (
        Hanging().test_what_has_returned_is_read_back_whole,
        r"'what has returned is read back whole' .* at `await journal\.append\(record\(RUN, 1\)\)`",
    ),
    "many appends": (
        Hanging().test_an_append_returns_where_the_record_stands,
        r"at `return \[await one for one in taken\]`",
    ),
    "appends side by side": (
        Hanging().test_runs_written_at_once_do_not_mix,
        r"at `async with anyio\.create_task_group\(\) as tasks:`",
    ),
    "a list": (
        Hanging().test_a_run_of_one_record_is_listed,
        r"'a run of one record is listed' has not come true within 0\.05 s: it waited at `await journal\.append\(record\(",
    ),
    "opening": (
        Unopened().test_a_run_that_nobody_wrote_is_empty,
        r"at `async with self\.open_journal\(\) as journal:`; .* or give Unopened a longer patience_s",
    ),
}


@pytest.mark.parametrize("waiting", WAITS)
async def test_a_journal_that_hangs_fails_its_contract_with_what_was_waited_for(waiting: str) -> None:
    test, said = WAITS[waiting]

    with pytest.raises(TimeoutError, match=said):
        await test()


class BlockingJournal(GeneratingJournal):
    """Waits within the call, and when it is closed, for what the event loop would have to do."""

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        threading.Event().wait()
        raise AssertionError

    async def aclose(self) -> None:
        threading.Event().wait()


class Blocking(Hanging):
    def open_journal(self) -> GeneratingJournal:
        return BlockingJournal()


async def test_a_journal_that_blocks_the_event_loop_fails_its_contract(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_patience, "GRACE_S", 0.5)
    before = signal.getsignal(signal.SIGALRM), round(signal.getitimer(signal.ITIMER_REAL)[0], -1)

    with pytest.raises(TimeoutError, match="could not be cancelled: the event loop is blocked where this"):
        await Blocking().test_what_has_returned_is_read_back_whole()

    assert (signal.getsignal(signal.SIGALRM), round(signal.getitimer(signal.ITIMER_REAL)[0], -1)) == before


class HastyJournal(GeneratingJournal):
    """Lets everybody read what is not durable yet."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = anyio.Event()
        self.goes_on.set()

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        return Held(self.store.append(record).cursor, self.goes_on)


class Held:
    def __init__(self, cursor: JournalCursor, goes_on: anyio.Event) -> None:
        self.cursor = cursor
        self.goes_on = goes_on

    def __await__(self) -> Generator[Any, Any, JournalCursor]:
        yield from self.goes_on.wait().__await__()
        return self.cursor


class Hasty(Hanging):
    patience_s = 2.0

    def __init__(self) -> None:
        self.journal = HastyJournal()

    def open_journal(self) -> GeneratingJournal:
        return self.journal

    @asynccontextmanager
    async def stalled(self) -> AsyncIterator[None]:
        self.journal.goes_on = anyio.Event()
        yield
        self.journal.goes_on.set()


async def test_a_journal_that_is_read_before_it_is_durable_fails_its_contract() -> None:
    with pytest.raises(AssertionError, match="show and say it once it is durable"):
        await Hasty().test_what_can_be_read_or_says_so_is_durable()


class SortingJournal(GeneratingJournal):
    """Keeps what there may be several of as a set."""

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        return self.store.append(attrs.evolve(record, tags=tuple(sorted(set(record.tags)))))


class Sorting(Hanging):
    patience_s = 2.0

    def __init__(self) -> None:
        self.journal = SortingJournal()

    def open_journal(self) -> GeneratingJournal:
        return self.journal


async def test_a_journal_that_takes_lists_for_sets_fails_its_contract() -> None:
    with pytest.raises(AssertionError):
        await Sorting().test_every_field_of_a_record_is_kept()


class InLineJournal(HastyJournal):
    """Has one worker, so whoever reads waits for what was begun before."""

    async def read(self, run_id: RunId, *, after: int = 0) -> AsyncGenerator[JournalRecord, None]:
        await self.goes_on.wait()
        async for record in self.store.read(run_id, after=after):
            yield record

    async def last(self, run_id: RunId) -> JournalCursor | None:
        await self.goes_on.wait()
        return await self.store.last(run_id)


class InLine(Hasty):
    patience_s = 30.0

    def __init__(self) -> None:
        self.journal = InLineJournal()


async def test_a_journal_that_reads_behind_what_it_has_to_write_keeps_its_contract() -> None:
    await InLine().test_what_can_be_read_or_says_so_is_durable()


class BoastingJournal(HastyJournal):
    """Shows what is durable only, and says of all that it is."""

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        self.store.append(record)
        self.durable = record.journal_seq if self.goes_on.is_set() else record.journal_seq - 1
        return Boast(JournalCursor(record.run_id, record.journal_seq), self.goes_on)

    async def read(self, run_id: RunId, *, after: int = 0) -> AsyncGenerator[JournalRecord, None]:
        async for record in self.store.read(run_id, after=after):
            if record.journal_seq <= self.durable:
                yield record

    async def last(self, run_id: RunId) -> JournalCursor | None:
        return JournalCursor(run_id, self.durable)


class Boast(Held):
    is_durable = True


class Boasting(Hasty):
    def __init__(self) -> None:
        self.journal = BoastingJournal()


async def test_a_journal_that_says_too_soon_that_it_is_durable_fails_its_contract() -> None:
    with pytest.raises(AssertionError, match="show and say it once it is durable"):
        await Boasting().test_what_can_be_read_or_says_so_is_durable()


class Broken(Hanging):
    """Fails at once, however busy the machine is."""

    patience_s = 30.0


class LastTagsJournal(GeneratingJournal):
    """Lists its runs by what their last record says."""

    async def runs(self, *, after: str = "", tag: str | None = None) -> AsyncGenerator[RunSummary, None]:
        async for run in self.store.runs(after=after):
            last = self.store._runs[run.run_id][-1]
            if tag is None or tag in last.tags:
                yield attrs.evolve(run, tags=last.tags)


class LastTags(Broken):
    def open_listed_journal(self) -> GeneratingJournal:
        return LastTagsJournal()


@pytest.mark.parametrize(
    "test",
    [
        LastTags.test_a_run_is_listed_with_what_its_first_and_last_records_say,
        LastTags.test_a_tag_chooses_the_runs_whose_first_record_bears_it,
    ],
)
async def test_a_list_that_asks_the_last_records_for_their_tags_fails_its_contract(
    test: Callable[[LastTags], Awaitable[None]],
) -> None:
    with pytest.raises(AssertionError, match="assert "):
        await test(LastTags())


class ByIdJournal(GeneratingJournal):
    """Takes a record with the same id for the same record."""

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        try:
            return self.store.append(record)
        except JournalConflict:
            if self.store._runs[record.run_id][record.journal_seq - 1].record_id != record.record_id:
                raise
            return Durable(JournalCursor(record.run_id, record.journal_seq))


class ById(Broken):
    def open_journal(self) -> GeneratingJournal:
        return ByIdJournal()


@pytest.mark.parametrize("what", ["time", "tags", "payload"])
async def test_a_journal_that_looks_for_an_id_alone_fails_its_contract(what: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE JournalConflict"):
        await ById().test_a_record_that_differs_in_one_field_is_another(what=what)


class FarJournal(GeneratingJournal):
    """Says of each record that it stands one further."""

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        return Durable(JournalCursor(record.run_id, record.journal_seq + 1))


class Far(Broken):
    def open_journal(self) -> GeneratingJournal:
        return FarJournal()


async def test_a_promise_that_is_not_kept_is_explained_with_its_values() -> None:
    with pytest.raises(
        AssertionError, match=r"diff: JournalCursor\(.*journal_seq=2\) != JournalCursor\(.*=1\)"
    ):
        await Far().test_an_append_returns_where_the_record_stands()


class FutureJournal(GeneratingJournal):
    """Returns a future, which is cancelled with the first who awaits it."""

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        loop = asyncio.get_running_loop()
        written = loop.create_future()
        cursor = self.store.append(record).cursor
        loop.call_soon(self._written, written, cursor)
        return written

    @staticmethod
    def _written(written: asyncio.Future[JournalCursor], cursor: JournalCursor) -> None:
        if not written.cancelled():
            written.set_result(cursor)


class Future(Broken):
    def open_journal(self) -> GeneratingJournal:
        return FutureJournal()


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_a_journal_that_returns_bare_futures_is_told_so() -> None:
    with pytest.raises(
        AssertionError, match=r"awaited at `cursors = \[await one .* as a bare future is by cancel"
    ):
        await Future().test_what_was_begun_lands_wherever_its_wait_is_cancelled()


class ForgetfulJournal(GeneratingJournal):
    """Has no place for one field of what it keeps."""

    def append(self, record: JournalRecord) -> Awaitable[JournalCursor]:
        return self.store.append(attrs.evolve(record, payload=attrs.evolve(record.payload, error=None)))


class Forgetful(JournalContract):
    """Not collected by its name: it fails."""

    def __init__(self) -> None:
        self.journal = ForgetfulJournal()

    def open_journal(self) -> GeneratingJournal:
        return self.journal


async def test_a_journal_that_forgets_a_field_is_found() -> None:
    with pytest.raises(AssertionError):
        await Forgetful().test_every_field_of_a_record_is_kept()


# Every record says the same there, or nothing of a position is compared.
SAME_EVERYWHERE = {"schema_version", "record_kind", "event_family", "label"}


@pytest.mark.parametrize(
    "part", ["", "payload", "payload.backpressure_state", "payload.error", "payload.usage"]
)
def test_the_record_of_the_contract_has_something_in_every_field(part: str) -> None:
    record = full_record("run.a", 1)
    said = attrgetter(part)(record) if part else record

    fields = attrs.fields_dict(type(said))
    untold = {name for name, field in fields.items() if getattr(said, name) == field.default}

    assert untold <= SAME_EVERYWHERE
