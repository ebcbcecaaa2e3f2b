"""A call's steps as rows of the page: chosen, folded, with the way each packet takes and what it says on it.

Retransmissions fold into the step they repeat, minor records are left out, long messages are cut, and past a budget
for the whole call raw messages are dropped: what is here ends up in the page word for word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from iceway.core.address import Address
from iceway.explain.cast import Cast
from iceway.explain.messages import Message, is_check
from iceway.explain.steps import CHAPTERS, Step, steps
from iceway.explain.streams import bare
from iceway.explain.words import candidate_words
from iceway.studio.picture import Picture
from iceway.trace.entry import Entry
from iceway.trace.records import (
    AllocationCreated,
    AllocationEnded,
    CallState,
    CandidateInfo,
    CandidatePruned,
    CandidateReceived,
    ChannelBound,
    ConnectionClosed,
    ConnectionOpened,
    CredentialsRequested,
    GatheringFinished,
    IceStateChanged,
    MediaStarted,
    NameResolved,
    PacketDropped,
    PacketTranslated,
    PairChecked,
    PairFailed,
    PairFormed,
    PairPruned,
    PairSelected,
    PairSucceeded,
    PermissionInstalled,
    Record,
    Registered,
    RelayRefused,
    ServerAnswered,
    SipReceived,
    SipSent,
    Started,
    StunReceived,
    StunSent,
    Unregistered,
)

MAX_STEPS = 1500
MAX_TEXT = 12_000
RAW_BUDGET = 1_500_000

_WORDS = {"CreatePermission": "Permit", "ChannelBind": "Channel"}
_LEFT_OUT: tuple[type[Record], ...] = (
    Started,
    PacketTranslated,
    PacketDropped,
    PairChecked,
    PairFailed,
    PairFormed,
    PairPruned,
    PairSucceeded,
    ServerAnswered,
    GatheringFinished,
    ConnectionOpened,
    AllocationCreated,
    AllocationEnded,
    PermissionInstalled,
    ChannelBound,
    Unregistered,
)


_GIVEN_UP = re.compile(r"\bpair \d+ was selected|never checked")


@dataclass(slots=True)
class _Shown:
    """A step on its way into the page; `times` counts retransmissions folded into it."""

    step: Step
    times: int = 1
    lost: bool = False
    more: list[str] = field(default_factory=list)
    ids: tuple[int, ...] = ()


def step_rows(entries: Sequence[Entry], cast: Cast, picture: Picture) -> list[dict[str, Any]]:
    """The rows of one call, in order of time."""
    translated = [entry.record for entry in entries if isinstance(entry.record, PacketTranslated)]
    rows = [_Row(shown, cast, picture, translated).plain() for shown in _selected(steps(entries, cast), cast)]
    _spend(rows)
    return rows


def _selected(every: Sequence[Step], cast: Cast) -> list[_Shown]:
    """The steps worth an animation, retransmissions folded, lists of candidates told in one step."""
    shown: list[_Shown] = []
    first: dict[tuple[object, ...], _Shown] = {}
    learned: dict[str, _Shown] = {}
    known_candidates: set[tuple[str, CandidateInfo]] = set()
    asked: set[tuple[str, str, bool]] = set()
    resolved = {
        (step.sender, step.record.record_type == "SRV")
        for step in every
        if isinstance(step.record, NameResolved) and step.record.answers
    }
    for step in every:
        record = step.record
        if isinstance(record, NameResolved):
            question = (step.sender, record.name, bool(record.answers))
            vain = not record.answers and not record.error
            if question in asked or (vain and (step.sender, record.record_type == "SRV") in resolved):
                continue
            asked.add(question)
        if isinstance(record, _LEFT_OUT) or (isinstance(record, Registered) and record.outside is None):
            continue
        if isinstance(record, IceStateChanged) and record.state not in ("failed",):
            continue
        if isinstance(record, CredentialsRequested) and cast.roles.get(step.sender) in ("edge", "frontend"):
            continue
        if isinstance(record, ConnectionClosed) and record.reason.startswith("closed by"):
            continue
        if isinstance(record, RelayRefused) and record.code in (401, 403, 438):
            continue  # the answer itself is a step
        if isinstance(record, PairFailed) and _GIVEN_UP.search(record.reason):
            continue
        if isinstance(record, CandidatePruned) and record.reason.startswith("repeats"):
            continue
        if step.lost and isinstance(record, StunSent) and record.method == "Refresh":
            continue  # the answer to a client that has hung up already
        if isinstance(record, CandidateReceived):
            if (step.sender, record.candidate) in known_candidates:
                continue
            known_candidates.add((step.sender, record.candidate))
            known = learned.get(step.sender)
            if known is not None and step.at - known.step.at < 0.5:
                known.times += 1
                known.more.append(candidate_words(record.candidate, "the other side’s"))
                continue
            learned[step.sender] = _Shown(step, more=[candidate_words(record.candidate, "the other side’s")])
            shown.append(learned[step.sender])
            continue
        if step.message is not None:
            key = _key(step)
            known = first.get(key)
            if known is not None:
                known.times += 1
                known.lost = known.lost and step.lost
                known.ids += step.seen
                continue
            first[key] = _Shown(step, lost=step.lost)
            shown.append(first[key])
            continue
        shown.append(_Shown(step))
    if len(shown) > MAX_STEPS:
        shown = [one for one in shown if one.step.message is None or one.step.kind != "check"][:MAX_STEPS]
    return shown


def _key(step: Step) -> tuple[object, ...]:
    record = step.record
    if isinstance(record, StunSent | StunReceived):
        nominates = any(name == "USE-CANDIDATE" for name, _ in record.attributes)
        if is_check(record) and step.message is not None:
            way = (step.message.source, step.message.destination)
            return "check", step.sender, way, nominates, None if step.lost else record.transaction_id
        return "stun", step.sender, record.transaction_id, record.message_class
    if isinstance(record, SipSent | SipReceived):
        return "sip", step.sender, step.receiver, record.start_line, record.call_id, record.cseq, record.text
    return (id(step),)


class _Row:
    """One step as the page's data."""

    def __init__(
        self, shown: _Shown, cast: Cast, picture: Picture, translated: Sequence[PacketTranslated]
    ) -> None:
        self._shown = shown
        self._step = shown.step
        self._cast = cast
        self._picture = picture
        self._translated = translated

    def plain(self) -> dict[str, Any]:
        step = self._step
        row: dict[str, Any] = {
            "t": round(step.at, 4),
            "k": step.kind,
            "c": CHAPTERS.index(step.chapter),
            "f": step.sender,
            "o": step.receiver,
            "n": self._short(),
            "p": self._plain_line(),
            "x": step.technical,
            "ids": [*step.seen, *self._shown.ids],
        }
        if step.message is not None:
            row.update(self._travel(step.message))
        elif isinstance(step.record, MediaStarted) and step.receiver:
            row["media"] = step.sender
        if isinstance(step.record, PairSelected):
            row["pick"] = True
        if isinstance(step.record, CallState):
            row["state"] = step.record.state
        row["d"] = _details(step)
        return row

    def _plain_line(self) -> str:
        step, shown = self._step, self._shown
        line = step.plain
        if isinstance(step.record, CandidateReceived) and shown.times > 1:
            who = self._cast.name(step.sender)
            return f"{who[:1].upper()}{who[1:]} learns {shown.times} addresses of the other side: {'; '.join(shown.more)}"
        if step.message is not None and shown.times > 1:
            line += f" (sent {shown.times} times)"
        return line

    def _short(self) -> str:
        """What the packet wears on its back."""
        record = self._step.record
        if isinstance(record, SipSent | SipReceived):
            line = record.start_line
            return line[8:] if line.startswith("SIP/2.0 ") else line.partition(" ")[0]
        if isinstance(record, StunSent | StunReceived):
            return _stun_word(self._step.title)
        if isinstance(record, MediaStarted):
            what = bare(record.media)
            return what if self._step.receiver else f"first {what}"
        if isinstance(record, CallState):
            return record.state
        return self._step.title

    def _travel(self, message: Message) -> dict[str, Any]:
        record = message.record
        picture = self._picture
        source, destination = message.source, message.destination
        start_ip = (record.local if message.sent else record.remote).ip
        end_ip = (message.heard_at or destination).ip
        if message.via:
            relay_ip = next(
                (a.ip for a in (getattr(record, "relay", None), destination) if a is not None), ""
            )
            to_relay = picture.route(message.sender, message.via, start_ip, relay_ip)
            onward = picture.route(message.via, message.receiver, relay_ip, end_ip)
            route = to_relay + onward[1:]
        else:
            route = picture.route(message.sender, message.receiver, start_ip, end_ip)
        moved: dict[str, Any] = {"r": route, "tags": self._tags(message, route, source, destination)}
        if message.via:
            moved["v"] = message.via
        if message.arrived is not None and self._shown.times == 1:
            moved["a"] = round(message.arrived, 4)
        if message.lost and (self._shown.lost or self._shown.times == 1):
            moved["lost"] = True
            if message.dropped_at in route:
                moved["lostAt"] = message.dropped_at
                moved["why"] = message.dropped_why
        if self._shown.times > 1:
            moved["times"] = self._shown.times
        return moved

    def _tags(
        self, message: Message, route: Sequence[str], source: Address, destination: Address
    ) -> list[dict[str, str]]:
        """What the packet says about itself, from which node of the route on: NATs and relays change it."""
        record = message.record
        relay = getattr(record, "relay", None)
        local = record.local if message.sent else record.remote
        target = record.remote if message.sent else record.local
        lease = self._cast.lease(relay) if relay is not None else None
        if lease is not None:
            local, target = lease  # until the relay, the packet travels inside one to the relay
        tags = [{"at": route[0], "from": str(local), "to": str(target)}]
        gates = [name for name in route[1:-1] if self._kind(name) == "nat"]
        seen, arrived = message.heard_from, message.heard_at
        via = route.index(message.via) if message.via in route else len(route)
        outward = [gate for gate in gates if route.index(gate) < via][:1]
        mapped = self._mapped(message, local, target) or (seen if not message.via else None)
        if outward and mapped is not None and mapped != local:
            tags.append({"at": outward[0], "from": str(mapped), "to": str(target)})
        theirs = self._cast.lease(destination) if message.via else None
        if theirs is not None:  # from their relay on, it travels inside one from the relay
            inside, server = theirs
            outside = self._mapped(message, inside, server) or inside
            tags.append({"at": str(message.via), "from": str(server), "to": str(outside)})
            arrived = inside
        elif message.via:
            onward = str(seen or relay or tags[-1]["from"])
            tags.append({"at": message.via, "from": onward, "to": str(destination)})
        inward = [gate for gate in gates if gate not in outward or len(tags) == 1]
        if (
            arrived is not None
            and str(arrived) != tags[-1]["to"]
            and arrived != relay
            and (inward or message.via)
        ):
            where = inward[-1] if inward else str(message.via)
            tags.append({"at": where, "from": tags[-1]["from"], "to": str(arrived)})
        return tags

    def _mapped(self, message: Message, local: Address, destination: Address) -> Address | None:
        """What the sender's NAT made of its address, as the NAT recorded it."""
        fallback = None
        for record in self._translated:
            if record.outgoing and record.before == local:
                if record.peer == destination or record.peer == message.record.remote:
                    return record.after
                fallback = fallback or record.after
        return fallback if message.received is None or message.via else None

    def _kind(self, name: str) -> str:
        node = self._picture.node(name)
        return node.kind if node else ""


def _stun_word(title: str) -> str:
    """`Allocate request` → Allocate, `Allocate error 401` → 401, `check answered` → check ok."""
    fixed = {"check, nominating": "use this way", "check answered": "check ok"}
    fixed |= {"still there?": "still there?", "still here": "still here"}
    if title in fixed:
        return fixed[title]
    method, _, kind = title.partition(" ")
    method = _WORDS.get(method, method)
    if kind.startswith("error"):
        return f"{method}: {kind.removeprefix('error').strip() or 'error'}"
    return f"{method} ok" if kind.startswith("success") else method


def _details(step: Step) -> dict[str, Any]:
    """The real thing behind a step: SIP text, STUN attributes and bytes, or the fields of a record."""
    record = step.record
    if isinstance(record, SipSent | SipReceived):
        cut = record.text[:MAX_TEXT]
        return {"sip": cut + ("\n… (cut)" if len(record.text) > MAX_TEXT else "")}
    if isinstance(record, StunSent | StunReceived):
        return {
            "stun": f"{record.method} {record.message_class}",
            "id": record.transaction_id,
            "attrs": [list(pair) for pair in record.attributes],
            "hex": record.raw[:MAX_TEXT],
        }
    if record is None:
        return {}
    fields = getattr(record, "__dataclass_fields__", {})
    return {
        "fields": [[name, _text(getattr(record, name))] for name in fields if _text(getattr(record, name))]
    }


def _text(value: object) -> str:
    if value is None or value == ():
        return ""
    if isinstance(value, tuple) and not isinstance(value, Address):
        return ", ".join(_text(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _spend(rows: Sequence[dict[str, Any]]) -> None:
    """Raw messages up to the budget; later steps keep their lines but not their bytes."""
    left = RAW_BUDGET
    for row in rows:
        details = row["d"]
        size = len(details.get("sip", "")) + len(details.get("hex", ""))
        left -= size
        if left < 0 and size:
            row["d"] = {"cut": "Left out to keep this page small; the trace file has it."}
