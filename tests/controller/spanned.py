"""A session with short spans, and what its records say of them."""

from __future__ import annotations

from realtime_async import MediaSpan
from realtime_async.adapters.scripted import Script, ScriptedAdapter
from realtime_async.ports import RealtimeSessionRecord
from tests.controller.staged import Stage, StagedSession, plain_sidecar

__all__ = ["SPAN", "after_connecting", "shown", "spanned"]

SPAN = MediaSpan(frames=3, seconds=1.0)


async def spanned(
    stage: Stage,
    kind: type[ScriptedAdapter] = ScriptedAdapter,
    script: Script | None = None,
    **options: object,
) -> StagedSession:
    sidecar = plain_sidecar(span=SPAN, replay_tail_s=0.0)
    return await stage.connected(kind(script), sidecar=sidecar, **options)


def shown(records: list[RealtimeSessionRecord]) -> list[tuple[str, int, int | None, int | None]]:
    """Kind, frames and range of each record that stands for several frames."""
    return [
        (
            str(record.kind),
            record.extent.frames,
            None if record.extent.first is None else record.extent.first.chunk_sequence,
            None if record.extent.last is None else record.extent.last.chunk_sequence,
        )
        for record in records
        if record.extent is not None
    ]


async def after_connecting(staged: StagedSession) -> list[RealtimeSessionRecord]:
    return [record.payload for record in (await staged.records())[2:]]
