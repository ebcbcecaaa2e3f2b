"""A call as a sequence of steps: messages, what nodes noted, sound. Ladder and report both show these.

Each step belongs to a chapter (register, gather, check …) in the order of a call, and to a kind by which a reader
filters: sip, stun, check, media, relay, note. Nothing is left out here; who shows the steps decides what to fold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from iceway.explain.cast import Cast
from iceway.explain.messages import Message, is_check, join
from iceway.explain.words import Words, signs_off, stun_title, technical
from iceway.trace.entry import Entry
from iceway.trace.records import (
    AllocationCreated,
    AllocationEnded,
    CallState,
    CandidateGathered,
    CandidatePruned,
    CandidateReceived,
    ChannelBound,
    ConsentLost,
    CredentialsMinted,
    CredentialsReceived,
    CredentialsRefused,
    CredentialsRequested,
    GatheringFinished,
    GatheringStarted,
    IceStateChanged,
    Measured,
    MediaKeyed,
    MediaKeyFailed,
    MediaQuality,
    MediaRejected,
    MediaStarted,
    MediaSummary,
    NameResolved,
    PairChecked,
    PairFailed,
    PairFormed,
    PairNominated,
    PairPruned,
    PairSelected,
    PairSucceeded,
    PermissionInstalled,
    Record,
    Registered,
    RelayDropped,
    RelayRefused,
    RoleConflict,
    ServerAnswered,
    ServerRefused,
    ServerSkipped,
    ServerUnreachable,
    SipReceived,
    SipSent,
    Started,
    StunReceived,
    StunSent,
    VideoFroze,
)

CHAPTERS = (
    "locate",
    "register",
    "credentials",
    "gather",
    "offer",
    "answer early",
    "check",
    "pick up",
    "settle",
    "talk",
    "hang up",
)
"""The steps of a call, as DESIGN and the docs tell it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened. `receiver` is empty for what a node did by itself."""

    at: float
    kind: str
    chapter: str
    sender: str
    receiver: str
    title: str
    plain: str
    technical: str
    seen: tuple[int, ...]
    arrived: float | None = None
    message: Message | None = None
    record: Record | None = None

    @property
    def lost(self) -> bool:
        return self.message is not None and self.message.lost


_CHAPTER_OF: tuple[tuple[tuple[type[Record], ...], str], ...] = (
    ((Started,), "locate"),
    ((Registered,), "register"),
    ((CredentialsRequested, CredentialsMinted, CredentialsReceived, CredentialsRefused), "credentials"),
    (
        (GatheringStarted, GatheringFinished, ServerAnswered, ServerRefused, ServerSkipped, ServerUnreachable,
         CandidateGathered, CandidatePruned, AllocationCreated, RelayRefused),
        "gather",
    ),
    (
        (PairFormed, PairPruned, PairChecked, PairSucceeded, PairFailed, PairNominated,
         PairSelected, RoleConflict, PermissionInstalled, ChannelBound),
        "check",
    ),
    (
        (MediaStarted, MediaRejected, MediaKeyed, MediaKeyFailed, MediaQuality, VideoFroze, ConsentLost),
        "talk",
    ),
    ((MediaSummary, AllocationEnded, Measured), "hang up"),
)  # fmt: skip
_CHAPTERS_BY_TYPE = {kind: chapter for kinds, chapter in _CHAPTER_OF for kind in kinds}
_KINDS: tuple[tuple[tuple[type[Record], ...], str], ...] = (
    ((MediaStarted, MediaSummary, MediaRejected, MediaKeyed, MediaKeyFailed, MediaQuality, VideoFroze,
      ConsentLost), "media"),
    ((PairFormed, PairPruned, PairChecked, PairSucceeded, PairFailed, PairNominated, PairSelected, RoleConflict,
      CandidateReceived), "check"),
    ((GatheringStarted, GatheringFinished, ServerAnswered, ServerRefused, ServerSkipped, ServerUnreachable,
      CandidateGathered, CandidatePruned, AllocationCreated, AllocationEnded, PermissionInstalled, ChannelBound,
      RelayDropped, RelayRefused), "stun"),
    ((Registered, CallState, CredentialsRequested, CredentialsMinted, CredentialsReceived, CredentialsRefused), "sip"),
)  # fmt: skip
_KIND_BY_TYPE = {kind: name for kinds, name in _KINDS for kind in kinds}
_STATE_CHAPTER = {
    "trying": "offer",
    "ringing": "offer",
    "early": "answer early",
    "confirmed": "pick up",
    "settled": "settle",
    "ended": "hang up",
    "failed": "hang up",
}
_METHOD_CHAPTER = {
    "REGISTER": "register",
    "SERVICE": "credentials",
    "SUBSCRIBE": "credentials",
    "PRACK": "answer early",
    "REFER": "talk",
    "NOTIFY": "talk",
    "BYE": "hang up",
    "CANCEL": "hang up",
}


def steps(entries: Sequence[Entry], cast: Cast | None = None) -> list[Step]:
    """All steps of a trace in order of time."""
    cast = cast or Cast(entries)
    words = Words(cast)
    joined = join(entries, cast)
    messages = {message.entry.id: message for message in joined}
    calls = _Calls(joined)
    peers = {entry.node: cast.behind(entry.record.remote.address, entry.node)
             for entry in entries if isinstance(entry.record, PairSelected)}  # fmt: skip
    found = []
    for entry in entries:
        record = entry.record
        if isinstance(record, SipSent | StunSent | SipReceived | StunReceived):
            if entry.id in messages:
                found.append(_message_step(messages[entry.id], calls, words))
            continue
        if isinstance(record, PairSelected) and not record.early:
            calls.selected(entry.node, entry.at)
        found.append(_note_step(entry, words, peers))
    return _filled(found)


_FROM_TAG = re.compile(
    r"^(?:from|f)[ \t]*:[^\r\n]*;[ \t]*tag[ \t]*=[ \t]*([^;,\s]+)", re.IGNORECASE | re.MULTILINE
)
_SETTLED = 2.0  # seconds after the choice from which on checks only keep the path alive


class _Calls:
    """What a single message does not tell: whether a call is up already, who passes on, what is a check's answer."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._answered: dict[str, int] = {}
        self._callers: dict[str, str] = {}  # by Call-ID: the From tag of whoever called
        self._settled_at: dict[str, float] = {}
        self._heard: set[tuple[str, ...]] = set()
        self._checks = {m.record.transaction_id for m in messages if is_check(m.record)}  # type: ignore[union-attr]

    def again(self, record: SipSent | SipReceived) -> bool:
        """Whether this belongs to an INVITE transaction later than the one that was answered: a re-INVITE."""
        number, _, method = record.cseq.partition(" ")
        if method.upper() not in ("INVITE", "ACK") or not number.isdecimal():
            return False
        if not self._is_caller_s(record):
            return True  # each side counts its own requests
        if method.upper() == "INVITE" and record.start_line.startswith("SIP/2.0 2"):
            self._answered.setdefault(record.call_id, int(number))
        return int(number) > self._answered.get(record.call_id, int(number))

    def confirms(self, record: SipSent | SipReceived) -> bool:
        """An ACK of an answer that began the call, rather than of a refusal."""
        number = int(record.cseq.partition(" ")[0] or 0)
        return self._is_caller_s(record) and self._answered.get(record.call_id) == number

    def _is_caller_s(self, record: SipSent | SipReceived) -> bool:
        """Whether a request, or what it was answered, is of the side that began the call."""
        found = _FROM_TAG.search(record.text)
        tag = found[1] if found else ""
        return self._callers.setdefault(record.call_id, tag) == tag

    def selected(self, node: str, at: float) -> None:
        self._settled_at.setdefault(node, at)

    def consent(self, message: Message) -> bool:
        """Checks long after the choice ask whether the other end still listens (RFC 7675)."""
        settled = [self._settled_at.get(node, message.at) for node in (message.sender, message.receiver)]
        return message.at - max(settled) > _SETTLED

    def onward(self, message: Message, record: SipSent | SipReceived) -> bool:
        """Whether the sender had this message from somebody else (a proxy changes the Request-URI at most)."""
        line = record.start_line if record.start_line.startswith("SIP/2.0 ") else ""
        same = (line, record.call_id, record.cseq)
        self._heard.add((message.receiver, *same))
        return (message.sender, *same) in self._heard

    def checks(self, record: StunSent | StunReceived) -> bool:
        return record.transaction_id in self._checks


def _message_step(message: Message, calls: _Calls, words: Words) -> Step:
    record = message.record
    if isinstance(record, SipSent | SipReceived):
        again = calls.again(record)
        kind, chapter, title = "sip", _sip_chapter(record, again, calls), record.start_line
        plain = words.message(message, again, calls.onward(message, record))
    else:
        checks = calls.checks(record)
        kind, chapter, title = ("check", "check", "") if checks else ("stun", "gather", "")
        title, plain = stun_title(record, checks), words.message(message, checks)
        if checks and calls.consent(message):
            chapter, title = "talk", "still there?" if is_check(record) else "still here"
            plain = words.consent(message, is_check(record))
        if record.method.lower() in ("createpermission", "channelbind"):
            chapter = "check"
        elif record.method.lower() == "refresh":
            chapter = ""
    return Step(
        message.at, kind, chapter, message.sender, message.receiver, title, plain, technical(message.entry),
        message.ids, message.arrived, message, record,
    )  # fmt: skip


def _note_step(entry: Entry, words: Words, peers: dict[str, str]) -> Step:
    record = entry.record
    kind = _KIND_BY_TYPE.get(type(record), "note")
    chapter = _CHAPTERS_BY_TYPE.get(type(record), "")
    if isinstance(record, CallState):
        chapter = _STATE_CHAPTER.get(record.state, "")
    if isinstance(record, IceStateChanged):
        kind, chapter = "check", "gather" if record.state in ("new", "gathering") else "check"
    if isinstance(record, MediaStarted) and record.early:
        chapter = "check"
    sent = isinstance(record, MediaStarted) and record.direction == "sent"
    return Step(
        entry.at, kind, chapter, entry.node, peers.get(entry.node, "") if sent else "", _title(record),
        words.entry(entry), technical(entry), (entry.id,), record=record,
    )  # fmt: skip


def _filled(found: list[Step]) -> list[Step]:
    """Steps without a chapter of their own prepare what comes next, so they go with it; at the end, with the last."""
    following = next((step.chapter for step in reversed(found) if step.chapter), CHAPTERS[0])
    whole = []
    for step in reversed(found):
        following = step.chapter or following
        chapter = "locate" if isinstance(step.record, NameResolved) and following == "register" else following
        whole.append(step if step.chapter else replace(step, chapter=chapter))
    return whole[::-1]


def _title(record: Record) -> str:
    name = type(record).__name__
    return "".join(
        f" {char.lower()}" if char.isupper() and place else char for place, char in enumerate(name)
    )


def _sip_chapter(record: SipSent | SipReceived, again: bool, calls: _Calls) -> str:
    method = record.cseq.rpartition(" ")[2].upper()
    if method == "REGISTER" and signs_off(record.text):
        return "hang up"
    if method in _METHOD_CHAPTER:
        return _METHOD_CHAPTER[method]
    if again:
        return "settle"
    if method == "ACK":
        return "pick up" if calls.confirms(record) else "offer"
    if method != "INVITE":
        return "offer"
    code = record.start_line[8:11] if record.start_line.startswith("SIP/2.0 ") else ""
    if code in ("", "100", "180", "401", "407"):
        return "offer"
    return "answer early" if code.startswith("1") else "pick up"
