"""Telephone keys within a stream of sound (RFC 4733): `DigitSender` plays them, `DigitReceiver` hears them.

A key is an event that began at one RTP timestamp and grows: a report every 20 ms in place of sound, the last one
three times (§2.5.1.4). Sound goes on between keys, so that whoever listens can tell two presses of one key
apart. Keys are often secrets (a PIN), so nothing here makes records of them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from iceway.core.errors import UsageError
from iceway.media.sound import FRAME_DURATION
from iceway.wire.rtp import RtpPacket
from iceway.wire.telephone_event import DIGITS, MAX_DURATION, TelephoneEvent

SHORTEST, LONGEST = 0.04, 1.0  # seconds; ITU-T Q.24 wants 40 ms, and 16 bits hold 1.3 s of 48 kHz
PAUSE = 4  # frames of sound between keys
COPIES = 3  # of the last report
VOLUME = 10  # −dBm0
MAX_WAITING = 128  # keys that wait for their turn
FORGOTTEN = 0.2  # seconds without a report, after which a key counts as released
_REMEMBERED = 8  # keys whose late reports are known as such


@dataclass(frozen=True, slots=True)
class Report:
    """What goes out in place of a frame of sound. `first`: its key begins at the stream's timestamp of now."""

    event: TelephoneEvent
    first: bool


class DigitSender:
    """Keys that wait, one after the other. Ask `next_report` once for each frame."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, int]] = deque()  # event, frames
        self._event: int | None = None
        self._frames = 0
        self._said = 0
        self._pause = 0

    def press(self, digits: str, duration: float) -> None:
        """Raises UsageError for what is no key, or too much of it."""
        events = checked(digits, duration)
        if len(self._waiting) + len(events) > MAX_WAITING:
            raise UsageError(f"more than {MAX_WAITING} keys wait to be sent; send them bit by bit")
        frames = max(1, round(duration / FRAME_DURATION))
        self._waiting.extend((event, frames) for event in events)

    def next_report(self, clock_rate: int) -> Report | None:
        """What to send in place of the next frame of sound; None: the sound."""
        if self._event is None:
            if self._pause:
                self._pause -= 1
                return None
            if not self._waiting:
                return None
            self._event, self._frames = self._waiting.popleft()
            self._said = 0
        self._said += 1
        end = self._said >= self._frames
        ticks = round(min(self._said, self._frames) * FRAME_DURATION * clock_rate)
        report = TelephoneEvent(self._event, end, VOLUME, min(ticks, MAX_DURATION))
        if self._said >= self._frames + COPIES - 1:
            self._event, self._pause = None, PAUSE
        return Report(report, first=self._said == 1)


@dataclass(slots=True)
class _Key:
    """One that is being held down at the other end."""

    digit: str
    source: tuple[int, int]
    clock_rate: int
    ticks: int
    heard_at: float


class DigitReceiver:
    """The other end's keys, each told once, when it is released."""

    def __init__(self) -> None:
        self._held: _Key | None = None
        self._done: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)

    @property
    def release_at(self) -> float | None:
        """When `released` should be asked for, since reports ceased to come."""
        return self._held.heard_at + FORGOTTEN if self._held else None

    def receive(
        self, packet: RtpPacket, event: TelephoneEvent, clock_rate: int, now: float
    ) -> list[tuple[str, float]]:
        """Keys that were released by this report, with the seconds that each was held down."""
        source = (packet.ssrc, packet.timestamp)
        if event.digit is None or source in self._done:
            return []
        over = []
        if self._held is not None and self._held.source != source:
            over.append(self._release(self._held))
        if self._held is None:
            self._held = _Key(event.digit, source, clock_rate, 0, now)
        self._held.ticks, self._held.heard_at = max(self._held.ticks, event.duration), now
        if event.end:
            over.append(self._release(self._held))
        return over

    def released(self, now: float) -> list[tuple[str, float]]:
        """The key whose end was lost on the way."""
        at = self.release_at
        return [self._release(self._held)] if self._held is not None and at is not None and now >= at else []

    def _release(self, key: _Key) -> tuple[str, float]:
        self._held = None
        self._done.append(key.source)
        return key.digit, key.ticks / key.clock_rate


def checked(digits: str, duration: float) -> list[int]:
    """The event codes of some keys. Raises UsageError."""
    wrong = [digit for digit in digits.upper() if digit not in DIGITS]
    if wrong or not digits:
        raise UsageError(
            f"{repr(wrong[0]) if wrong else 'nothing'} is no key of a telephone; keys are {DIGITS}"
        )
    if not SHORTEST <= duration <= LONGEST:
        raise UsageError(f"a key is held down {SHORTEST:g} to {LONGEST:g} s, not {duration:g}")
    return [DIGITS.index(digit) for digit in digits.upper()]
