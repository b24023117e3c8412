"""Records of every shape that their types allow, so that a field that is added is tried at once."""

from __future__ import annotations

import types
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs
from hypothesis import strategies as st

from realtime_async._core.identifiers import Identifier
from realtime_async.ports import EffectId, JournalRecord, RealtimeSessionRecord, RealtimeSessionRecordKind
from realtime_async.testing.journal_contract import record

__all__ = ["any_record"]

# Drawn from few: drawing letter by letter takes a hundred times as long.
IDENTIFIERS = st.sampled_from(["a", "realtime.record.12.0123abcd", "A:b_c-9", "null", "r7", "x" * 256])
NUMBERS = st.sampled_from([0, 1, 500, 2**63 - 1])
TEXTS = st.sampled_from(
    ["", "plain", "=", "r7", 'a "quoted" \\ one', "zwei\nZeilen", "\x00\x7f", "日本語 🙂", "y" * 300]
)


@st.composite
def any_record(draw: st.DrawFn, kind: RealtimeSessionRecordKind) -> JournalRecord:
    """
    A record of *kind* of which up to eight fields have any value.

    On some its references are to itself, as a session writes them.
    """
    one = record("run.any", draw(st.integers(1, 2**40)), kind=kind)
    names = draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=8, unique=True))
    of_payload = {name.removeprefix("payload."): draw(FIELDS[name]) for name in names if "." in name}
    of_envelope = {name: draw(FIELDS[name]) for name in names if "." not in name}
    one = attrs.evolve(one, payload=attrs.evolve(one.payload, **of_payload), **of_envelope)
    to_itself = draw(st.sets(st.sampled_from(["effect_intent_ref", "effect_result_ref"])))
    references: dict[str, Any] = dict.fromkeys(to_itself, EffectId(one.record_id))
    return attrs.evolve(one, payload=attrs.evolve(one.payload, **references))


def _of_attributes(cls: type) -> st.SearchStrategy[Any]:
    return st.builds(cls, **{name: _of(hint) for name, hint in get_type_hints(cls).items()})


def _of(hint: Any) -> st.SearchStrategy[Any]:
    if get_origin(hint) in {Union, types.UnionType}:
        return st.one_of(*map(_of, get_args(hint)))
    if get_origin(hint) is tuple:
        return st.lists(_of(get_args(hint)[0]), max_size=3).map(tuple)
    if hint is types.NoneType:
        return st.none()
    if attrs.has(hint):
        return _of_attributes(hint)
    if issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    if issubclass(hint, Identifier):
        return IDENTIFIERS.map(hint)
    return {int: NUMBERS, str: TEXTS}[hint]


NOT_DRAWN = {"schema_version", "journal_seq", "record_id", "payload", "payload.kind"}
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    name: _of(hint)
    for name, hint in (
        *get_type_hints(JournalRecord).items(),
        *((f"payload.{name}", hint) for name, hint in get_type_hints(RealtimeSessionRecord).items()),
    )
    if name not in NOT_DRAWN
}
