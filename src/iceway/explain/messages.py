"""What was sent by one node and received by another, joined into one message with both its ends.

SIP is joined by start line, Call-ID and CSeq, STUN by transaction; a message sent several times pairs in order.
Addresses cannot join the two ends, since NATs change them on the way: where they differ, the message says what
the receiver saw. A message that the traced receiver never saw was lost; one whose receiver keeps no trace is
taken as arrived.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from iceway.core.address import Address
from iceway.explain.cast import Cast
from iceway.trace.entry import Entry
from iceway.trace.records import PacketDropped, RelayDropped, SipReceived, SipSent, StunReceived, StunSent

_SKEW = 0.25  # seconds by which two processes' records may be out of order
_PATIENCE = 30.0  # seconds a message may travel and still be taken for the one that was sent


@dataclass(frozen=True, slots=True)
class Message:
    """One SIP or STUN message from node to node. `via` names the relay that carried it on."""

    sender: str
    receiver: str
    sent: Entry | None
    received: Entry | None
    lost: bool = False
    via: str | None = None
    dropped: Entry | None = None

    @property
    def entry(self) -> Entry:
        entry = self.sent or self.received
        assert entry is not None
        return entry

    @property
    def record(self) -> SipSent | SipReceived | StunSent | StunReceived:
        record = self.entry.record
        assert isinstance(record, SipSent | SipReceived | StunSent | StunReceived)
        return record

    @property
    def at(self) -> float:
        return self.entry.at

    @property
    def arrived(self) -> float | None:
        return self.received.at if self.received else None

    @property
    def source(self) -> Address:
        """Where it left: of the relay, if it left through one."""
        if self.sent is None:
            return self.record.remote
        return (getattr(self.record, "relay", None) or self.record.local) if self.via else self.record.local

    @property
    def destination(self) -> Address:
        return self.record.remote if self.sent else self.record.local

    @property
    def heard_from(self) -> Address | None:
        """The address the receiver saw it come from."""
        record = self.received.record if self.received else None
        return record.remote if isinstance(record, SipReceived | StunReceived) else None

    @property
    def heard_at(self) -> Address | None:
        """The receiver's own address that it came in on."""
        record = self.received.record if self.received else None
        return record.local if isinstance(record, SipReceived | StunReceived) else None

    @property
    def seen_from(self) -> Address | None:
        """The address the receiver saw, if it is another than the one it left."""
        return None if self.sent is None or self.heard_from == self.source else self.heard_from

    @property
    def dropped_at(self) -> str:
        """The node that said it dropped the message; empty if none did."""
        record = self.dropped.record if self.dropped else None
        if isinstance(record, PacketDropped):
            return record.where
        return self.dropped.node if self.dropped else ""

    @property
    def dropped_why(self) -> str:
        record = self.dropped.record if self.dropped else None
        return record.reason if isinstance(record, PacketDropped | RelayDropped) else ""

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(entry.id for entry in (self.sent, self.received, self.dropped) if entry)


def join(entries: Sequence[Entry], cast: Cast) -> list[Message]:
    """All SIP and STUN messages of a trace, in the order they were sent."""
    waiting: dict[tuple[object, ...], deque[Entry]] = defaultdict(deque)
    partner: dict[int, Entry] = {}
    alone: list[Entry] = []
    for entry in entries:
        match entry.record:
            case SipSent() | StunSent():
                waiting[_key(entry)].append(entry)
            case SipReceived() | StunReceived():
                sent = _take(waiting[_key(entry)], entry)
                if sent is None:
                    alone.append(entry)
                else:
                    partner[sent.id] = entry
            case _:
                pass
    for entry in list(alone):
        # Processes write at their own pace: what was heard may stand before what was sent.
        sent = _take(waiting[_key(entry)], entry)
        if sent is not None and sent.at - entry.at <= _SKEW:
            partner[sent.id] = entry
            alone.remove(entry)
    hearers = {entry.node for entry in entries if isinstance(entry.record, SipReceived | StunReceived)}
    drops = _Drops(entries)
    askers = {
        entry.record.transaction_id: entry.node
        for entry in entries
        if isinstance(entry.record, StunSent) and entry.record.message_class.lower() == "request"
    }
    ends = _FarEnds(entries, cast)
    messages = [
        _sent(entry, partner.get(entry.id), cast, hearers, drops, askers, ends)
        for entry in entries
        if isinstance(entry.record, SipSent | StunSent)
    ]
    messages += [_heard(entry, ends) for entry in alone]
    return sorted(messages, key=lambda message: (message.at, message.entry.id))


def is_check(record: object) -> bool:
    """Whether a STUN record is an ICE connectivity check's request (RFC 8445 §7.1.1 wants PRIORITY)."""
    if not isinstance(record, StunSent | StunReceived) or record.method.lower() != "binding":
        return False
    return any(
        name.upper() in ("PRIORITY", "ICE-CONTROLLING", "ICE-CONTROLLED") for name, _ in record.attributes
    )


def attribute(record: StunSent | StunReceived, name: str) -> str | None:
    """The first value of a STUN attribute, by its RFC name."""
    return next((value for held, value in record.attributes if held.upper().replace("_", "-") == name), None)


def _key(entry: Entry) -> tuple[object, ...]:
    record = entry.record
    if isinstance(record, SipSent | SipReceived):
        return "sip", record.start_line, record.call_id, record.cseq
    assert isinstance(record, StunSent | StunReceived)
    return "stun", record.transaction_id, record.method.lower(), record.message_class.lower()


def _take(sent: deque[Entry], received: Entry) -> Entry | None:
    """The oldest message not yet received that may be this one; one sent to this very address goes first."""
    fitting = [entry for entry in sent if entry.node != received.node and received.at - entry.at <= _PATIENCE]
    if not fitting:
        return None
    here = received.record.local  # type: ignore[attr-defined]
    best = next((entry for entry in fitting if entry.record.remote == here), fitting[0])  # type: ignore[attr-defined]
    sent.remove(best)
    return best


def _sent(
    entry: Entry,
    received: Entry | None,
    cast: Cast,
    hearers: set[str],
    drops: _Drops,
    askers: dict[str, str],
    ends: _FarEnds,
) -> Message:
    record = entry.record
    assert isinstance(record, SipSent | StunSent)
    asker = askers.get(record.transaction_id, entry.node) if isinstance(record, StunSent) else entry.node
    if received:
        receiver = received.node
    else:
        receiver = asker if asker != entry.node else ends.of(entry)
    via = None
    if isinstance(record, StunSent):
        if record.relay is not None:
            via = cast.relay_of(record.relay) or cast.behind(record.local, entry.node)
        else:
            via = (
                cast.relay_of(record.remote)
                if is_check(record) or receiver != cast.owner(record.remote)
                else None
            )
    if via in (entry.node, receiver):
        via = None
    dropped = None if received else drops.of(entry, record)
    lost = received is None and (receiver in hearers or dropped is not None)
    return Message(entry.node, receiver, entry, received, lost=lost, via=via, dropped=dropped)


def _heard(entry: Entry, ends: _FarEnds) -> Message:
    return Message(ends.of(entry), entry.node, None, entry)


class _FarEnds:
    """Who is at the other end, by the address alone: checks go to whom we call, everything else to servers."""

    def __init__(self, entries: Sequence[Entry], cast: Cast) -> None:
        self._cast = cast
        self._checks = {
            entry.record.transaction_id
            for entry in entries
            if isinstance(entry.record, StunSent | StunReceived) and is_check(entry.record)
        }

    def of(self, entry: Entry) -> str:
        record = entry.record
        assert isinstance(record, SipSent | SipReceived | StunSent | StunReceived)
        if isinstance(record, StunSent | StunReceived) and record.transaction_id in self._checks:
            return self._cast.behind(record.remote, entry.node)
        return self._cast.server(record.remote)


class _Drops:
    """What NATs, firewalls and relays on the way dropped, found again by destination and time."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._by_destination: dict[Address, list[tuple[Address, Entry]]] = defaultdict(list)
        for entry in entries:
            record = entry.record
            if isinstance(record, PacketDropped):
                self._by_destination[record.destination].append((record.source, entry))
            elif isinstance(record, RelayDropped):
                self._by_destination[record.relayed].append((record.peer, entry))

    def of(self, sent: Entry, record: SipSent | StunSent) -> Entry | None:
        """A drop is recorded once a flow, so the first one stands for those after it.

        NATs change sources on the way, so what left no relay may have been dropped under another source.
        """
        relay = record.relay if isinstance(record, StunSent) else None
        near = [pair for pair in self._by_destination.get(record.remote, ()) if pair[1].at <= sent.at + 2.0]
        exact = [entry for source, entry in near if source == (relay or record.local)]
        return next(iter(exact or ([] if relay else [entry for _, entry in near])), None)
