"""
Names of things: validated ids and typed references.

An id is a `str` that has been checked once, where it entered.
"""

from __future__ import annotations

import hashlib
import re
from typing import Self

import attrs

from realtime_async._core.given import shown, text_field
from realtime_async.errors import InvalidIdentifier

__all__ = [
    "AgentId",
    "ContentRef",
    "DestinationRef",
    "EffectId",
    "EntityRef",
    "Identifier",
    "PolicyRef",
    "RealtimeConnectionId",
    "RealtimeFrameId",
    "RealtimeResponseId",
    "RealtimeSessionId",
    "RunId",
    "SourceRef",
    "safe_id_fragment",
]

_VALID = re.compile(r"[A-Za-z0-9._:-]{1,256}")
_OTHER = re.compile(r"[^A-Za-z0-9._:-]")
_ENDS_LIKE_A_HASH = re.compile(r"\.h[0-9a-f]{12}\Z")
_FRAGMENT_LENGTH = 200
_HASH_LENGTH = len(".h") + 12


class Identifier(str):
    """1–256 characters of `A–Z a–z 0–9 . _ : -`; anything else raises `InvalidIdentifier`."""

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if type(value) is cls:
            return value
        if not isinstance(value, str):
            raise InvalidIdentifier(
                f"{cls.__name__} needs a str, not {type(value).__name__}: pass 1-256 characters out of A-Z a-z 0-9 . _ : -"
            )
        if _VALID.fullmatch(value) is None:
            raise InvalidIdentifier(
                f"{cls.__name__} {shown(value)} is not 1-256 characters out of A-Z a-z 0-9 . _ : - and no others; "
                "pass it through safe_id_fragment() first"
            )
        return super().__new__(cls, _as_checked(value))

    @classmethod
    def known_valid(cls, value: str) -> Self:
        """An id from text that is valid by construction, without the cost of checking it."""
        return str.__new__(cls, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({super().__repr__()})"


def _as_checked(text: str) -> str:
    # `str` asks another kind of text for its name, and that of an enum's member is not what was looked at.
    return text if type(text) is str else str.__str__(text)


class RunId(Identifier):
    """A run: outlives its sessions."""

    __slots__ = ()


class AgentId(Identifier):
    """The agent that a run belongs to."""

    __slots__ = ()


class RealtimeSessionId(Identifier):
    """A session: outlives its connections."""

    __slots__ = ()


class RealtimeConnectionId(Identifier):
    """A connection: dies on restart."""

    __slots__ = ()


class RealtimeResponseId(Identifier):
    """One answer of the provider."""

    __slots__ = ()


class RealtimeFrameId(Identifier):
    """One frame, either way."""

    __slots__ = ()


class EffectId(Identifier):
    """What links a result to its intent."""

    __slots__ = ()


class PolicyRef(Identifier):
    """A policy that the host keeps."""

    __slots__ = ()


class ContentRef(Identifier):
    """Where a content lies that the journal does not hold."""

    __slots__ = ()


def safe_id_fragment(text: str) -> str:
    """
    Make *text* fit for use inside an id.

    Every character outside the alphabet of ids becomes a hyphen.
    The result is never empty, at most 200 characters, stable across processes, and
    distinct texts stay distinct: a short hash of the text is appended where anything was
    replaced, where the text is too long, and where it already ends like such a hash.

    Raises:
        InvalidIdentifier: It is no text.
    """
    if not isinstance(text, str):
        raise InvalidIdentifier(
            f"a fragment of an id is made of a str, not of {shown(text)}: give it as text"
        )
    text = _as_checked(text)
    replaced = _OTHER.sub("-", text)
    unchanged = replaced == text and 0 < len(text) <= _FRAGMENT_LENGTH
    if unchanged and _ENDS_LIKE_A_HASH.search(text) is None:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{replaced[: _FRAGMENT_LENGTH - _HASH_LENGTH]}.h{digest}"


@attrs.frozen
class SourceRef:
    """Where a record comes from; the kind we use is `host`."""

    kind: str = attrs.field(validator=text_field)
    ref: str = attrs.field(validator=text_field)


@attrs.frozen
class DestinationRef:
    """Where an effect goes; the kind we use is `provider`, with its route as ref."""

    kind: str = attrs.field(validator=text_field)
    ref: str = attrs.field(validator=text_field)


@attrs.frozen
class EntityRef:
    """What a record is about; the kind we use is `realtime_session`, with the session id as ref."""

    kind: str = attrs.field(validator=text_field)
    ref: str = attrs.field(validator=text_field)
