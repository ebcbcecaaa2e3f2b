"""What the trace tells, kept as a screen needs it: lines in words, and the ICE of each call.

Candidates, pairs and their checks are no lines: there are dozens of them, and a table shows them better.

`hear` is called for every record there is, so it only sorts; words are found when somebody looks (`tell`), which is a
few times a second at most. Everything is bounded.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass

from iceway.explain.cast import Cast
from iceway.explain.clean import clean
from iceway.explain.model import PathVerdict
from iceway.explain.path import verdicts
from iceway.explain.words import Words
from iceway.trace.entry import Entry
from iceway.trace.records import (
    AllocationCreated,
    CallState,
    CandidateGathered,
    CandidateReceived,
    ConnectionClosed,
    ConnectionOpened,
    ConsentLost,
    CredentialsReceived,
    CredentialsRefused,
    GatheringFinished,
    GatheringStarted,
    IceStateChanged,
    Malformed,
    MediaKeyed,
    MediaKeyFailed,
    MediaRejected,
    MediaStarted,
    MediaSummary,
    NameResolved,
    Note,
    PairSelected,
    Registered,
    RoleConflict,
    ServerAnswered,
    ServerRefused,
    ServerUnreachable,
    SipAuthenticationFailed,
    SipReceived,
    SipSent,
    SipTransactionFailed,
    Started,
    Unregistered,
)

MAX_LINES = 1000
MAX_CALL_RECORDS = 3000  # of one call's ICE: a search for a path takes some hundreds
MAX_CALLS = 16
_CAST_RECORDS = 1000  # the latest of those that say who is who

_GOOD = (Registered, PairSelected, MediaStarted, MediaKeyed)
_BAD = (
    ConsentLost, CredentialsRefused, Malformed, MediaKeyFailed, MediaRejected, ServerRefused, ServerUnreachable,
    SipAuthenticationFailed, SipTransactionFailed,
)  # fmt: skip
_QUIET = (
    ConnectionOpened, ConnectionClosed, CredentialsReceived, GatheringFinished, GatheringStarted, MediaSummary, NameResolved,
    RoleConflict, ServerAnswered, Started,
)  # fmt: skip
_TOLD = (*_GOOD, *_BAD, *_QUIET, CallState, IceStateChanged, Note, Unregistered)
_WHO_IS_WHO = (
    AllocationCreated, CallState, CandidateGathered, CandidateReceived, ConnectionOpened, GatheringStarted,
    Registered, Started,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """`mood` is good, bad, quiet or empty: how it is coloured. `at` is on the clock of records."""

    at: float
    text: str
    mood: str = ""


class Story:
    """Told by `Client(listeners=(story.hear,))`."""

    def __init__(self) -> None:
        self.count = 0  # lines told so far
        self.lines: deque[Line] = deque(maxlen=MAX_LINES)
        self.wrong_password = False
        self.ringing: set[str] = set()  # whose phone rings, of those we call
        self._untold: deque[Entry] = deque(maxlen=MAX_LINES)
        self._who: deque[Entry] = deque(maxlen=_CAST_RECORDS)
        self._calls: dict[str, deque[Entry]] = {}
        self._verdicts: dict[str, tuple[int, PathVerdict]] = {}

    def hear(self, entry: Entry) -> None:
        record = entry.record
        agent = getattr(record, "agent", None)
        if agent is not None:
            self._call(agent.partition("/")[0]).append(entry)
        match record:
            case SipAuthenticationFailed():
                self.wrong_password = True
            case CallState(state="ringing" | "early", remote_uri=peer):
                self.ringing.add(peer)
            case CallState(state="trying" | "ended" | "failed", remote_uri=peer):
                self.ringing.discard(peer)
        if isinstance(record, _WHO_IS_WHO) or _calls_somebody(entry):
            self._who.append(entry)
        if isinstance(record, _TOLD) and not (
            isinstance(record, IceStateChanged) and record.state != "failed"
        ):
            self._untold.append(entry)

    def tell(self) -> None:
        """Put into words what came since the last time."""
        words: dict[str, Words] = {}
        told = []
        for entry in self._untold:
            call = _call_id(entry)
            if call not in words:  # who calls whom differs from call to call
                words[call] = Words(Cast([one for one in self._who if _call_id(one) in ("", call)]))
            told.append(Line(entry.at, words[call].entry(entry), _mood(entry)))
        self._untold.clear()
        self.lines.extend(told)
        self.count += len(told)

    def say(self, text: str, mood: str = "") -> None:
        """A line of the phone's own."""
        self.lines.append(Line(time.monotonic(), clean(text), mood))
        self.count += 1

    def size(self, call: str) -> int:
        """Grows whenever there is something new about the call's path."""
        known = self._calls.get(call)
        return known[-1].id if known else 0

    def path(self, call: str) -> PathVerdict | None:
        """What the call's first ICE agent found so far; None before it began."""
        entries = self._calls.get(call)
        if not entries:
            return None
        size, known = self._verdicts.get(call, (0, None))
        if known is None or size != entries[-1].id:
            known = verdicts(list(entries))[0]
            self._verdicts[call] = (entries[-1].id, known)
        return known

    def _call(self, call: str) -> deque[Entry]:
        entries = self._calls.get(call)
        if entries is None:
            if len(self._calls) >= MAX_CALLS:
                oldest = next(iter(self._calls))
                del self._calls[oldest]
                self._verdicts.pop(oldest, None)
            entries = self._calls[call] = deque(maxlen=MAX_CALL_RECORDS)
        return entries


def _call_id(entry: Entry) -> str:
    return str(getattr(entry.record, "call_id", ""))


def _calls_somebody(entry: Entry) -> bool:
    record = entry.record
    return isinstance(record, SipSent | SipReceived) and record.start_line.startswith("INVITE ")


def _mood(entry: Entry) -> str:
    record = entry.record
    match record:
        case CallState(state="failed") | IceStateChanged(state="failed") | Note(level="warning" | "error"):
            return "bad"
        case CallState(state="confirmed"):
            return "good"
    return "good" if isinstance(record, _GOOD) else "bad" if isinstance(record, _BAD) else (
        "quiet" if isinstance(record, _QUIET) else "")  # fmt: skip
