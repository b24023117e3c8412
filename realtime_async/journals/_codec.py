"""
A record as JSON, and back: the form in which records leave the package.

Names are those of the attributes, fields that have their default are left out,
and schema_version is always there, so that every later release knows what it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from cattrs.errors import BaseValidationError, ForbiddenExtraKeysError
from cattrs.gen import make_dict_unstructure_fn, override
from cattrs.preconf.orjson import OrjsonConverter, make_converter

from realtime_async._core.records import SCHEMA_VERSION
from realtime_async.errors import AgentError, JournalCorrupt, JournalFailure
from realtime_async.ports import JournalRecord

__all__ = [
    "CONVERTER",
    "UNREADABLE",
    "UPCASTERS",
    "Public",
    "corrupt",
    "decode",
    "encode",
    "restore",
    "unstructure",
]

Public = dict[str, Any]
"""A record as JSON has it."""

UPCASTERS: dict[int, Callable[[Public], Public]] = {}
"""By schema version: makes of a record of that version one of the next."""

UNREADABLE = (
    AgentError,
    AttributeError,
    BaseValidationError,
    ForbiddenExtraKeysError,
    KeyError,
    TypeError,
    ValueError,
)
"""What reading something that is no record may raise."""


def encode(record: JournalRecord) -> bytes:
    """Write *record* as one line of JSON."""
    return orjson.dumps(unstructure(record))


def decode(line: bytes | str) -> JournalRecord:
    """
    Read a record that this release or an earlier one has written.

    Raises:
        JournalCorrupt: It is no record, or one that a newer release has written.
    """
    try:
        public = orjson.loads(line)
        named = f"record {public['journal_seq']!r} of run {public['run_id']!r}"
    except UNREADABLE as error:
        raise JournalCorrupt("a line of JSON is no record: it names neither its run nor its place") from error
    return restore(public, named)


def restore(public: Public, named: str) -> JournalRecord:
    """Make the record of its JSON; an error says *named* of it."""
    try:
        version = public["schema_version"]
        if version > SCHEMA_VERSION:
            raise JournalCorrupt(
                f"{named} has schema version {version!r}, and this release reads up to {SCHEMA_VERSION}: "
                "read it with the release that wrote it, or a later one"
            )
        for older in range(version, SCHEMA_VERSION):
            public = UPCASTERS[older](public)
        return _structure(public, JournalRecord)
    except JournalFailure:
        raise
    except UNREADABLE as error:
        raise corrupt(named, error) from error


def corrupt(named: str, error: Exception) -> JournalCorrupt:
    # Not the text of the error: it could quote what was said.
    return JournalCorrupt(
        f"{named} cannot be read ({type(error).__name__}): its journal was tampered with or damaged; "
        "restore it, or leave this run alone"
    )


def _converter() -> OrjsonConverter:
    converter = make_converter(omit_if_default=True, forbid_extra_keys=True, detailed_validation=False)
    # cattrs by itself would make a text of a number, and a number of a text.
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(int, _number)
    converter.register_unstructure_hook(
        JournalRecord,
        make_dict_unstructure_fn(
            JournalRecord,
            converter,
            _cattrs_omit_if_default=True,
            schema_version=override(omit_if_default=False),
        ),
    )
    return converter


def _text(value: object, kind: type[str]) -> str:
    """A text, an identifier or a choice."""
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} instead of {kind.__name__}")
    return value if kind is str else kind(value)


def _number(value: object, kind: type[int]) -> int:
    if type(value) is not int:
        raise TypeError(f"{type(value).__name__} instead of {kind.__name__}")
    return value


CONVERTER = _converter()
unstructure: Callable[[JournalRecord], Mapping[str, Any]] = CONVERTER.get_unstructure_hook(JournalRecord)
_structure: Callable[[Public, type[JournalRecord]], JournalRecord] = CONVERTER.get_structure_hook(
    JournalRecord
)
