"""The one place where records become sentences: a plain line for newcomers, a technical line for the rest.

A plain line has a subject who does something, and no abbreviation that a person off the street would not know.
A technical line is one log line: what, from where, to where. Unknown things are named, not hidden.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from iceway.core.address import Address
from iceway.explain.cast import Cast, user_of
from iceway.explain.clean import clean
from iceway.explain.messages import Message, attribute, is_check
from iceway.explain.streams import AUDIO, WHY_FROZEN, bare, first, named, opinion
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CallState,
    CandidateInfo,
    CredentialsRequested,
    Measured,
    PacketTranslated,
    PairChecked,
    Record,
    SipReceived,
    SipSent,
    StunReceived,
    StunSent,
)

_HEADER = {
    name: re.compile(rf"^(?:{name}|{short})[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
    for name, short in (
        ("from", "f"),
        ("to", "t"),
        ("contact", "m"),
        ("authorization", "proxy-authorization"),
        ("refer-to", "r"),
    )
}

# request method → (what a client says, what a server does that passes it on); see `_sip_request`
_REQUESTS = {
    "REGISTER": (
        "{A} tells {b}: calls for {user} reach me here",
        "{A} passes {user}'s registration on to {b}",
    ),
    "SERVICE": (
        "{A} asks {b} for a name and password for the relay",
        "{A} passes {user}'s request for a relay password on to {b}",
    ),
    "INVITE": (
        "{A} calls {callee}, and lists the addresses where sound could arrive",
        "{A} passes {user}'s call on to {b}",
    ),
    "RE-INVITE": (
        "{A} confirms to {callee} which addresses both settled on",
        "{A} passes the settled addresses on to {b}",
    ),
    "PRACK": ("{A} confirms: your early answer arrived", "{A} passes the confirmation on to {b}"),
    "ACK": ("{A} confirms: got your answer", "{A} passes the confirmation on to {b}"),
    "BYE": ("{A} hangs up", "{A} passes the hang-up on to {b}"),
    "CANCEL": ("{A} gives up ringing", "{A} tells {b} that the caller gave up"),
    "INFO": ("{A} tells {callee} something more about the call", "{A} passes it on to {b}"),
    "UPDATE": ("{A} tells {callee}: I am still here", "{A} passes it on to {b}"),
    "NOTIFY": ("{A} has news for {callee}", "{A} passes the news on to {b}"),
    "OPTIONS": ("{A} asks {b} what it can do", "{A} passes the question on to {b}"),
}
_ANSWERS = {
    ("100", ""): "{A} says: got it, working on it",
    ("180", ""): "{A} says: it is ringing",
    ("183", ""): "{A} answers early, before anybody picks up, with the addresses of the other side",
    ("401", ""): "{A} says: first prove that you know the password",
    ("407", ""): "{A} says: first prove that you know the password",
    ("403", ""): "{A} refuses: not allowed",
    ("404", ""): "{A} says: nobody of that name here",
    ("408", ""): "{A} says: nobody answered in time",
    ("480", ""): "{A} says: not reachable at the moment",
    ("486", ""): "{A} says: busy",
    ("487", ""): "{A} confirms: the call was called off",
    ("488", ""): "{A} says: we have no way of talking in common",
    ("491", ""): "{A} says: we both asked at once, try again in a moment",
    ("503", ""): "{A} says: cannot do it right now",
    ("504", ""): "{A} says: somebody behind me did not answer in time",
    ("603", ""): "{A} declines the call",
    ("200", "REGISTER"): "{A} confirms: calls for {user} will find their way",
    ("200", "SERVICE"): "{A} hands over a relay password that works for some hours",
    ("200", "INVITE"): "{A} says: picked up!",
    ("200", "RE-INVITE"): "{A} agrees: these are the addresses",
    ("200", "PRACK"): "{A} says: good",
    ("202", "REFER"): "{A} says: I will try",
    ("200", "NOTIFY"): "{A} says: good to know",
    ("200", "BYE"): "{A} says: goodbye",
    ("200", "CANCEL"): "{A} says: understood",
}


class Words:
    """Sentences about one trace."""

    def __init__(self, cast: Cast) -> None:
        self._cast = cast

    def message(self, message: Message, again: bool = False, onward: bool = False) -> str:
        """A plain line. `again`: an INVITE within a call that is up, or what belongs to an earlier check.

        `onward`: the sender got this from somebody else and passes it on.
        """
        record = message.record
        if isinstance(record, SipSent | SipReceived):
            line = self._sip(message, record, again, onward)
        else:
            line = self._stun(message, record, again)
        if message.lost:
            where = (
                f": {self._name(message.dropped_at)} drops it ({message.dropped_why})"
                if message.dropped
                else ""
            )
            line += f". It never arrives{where}"
        return clean(line)

    def consent(self, message: Message, asks: bool) -> str:
        """A plain line about a check that only keeps the path alive."""
        line = "{A} asks {b}: do you still want my packets?" if asks else "{A} says to {b}: yes, still here"
        return clean(self._fill(line, message, ""))

    def calls(self, node: str) -> bool:
        """Whether this node is the one who called."""
        return self._cast.roles.get(node) != "callee"

    def entry(self, entry: Entry) -> str:
        """A plain line about a record that is no message."""
        say = _RECORDS.get(type(entry.record).__name__)
        if say is None:
            return f"{self._name(entry.node)}: {technical(entry)}"
        if isinstance(entry.record, CredentialsRequested) and _person(entry.record.identity) == self._name(
            entry.node
        ):
            line = f"{self._name(entry.node)} wants to use the relay ({entry.record.location})"
        elif isinstance(entry.record, CallState):
            line = _call_state(entry.record, self._name(entry.node), self.calls(entry.node))
        else:
            line = say(entry.record, self._name(entry.node), self)
        return clean(line[:1].upper() + line[1:])

    def _name(self, node: str) -> str:
        return self._cast.name(node)

    def whose(self, address: Address) -> str:
        return self._name(self._cast.server(address))

    def _fill(self, template: str, message: Message, user: str, callee: str = "") -> str:
        a, b = self._name(message.sender), self._name(message.receiver)
        return template.format(A=a[:1].upper() + a[1:], b=b, user=user or "somebody", callee=callee or b)

    def _sip(self, message: Message, record: SipSent | SipReceived, again: bool, onward: bool) -> str:
        user = _person(_header(record.text, "from"))
        method = record.cseq.rpartition(" ")[2].upper()
        method = f"RE-{method}" if again and method == "INVITE" else method
        if not record.start_line.startswith("SIP/2.0 "):
            return self._sip_request(message, record, method, user, onward)
        code, _, phrase = record.start_line[8:].partition(" ")
        if onward:
            return self._fill(f"{{A}} passes the answer on to {{b}}: {code} {_braced(phrase)}", message, user)
        template = _ANSWERS.get((code, method)) or _ANSWERS.get((code, ""))
        if (code, method) == ("200", "REGISTER") and not _header(record.text, "contact"):
            template = "{A} confirms: no calls go there any more"
        return self._fill(template or f"{{A}} answers {code} {_braced(phrase)}", message, user)

    def _sip_request(
        self, message: Message, record: SipSent | SipReceived, method: str, user: str, onward: bool
    ) -> str:
        own, passing = _REQUESTS.get(method, (f"{{A}} sends {_braced(method)} to {{b}}",) * 2)
        if method == "SERVICE" and not onward and self._cast.roles.get(message.sender) == "frontend":
            own = "{A} vouches for its user: {b}, please make a relay password"
        if method == "REGISTER" and signs_off(record.text):
            own, passing = (
                "{A} tells {b}: {user} is not to be reached here any more",
                "{A} passes it on to {b}: {user} signs off",
            )
        if method == "RE-INVITE" and (held := _held(record.text)):
            wish = "holds the call" if held == "sendonly" else "keeps the call on hold"
            own, passing = f"{{A}} {wish}", f"{{A}} tells {{b}} that {{user}} {wish}"
        if method == "REFER":
            own = f"{{A}} asks {{callee}} to talk with {_braced(_person(_header(record.text, 'refer-to')))} instead"
            passing = "{A} passes that on to {b}"
        if method == "NOTIFY" and (news := _FRAGMENT.search(record.text)) is not None:
            own = f"{{A}} tells {{callee}} how the transfer gets on: {_braced(news[1])}"
        line = self._fill(passing if onward else own, message, user, _person(_header(record.text, "to")))
        proof = method in ("REGISTER", "INVITE", "SERVICE") and not onward
        return line + (
            ", with proof of the password" if proof and _header(record.text, "authorization") else ""
        )

    def _stun(self, message: Message, record: StunSent | StunReceived, answers_check: bool) -> str:
        kind = record.message_class.lower()
        template = self._check(message, record) if is_check(record) else _stun_request(record)
        if kind.startswith("success"):
            template = _stun_success(record, answers_check)
        elif kind.startswith("error"):
            template = _stun_error(record)
        return self._fill(template, message, "")

    def _check(self, message: Message, record: StunSent | StunReceived) -> str:
        way = f"{message.source} → {message.destination}" + (
            f" by way of {self._name(message.via)}" if message.via else ""
        )
        if attribute(record, "USE-CANDIDATE") is not None:
            return f"{{A}} proposes to {{b}}: let us use this way, {_braced(way)}"
        return f"{{A}} tries a way to {{b}}: {_braced(way)}"


def technical(entry: Entry) -> str:
    """One line with every fact that fits one."""
    return clean(_technical(entry))


def _technical(entry: Entry) -> str:
    record = entry.record
    if isinstance(record, SipSent | SipReceived):
        arrow = "→" if isinstance(record, SipSent) else "←"
        return f"{record.start_line}  {record.local} {arrow} {record.remote} {record.transport.upper()} CSeq {record.cseq}"
    if isinstance(record, StunSent | StunReceived):
        arrow = "→" if isinstance(record, StunSent) else "←"
        relay = f" through {record.relay}" if record.relay else ""
        shown = ", ".join(
            f"{name} {value}" for name, value in record.attributes if value != "present" and len(value) < 60
        )
        head = f"{record.method} {record.message_class}  {record.local} {arrow} {record.remote}{relay}"
        return f"{head} {record.transport.upper()} {record.transaction_id[:8]}" + (
            f" [{shown}]" if shown else ""
        )
    said = ", ".join(f"{name} {_short(value)}" for name, value in _facts(record))
    return f"{_spaced(type(record).__name__)}: {said}" if said else _spaced(type(record).__name__)


def signs_off(text: str) -> bool:
    """Whether a REGISTER takes its bindings back (RFC 3261 §10.2.2)."""
    head = text.partition("\r\n\r\n")[0]
    return bool(_NO_EXPIRY.search(head))


def _held(text: str) -> str:
    """The direction by which an offer holds the sound, or nothing: slides that nobody sends back are no hold."""
    sections = _SECTION.split(text)
    sound = next((section for section in sections if section.startswith("m=audio")), sections[0])
    found = _HELD.search(sound)
    return found[1] if found else ""


_SECTION = re.compile(r"^(?=m=)", re.MULTILINE)
_HELD = re.compile(r"^a=(sendonly|inactive)\r?$", re.MULTILINE)
_FRAGMENT = re.compile(r"^\r?\n?SIP/2\.0 ([1-6][0-9]{2}[^\r\n]*)", re.MULTILINE)
_NO_EXPIRY = re.compile(
    r"^expires[ \t]*:[ \t]*0[ \t]*\r?$|;[ \t]*expires[ \t]*=[ \t]*0\b", re.IGNORECASE | re.MULTILINE
)


def stun_title(record: StunSent | StunReceived, check: bool = False) -> str:
    """`Binding request`, `Allocate error 401`, `check`, `check, nominating`, `check answered`."""
    kind = record.message_class.lower()
    if is_check(record):
        return "check, nominating" if attribute(record, "USE-CANDIDATE") is not None else "check"
    if check and kind.startswith("success"):
        return "check answered"
    code = (attribute(record, "ERROR-CODE") or "").split(" ")[0] if kind.startswith("error") else ""
    return f"{record.method} {kind}" + (f" {code}" if code else "")


def candidate_words(candidate: CandidateInfo, owner: str = "its") -> str:
    """What a candidate is, for people: its own address, as a NAT shows it, or a relay's."""
    if candidate.type == "host":
        return f"{candidate.address}, {owner} own address"
    if candidate.type == "relay":
        over = f", reached over {candidate.relay_transport.upper()}" if candidate.relay_transport else ""
        return f"{candidate.address}, lent by the relay{over}"
    if candidate.type == "srflx":
        return f"{candidate.address}, as the outside sees it"
    mine = owner == "its"
    return f"{candidate.address}, {'as the other side sees it' if mine else 'where a check came from'}"


# --- STUN -----------------------------------------------------------------------------------------------
def _stun_request(record: StunSent | StunReceived) -> str:
    method = record.method.lower()
    peer = _braced(attribute(record, "XOR-PEER-ADDRESS") or "the peer").removesuffix(":0")
    proven = attribute(record, "USERNAME") is not None
    return {
        "binding": "{A} asks {b}: which address do you see me as?",
        "allocate": "{A} asks {b} again for an address on the relay, now with the relay password"
        if proven
        else "{A} asks {b} for an address on the relay",
        "refresh": "{A} gives the relay address back to {b}"
        if (attribute(record, "LIFETIME") or "").startswith("0")
        else "{A} asks {b} to keep the relay address a while longer",
        "createpermission": f"{{A}} asks {{b}} to let in what comes from {peer}",
        "channelbind": f"{{A}} agrees a short number with {{b}} for {peer}, so that packets stay small",
        "send": f"{{A}} hands {{b}} a packet for {peer}",
        "data": f"{{A}} hands {{b}} a packet that came from {peer}",
    }.get(method, f"{{A}} sends {{b}} a {_braced(record.method)} {_braced(record.message_class)}")


def _stun_success(record: StunSent | StunReceived, check: bool) -> str:
    mapped = _braced(attribute(record, "XOR-MAPPED-ADDRESS") or attribute(record, "MAPPED-ADDRESS") or "?")
    relayed = attribute(record, "XOR-RELAYED-ADDRESS")
    return {
        "binding": f"{{A}} answers {{b}}: this way works, I see you as {mapped}"
        if check
        else f"{{A}} answers {{b}}: I see you as {mapped}",
        "allocate": f"{{A}} lends {{b}} the address {_braced(relayed or '?')}, and sees it as {mapped}",
        "refresh": "{A} confirms to {b}",
        "createpermission": "{A} lets that peer in",
        "channelbind": "{A} knows the short number now",
    }.get(record.method.lower(), f"{{A}} answers {{b}}: {_braced(record.method)} done")


def _stun_error(record: StunSent | StunReceived) -> str:
    said = attribute(record, "ERROR-CODE") or "an error"
    code = said.split(" ")[0]
    lines = {
        "401": "{A} says: name and password first",
        "403": "{A} refuses to forward to that peer",
        "437": "{A} says: I lent you no such address",
        "438": "{A} says: your ticket is too old, here is a new one",
        "486": "{A} refuses: you have enough relay addresses already",
        "487": "{A} says: we both think we decide; you decide now",
        "508": "{A} has no address left to lend",
    }
    plain = lines.get(code)
    phrase = said.partition(" ")[2].strip()
    if plain is None:
        return f"{{A}} refuses: {_braced(said)}"
    told = phrase and code == "401" and phrase.lower() not in ("unauthorized", "unauthenticated")
    return plain + (f" ({_braced(phrase)})" if told else "")


# --- all other records ----------------------------------------------------------------------------------
def _role(record: Any, who: str, words: Words) -> str:
    return f"{who} starts"


def _resolved(record: Any, who: str, words: Words) -> str:
    if record.record_type == "mDNS":
        found = record.error or ", ".join(record.answers)
        return f"{who} asks the neighbours on the link who is {record.name}: {found}"
    kinds = {
        "SRV": "which server handles",
        "NAPTR": "which services are offered by",
        "AAAA": "for the IPv6 address of",
    }
    what = kinds.get(record.record_type, "for the address of")
    if record.error:
        return f"{who} asks DNS {what} {record.name}: {record.error}"
    if not record.answers:
        return f"{who} asks DNS {what} {record.name}, which knows none"
    return f"{who} asks DNS {what} {record.name}: {', '.join(record.answers)}"


def _opened(record: Any, who: str, words: Words) -> str:
    secure = {"tls": "an encrypted connection", "wss": "an encrypted WebSocket"}.get(
        record.transport, "a connection"
    )
    if record.incoming:
        return f"{who} accepts {secure} from {record.remote}"
    proven = f", who proves to be {record.peer_names[0]}" if record.peer_names else ""
    return f"{who} opens {secure} to {words.whose(record.remote)}{proven}"


def _translated(record: Any, who: str, words: Words) -> str:
    if record.outgoing:
        return f"{who} rewrites the sender: {record.before} goes out as {record.after} (to {record.peer})"
    return f"{who} rewrites the receiver: what came for {record.before} goes on to {record.after}"


_CALLER_STATES = {
    "trying": "{who} starts a call to {other}",
    "ringing": "{who} learns that {other}'s phone rings",
    "early": "{who} has {other}'s early answer",
}
_CALLEE_STATES = {
    "trying": "{who} is being called by {other}",
    "ringing": "{who}'s phone rings: {other} is calling",
    "early": "{who} has sent an early answer to {other}",
}
_CALL_STATES = {
    "confirmed": "{who} is in the call with {other}",
    "settled": "{who} and {other} have settled on their addresses",
    "ended": "{who}'s call with {other} is over",
    "failed": "{who}'s call with {other} failed",
}
_REASON_TEXT = re.compile(r'text="([^"]*)"')


def _call_state(record: CallState, who: str, caller: bool) -> str:
    other = _person(record.remote_uri) or "the other side"
    quoted = _REASON_TEXT.search(record.reason)  # a Reason header (RFC 3326)
    reason = quoted[1] if quoted else record.reason
    states = _CALL_STATES | (_CALLER_STATES if caller else _CALLEE_STATES)
    template = states.get(record.state, f"{{who}}'s call with {{other}}: {_braced(record.state)}")
    return template.format(who=who, other=other) + (f": {reason}" if reason else "")


def _media_started(record: Any, who: str, words: Words) -> str:
    early = ", even before the call is picked up" if record.early else ""
    if record.direction == "sent":
        return f"{who}'s {bare(record.media)} sets out ({record.codec}){early}"
    return f"{who} {first(record.media)}{early}"


def _media_summary(record: Any, who: str, words: Words) -> str:
    lost = f"{record.packets_lost} lost" if record.packets_lost else "none lost"
    return f"{who} sent {record.packets_sent} packets of {bare(record.media)} and got {record.packets_received}, {lost}"


def _media_quality(record: Any, who: str, words: Words) -> str:
    if not record.bit_rate:
        return f"{who} gets nothing of {named(record.media)} for {record.span:.0f} s"
    parts = [f"{record.loss:.1%} lost".replace(".0%", "%") if record.loss else "none lost"]
    if record.media == AUDIO:
        if record.mos is not None:
            parts.insert(0, f"{opinion(record.mos)} (MOS {record.mos:.1f})")
        if record.mouth_to_ear is not None:
            parts.append(f"{record.mouth_to_ear * 1000:.0f} ms from mouth to ear")
        return f"{who}'s ear for {record.span:.0f} s: {', '.join(parts)}"
    if record.frame_rate is not None:
        parts.insert(0, f"{record.frame_rate:.0f} pictures a second")
    if record.freezes:
        times = "once" if record.freezes == 1 else f"{record.freezes} times"
        parts.append(f"stood still {times}, {record.frozen:.1f} s in all")
    return f"{who}'s view of {named(record.media)} for {record.span:.0f} s: {', '.join(parts)}"


def _video_froze(record: Any, who: str, words: Words) -> str:
    why = WHY_FROZEN.get(record.reason, record.reason)
    return f"{bare(record.media)[:1].upper()}{bare(record.media)[1:]} at {who} stood still for {record.length:.1f} s: {why}"


def _selected(record: Any, who: str, words: Words) -> str:
    early = " for now" if record.early else ""
    return f"{who} talks this way{early}: {record.local.address} ↔ {record.remote.address}"


def measured(record: Measured) -> tuple[str, str]:
    """A figure and what it is a share of: shares read as percent."""
    if record.unit == "share" or record.unit.startswith("of "):
        return f"{record.value:.1%}".replace(".0%", "%"), "" if record.unit == "share" else record.unit
    return f"{record.value:g} {record.unit}".strip(), ""


def _measured(record: Any, who: str, words: Words) -> str:
    value, of = measured(record)
    return f"measured: {record.what}: {value} {of}".rstrip()


_RECORDS: dict[str, Callable[[Any, str, Words], str]] = {
    "Started": _role,
    "Note": lambda r, who, w: f"{who}: {r.text}",
    "NameResolved": _resolved,
    "ConnectionOpened": _opened,
    "ConnectionClosed": lambda r, who, w: f"{who}'s connection ends: {r.reason}",
    "Malformed": lambda r, who, w: f"{who} drops {r.size} bytes that are no {r.protocol}: {r.reason}",
    "SipTransactionFailed": lambda r, who, w: f"{who} gets no answer to {r.method}: {r.reason}",
    "SipAuthenticationFailed": lambda r, who, w: (
        f"{who}: the password of {r.user} did not verify: {r.reason}"
    ),
    "Registered": lambda r, who, w: f"{who} notes: {_person(r.aor)} can be reached for {r.expires:g} s",
    "Unregistered": lambda r, who, w: f"{who} forgets where {_person(r.aor)} is: {r.reason}",
    "CallState": lambda r, who, w: _call_state(r, who, caller=True),
    "CredentialsRequested": lambda r, who, w: (
        f"{who}: {_person(r.identity)} wants to use the relay ({r.location})"
    ),
    "CredentialsMinted": lambda r, who, w: f"{who} makes a relay password, without keeping a list of them",
    "CredentialsReceived": lambda r, who, w: (
        f"{who} knows its relay now: {r.host}, for {r.duration / 3600:g} h"
    ),
    "CredentialsRefused": lambda r, who, w: f"{who}: no relay password for {_person(r.identity)}: {r.reason}",
    "RelayRefused": lambda r, who, w: f"{who} refuses {r.method} of {r.client}: {r.code} {r.detail}",
    "AllocationCreated": lambda r, who, w: f"{who} sets {r.relayed} aside for {r.client}",
    "AllocationEnded": lambda r, who, w: f"{who} takes {r.relayed} back: {r.reason}",
    "PermissionInstalled": lambda r, who, w: f"{who} lets {r.peer_ip} reach {r.relayed}",
    "ChannelBound": lambda r, who, w: f"{who} calls {r.peer} by the number 0x{r.channel:04X} from now on",
    "RelayDropped": lambda r, who, w: f"{who} drops what {r.peer} sent to {r.relayed}: {r.reason}",
    "GatheringStarted": lambda r, who, w: f"{who} looks for all addresses by which it might be reached",
    "ServerAnswered": lambda r, who, w: (
        f"{who} has an answer from {r.server} after {r.round_trip * 1000:.0f} ms"
    ),
    "ServerRefused": lambda r, who, w: f"{who} is refused by {r.server}: {r.code} {r.detail or r.reason}",
    "ServerSkipped": lambda r, who, w: f"{who} does not ask {r.server}: {r.reason}",
    "ServerUnreachable": lambda r, who, w: f"{who} gets nothing from {r.server}: {r.detail}",
    "CandidateGathered": lambda r, who, w: f"{who} found {candidate_words(r.candidate)}",
    "CandidatePruned": lambda r, who, w: f"{who} does not need {r.candidate.address}: {r.reason}",
    "CandidateReceived": lambda r, who, w: (
        f"{who} learns of {candidate_words(r.candidate, 'the other side’s')}"
    ),
    "GatheringFinished": lambda r, who, w: f"{who} knows all its addresses after {r.duration * 1000:.0f} ms",
    "PairFormed": lambda r, who, w: f"{who} will try {r.local.address} → {r.remote.address}",
    "PairPruned": lambda r, who, w: f"{who} skips {r.local.address} → {r.remote.address}: {r.reason}",
    "PairChecked": lambda r, who, w: f"{who} tries pair {r.pair}, attempt {r.attempt}",
    "PairSucceeded": lambda r, who, w: (
        f"{who}: pair {r.pair} works, there and back in {r.round_trip * 1000:.1f} ms"
    ),
    "PairFailed": lambda r, who, w: f"{who} gives up on pair {r.pair}: {r.reason}",
    "RoleConflict": lambda r, who, w: (
        f"{who} settles who decides: {'this side' if r.now_controlling else 'the other'}"
    ),
    "PairNominated": lambda r, who, w: (
        f"{who}: pair {r.pair} is chosen {'here' if r.by_us else 'by the other side'}"
    ),
    "PairSelected": _selected,
    "ConsentLost": lambda r, who, w: f"{who} has heard nothing on the path for {r.silent_for:.0f} s",
    "IceStateChanged": lambda r, who, w: (
        f"{who}'s search for a path: {r.state}{': ' + r.reason if r.reason else ''}"
    ),
    "MediaStarted": _media_started,
    "MediaKeyed": lambda r, who, w: (
        f"{who} and the other end have proved who they are and agreed on a secret: the sound is encrypted"
    ),
    "MediaKeyFailed": lambda r, who, w: (
        f"{who} has no secret in common with the other end, so no sound: {r.reason}"
    ),
    "MediaSummary": _media_summary,
    "MediaQuality": _media_quality,
    "VideoFroze": _video_froze,
    "MediaRejected": lambda r, who, w: (
        f"{who} does not {'play' if r.media == AUDIO else 'show'} what came in: {r.reason}"
    ),
    "PacketTranslated": _translated,
    "PacketDropped": lambda r, who, w: f"{who} drops a packet from {r.source} to {r.destination}: {r.reason}",
    "Measured": _measured,
}


# --- small things ---------------------------------------------------------------------------------------
def _header(text: str, name: str) -> str:
    found = _HEADER[name].search(text)
    return found[1] if found else ""


def _person(uri: str) -> str:
    user = user_of(uri)
    return user[:1].upper() + user[1:]


def _braced(text: str) -> str:
    """Foreign text inside a template: its braces are no fields."""
    return text.replace("{", "{{").replace("}", "}}")


def _facts(record: Record) -> list[tuple[str, Any]]:
    names = getattr(record, "__dataclass_fields__", {})
    return [(name, value) for name in names if (value := getattr(record, name)) not in (None, "", ())]


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple) and not isinstance(value, Address):
        return " ".join(_short(item) for item in value)
    return str(value)


def _spaced(name: str) -> str:
    """CandidateGathered → candidate gathered."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()


def is_detail(record: Record) -> bool:
    """Records that only repeat what a message says already; ladders leave them out."""
    return isinstance(record, PairChecked | PacketTranslated)
