"""
Stretches of input audio: frames whose numbers follow each other.

A microphone's frames differ in their samples, and in how their ids end.
So a stretch joins these and states once what its frames share: an object for each of them would take
half as much memory again as its audio.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice
from operator import itemgetter

import attrs

from realtime_async._core.frames import RealtimeInputFrame, input_frame_of
from realtime_async._core.identifiers import RealtimeFrameId

__all__ = ["FRAMES_EACH", "FRAMES_JOINED", "Stretch"]

# So few that the lists of what is kept of them are short.
FRAMES_EACH = 256
# So few, and so small, that it costs next to no memory to let go of them together.
FRAMES_JOINED = 8
BYTES_JOINED = 64 * 1024
# No id has one.
SPACE = " "

_SHARED = tuple(
    field.name
    for field in attrs.fields(RealtimeInputFrame)
    # The controller stamps a cursor anew, whenever it sends.
    if field.name not in {"frame_id", "payload", "cursor"}
)
_shared_by = itemgetter(*_SHARED)


class Stretch:
    """Frames of audio at one rate, of which it keeps the newest: those that `drop` has not let go."""

    __slots__ = (
        "_blocks",
        "_dropped",
        "_dropped_bytes",
        "_id_begins",
        "_ids",
        "_loose",
        "_shared",
        "_sizes",
        "begins_ms",
        "bytes",
        "first",
        "frames",
        "kept",
        "oldest_ends_ms",
        "rate",
    )

    def __init__(self, first: int, frame: RealtimeInputFrame, begins_ms: float, rate: int) -> None:
        self.first = first
        """The number of its first frame, which is *frame*, and still to be added."""
        self.begins_ms = begins_ms
        """Where that begins in the session's input audio."""
        self.rate = rate
        """Bytes of a second."""
        self.frames = 0
        """How many it has had."""
        self.kept = 0
        """How many of them it keeps."""
        self.bytes = 0
        """Of all that it has had."""
        self.oldest_ends_ms = begins_ms
        """Where the oldest of those that it keeps ends."""
        self._sizes = array("I")
        self._dropped_bytes = 0
        self._shared = _shared_by(frame.__dict__)
        """What frames are like whose payloads and ids are joined."""
        self._id_begins = SPACE + frame.frame_id[: frame.frame_id.rfind(".") + 1]
        self._blocks: list[bytes | list[RealtimeInputFrame]] = []
        """Payloads, joined; or whole frames, where some are unlike."""
        self._ids = ""
        """How the ids of all frames end that were ever in a block; nothing where they are whole."""
        self._dropped = 0
        """How many frames of the first block are gone. Joined ones stay there until all are: to cut one off copies the rest."""
        self._loose: list[RealtimeInputFrame] = []
        """The newest frames, of which there is no block yet."""

    def add(self, frame: RealtimeInputFrame, size: int) -> None:
        """Keep *frame*, which has *size* bytes and the number that comes next."""
        self.frames += 1
        self.kept += 1
        self.bytes += size
        self._sizes.append(size)
        self._loose.append(frame)
        if self.kept == 1:
            self.oldest_ends_ms = self._ends_ms(self.bytes)
        if len(self._loose) == FRAMES_JOINED:
            self._join()

    def _join(self) -> None:
        loose = self._loose
        payloads = [frame.payload for frame in loose if isinstance(frame.payload, bytes)]
        ids = SPACE + SPACE.join([frame.frame_id for frame in loose])
        if (
            [_shared_by(frame.__dict__) for frame in loose].count(self._shared) == FRAMES_JOINED
            and ids.count(self._id_begins) == FRAMES_JOINED
            and len(payloads) == FRAMES_JOINED
            # What derives from a frame may have more to it.
            and {*map(type, loose)} == {RealtimeInputFrame}
            and sum(self._sizes[-FRAMES_JOINED:]) <= BYTES_JOINED
        ):
            self._blocks.append(b"".join(payloads))
            self._ids += ids.replace(self._id_begins, SPACE)
        else:
            self._blocks.append(loose)
            self._ids += SPACE * FRAMES_JOINED
        self._loose = []

    @property
    def oldest(self) -> int:
        """The number of the oldest frame that it keeps."""
        return self.first + self.frames - self.kept

    def _ends_ms(self, through: int) -> float:
        return self.begins_ms + through * 1000 / self.rate

    def drop(self) -> int:
        """Let go of the oldest frame that it keeps, but not of its position; returns how many bytes it had."""
        kept = self.kept
        size = self._sizes[-kept]
        self._dropped_bytes += size
        self.kept = kept = kept - 1
        if kept:
            self.oldest_ends_ms = (
                self.begins_ms + (self._dropped_bytes + self._sizes[-kept]) * 1000 / self.rate
            )
        else:
            self._ids = ""
        if not self._blocks:
            del self._loose[0]
            return size
        self._dropped += 1
        block = self._blocks[0]
        if self._dropped == FRAMES_JOINED:
            self._dropped = 0
            del self._blocks[0]
        elif not isinstance(block, bytes):
            del block[0]
        return size

    def number_at(self, position_ms: float) -> int | None:
        """The last of its frames that ends by *position_ms*; None: not even the first does."""
        ended = 0
        for ended, through in enumerate(accumulate(self._sizes), 1):
            if self._ends_ms(through) > position_ms:
                ended -= 1
                break
        return self.first + ended - 1 if ended else None

    def ends_ms(self, number: int) -> float:
        """Where frame *number* ends in the session's input audio; of a later one, where its last does."""
        return self._ends_ms(sum(self._sizes[: number - self.first + 1]))

    def __iter__(self) -> Iterator[tuple[int, RealtimeInputFrame]]:
        """The frames that it keeps, each with its number."""
        return enumerate((*self._of_blocks(), *self._loose), self.oldest)

    def _of_blocks(self) -> Iterator[RealtimeInputFrame]:
        shared = dict(zip(_SHARED, self._shared, strict=True), cursor=None)
        ids = self._ids.replace(SPACE, self._id_begins).split(SPACE)
        begin = len(ids) - (self.kept - len(self._loose))
        for part, frame_id in zip(self._parts(), ids[begin:], strict=True):
            if isinstance(part, bytes):
                own = {"frame_id": RealtimeFrameId.known_valid(frame_id), "payload": part}
                yield input_frame_of(shared | own)
            else:
                yield part

    def _parts(self) -> Iterator[bytes | RealtimeInputFrame]:
        """What the blocks have of each frame."""
        sizes = iter(self._sizes[-self.kept - self._dropped :])
        dropped = self._dropped
        for block in self._blocks:
            lengths = list(islice(sizes, FRAMES_JOINED))
            yield from islice(_cut(block, lengths), dropped, None) if isinstance(block, bytes) else block
            dropped = 0


def _cut(block: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    begin = 0
    for size in sizes:
        yield block[begin : begin + size]
        begin += size
