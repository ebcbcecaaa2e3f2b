"""Packets in as they come, coded pictures out: whole, in order, and each with those before it that it needs.

A picture is given out as soon as it and all before it are there. A hole is waited for as long as `patience` says;
then everything up to the next picture that needs no other is dropped, and `needs_whole` says that one must be asked
for. A whole picture that is there behind a hole is taken at once. Until the first one, nothing is given out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from iceway.media.vp8 import Piece

MAX_HELD = 1500  # packets
PATIENCE = 0.5
"""Seconds that a hole is waited for, while the round trip is not known."""
_NO_TIME = -1


class Fate(Enum):
    """What became of a packet on arrival."""

    KEPT = "kept"
    LATE = "late"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """One picture's bytes; its timestamp is unwrapped, as the packets' were."""

    data: bytes
    timestamp: int
    payload_type: int
    whole: bool


@dataclass(frozen=True, slots=True)
class _Held:
    piece: Piece
    timestamp: int
    payload_type: int
    marker: bool
    arrived: float


class PictureBuffer:
    """One stream's packets; sequence numbers and timestamps come in unwrapped."""

    def __init__(self) -> None:
        self.lost = 0
        """Packets that never came, or came too late to be waited for."""
        self.late = 0
        self.duplicate = 0
        self.patience = PATIENCE
        self._held: dict[int, _Held] = {}
        self._next: int | None = None
        self._passed: int | None = None
        self._stuck_since: float | None = None

    @property
    def needs_whole(self) -> bool:
        """Nothing can be shown before a picture that needs no other."""
        return self._next is None

    @property
    def wanted_from(self) -> int | None:
        """The first packet that is still of use, None before any came."""
        return self._passed if self._next is None else self._next

    def put(
        self, sequence: int, timestamp: int, payload_type: int, piece: Piece, marker: bool, now: float
    ) -> Fate:
        if sequence in self._held:
            self.duplicate += 1
            return Fate.DUPLICATE
        first = self.wanted_from
        if first is not None and sequence < first:
            self.late += 1
            return Fate.LATE
        self._held[sequence] = _Held(piece, timestamp, payload_type, marker, now)
        if len(self._held) > MAX_HELD:
            self._give_up()
        return Fate.KEPT

    def put_nothing(self, sequence: int, now: float) -> None:
        """A packet that carries no piece of any picture: there is no hole where it was."""
        self.put(sequence, _NO_TIME, 0, Piece(b"", False), True, now)

    def take(self, now: float) -> CodedPicture | None:
        """The next picture to be shown, None while there is none."""
        while self._held:
            if self._next is None and not self._begin():
                return None
            assert self._next is not None
            last = self._end_of_picture(self._next)
            if last is not None:
                picture = self._taken(self._next, last)
                if picture.data:
                    return picture
            elif not self._past_hole(now):
                return None
        return None

    def gives_up_at(self) -> float | None:
        """When `take` has something to do though nothing came."""
        return None if self._stuck_since is None else self._stuck_since + self.patience

    def restart(self) -> None:
        """Another stream took over, or what was decoded is no ground for what comes."""
        self._held.clear()
        self._next = self._passed = self._stuck_since = None

    def lose_ground(self) -> None:
        """What comes next cannot be decoded: go on with a whole picture."""
        if self._next is not None:
            self._passed, self._next, self._stuck_since = self._next, None, None

    def _begin(self) -> bool:
        start = min((at for at, held in self._held.items() if held.piece.starts_key), default=None)
        if start is None:
            return False
        if self._passed is not None:
            self.lost += self._absent(self._passed, start)
        for passed in [at for at in self._held if at < start]:
            del self._held[passed]
        self._next, self._passed = start, None
        return True

    def _end_of_picture(self, first: int) -> int | None:
        """The last packet of the picture that begins with `first`, None while any of it is missing."""
        at, held = first, self._held.get(first)
        while held is not None and not held.marker:
            following = self._held.get(at + 1)
            if following is not None and following.timestamp != held.timestamp:
                break  # its end was not marked, as some senders leave it
            at, held = at + 1, following
        return None if held is None else at

    def _taken(self, first: int, last: int) -> CodedPicture:
        parts = [self._held.pop(at) for at in range(first, last + 1)]
        self._next, self._stuck_since = last + 1, None
        return CodedPicture(
            b"".join(part.piece.data for part in parts),
            parts[0].timestamp,
            parts[0].payload_type,
            any(part.piece.starts_key for part in parts),
        )

    def _past_hole(self, now: float) -> bool:
        """Whether there is a way to go on: a whole picture behind the hole, or the end of patience."""
        assert self._next is not None
        hole = self._next
        while hole in self._held:
            hole += 1
        behind = [at for at in self._held if at > hole]
        if not behind:
            self._stuck_since = None  # the hole was filled, and what comes behind it is still to come
            return False
        # Not only the first: it may be a whole picture of which a packet is missing in turn.
        for start in sorted(at for at in behind if self._held[at].piece.starts_key and self._first(at)):
            if self._end_of_picture(start) is not None:
                self._drop_before(start)
                return True
        if self._stuck_since is None:
            self._stuck_since = min(self._held[at].arrived for at in behind)
        if now < self._stuck_since + self.patience:
            return False
        self._give_up()
        return True

    def _first(self, at: int) -> bool:
        """Whether the packet before this one is not of the same picture, as far as one can see."""
        before = self._held.get(at - 1)
        return before is None or before.marker or before.timestamp != self._held[at].timestamp

    def _absent(self, first: int, end: int) -> int:
        """How many packets never came; counted without walking through a gap, which may be as long as they like."""
        return max(0, end - first) - sum(first <= at < end for at in self._held)

    def _drop_before(self, start: int) -> None:
        assert self._next is not None
        self.lost += self._absent(self._next, start)
        for passed in [at for at in self._held if at < start]:
            del self._held[passed]
        self._next, self._stuck_since = start, None

    def _give_up(self) -> None:
        """Leave only what a later whole picture may need."""
        first = self.wanted_from
        starts = [at for at, held in self._held.items() if held.piece.starts_key and at != first]
        keep = min(starts, default=max(self._held) + 1)
        if len(self._held) > MAX_HELD:
            keep = max(self._held) + 1
        if first is not None:
            self.lost += self._absent(first, keep)
        for passed in [at for at in self._held if at < keep]:
            del self._held[passed]
        self._next, self._passed, self._stuck_since = None, keep, None
