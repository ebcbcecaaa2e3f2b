"""Names in place of host addresses (draft-ietf-mmusic-mdns-ice-candidates): making, defending and finding them.

Each interface address gets a random name, which is answered for on its link for as long as the agent lives; a peer on
the same link finds out the address, everybody else only learns that there is one. The other way round, names of the
peer are asked for on every link of ours.

What comes from a link is believed by all who are on it, and checks decide what is true: the first answer counts, later
ones are ignored. Names, questions and answers are bounded; nobody can make us flood the link.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from iceway.core.address import Address
from iceway.core.errors import ParseError
from iceway.core.machine import (
    CloseMulticast,
    Input,
    MulticastFailed,
    MulticastOpened,
    MulticastReceived,
    OpenMulticast,
    SendMulticast,
)
from iceway.core.timers import Timers
from iceway.trace import records
from iceway.wire import mdns
from iceway.wire.mdns import GROUP4, GROUP6, LEGACY_TTL, TTL, HostRecord, MdnsMessage, Question

if TYPE_CHECKING:
    from random import Random

ASK_AT = (0.0, 1.0, 3.0)  # seconds after a name became known
GIVE_UP = 7.0
QUIET = 1.0  # RFC 6762 §6: between two multicasts of one record
QUIET_HERE = 0.25  # the same, when somebody on this host asks
ANNOUNCEMENTS = 2  # RFC 6762 §8.3
ANNOUNCE_AFTER = 2.0  # A peer asks before that; just after an announcement it would have to wait for QUIET.
MAX_NAMES = 16  # asked for at once
MAX_KNOWN = 64  # names whose answers are remembered
MAX_REPLIES = 20  # unicast, a second and link
_OURS = (MulticastOpened, MulticastFailed, MulticastReceived)
MAX_MALFORMED = 8  # records of them; a link is full of other people's traffic


class Owner(Protocol):
    """The agent, as this part sees it."""

    def emit(self, output: object) -> None: ...

    def name_resolved(self, name: str, ip: str | None, now: float) -> None:
        """The address of a name that `find` was asked for; None if it has none for us."""


@dataclass(slots=True)
class _Link:
    """One interface address and the group it listens to. `own` is the name that hides it."""

    key: str
    ip: str
    own: str | None = None
    open: bool = False
    announcements: int = 0
    told_at: float = float("-inf")  # when the name was last multicast
    replies: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _Search:
    began_at: float
    asked: int = 0


class Names:
    """One agent's part of multicast DNS. Its outputs leave through the owner's queue; `hide` is `AgentConfig.mdns`."""

    def __init__(self, agent: str, hide: bool, rng: Random, owner: Owner) -> None:
        self._agent = agent
        self._hide = hide
        self._rng = rng
        self._owner = owner
        self._ips: tuple[str, ...] = ()
        self._own: dict[str, str] = {}
        self._links: dict[str, _Link] = {}
        self._refused: dict[str, str] = {}
        self._searches: dict[str, _Search] = {}
        self._known: dict[str, tuple[str, float]] = {}
        self._timers = Timers()
        self._opened = 0
        self._malformed = 0
        self._warned = False

    # --- commands ----------------------------------------------------------------------------------------
    def interfaces(self, ips: tuple[str, ...], now: float) -> None:
        """The host's interfaces are these now."""
        self._ips = ips
        self._refused = {ip: reason for ip, reason in self._refused.items() if ip in ips}
        for link in list(self._links.values()):
            if link.ip not in ips:
                self._leave(link)
        if self._hide or self._searches:
            self._join()

    def name_of(self, ip: str) -> str | None:
        """The name to tell in place of an interface's IP; None if it is not hidden."""
        if not self._hide:
            return None
        if ip not in self._own:
            self._own[ip] = f"{_uuid4(self._rng.getrandbits(128))}.local"
        return self._own[ip]

    def find(self, name: str, now: float) -> str | None:
        """Ask for a peer's name. Answered by `name_resolved`, maybe at once; returns a reason if it is not asked for."""
        known = self._known.get(name)
        if known is not None and known[1] > now:
            self._owner.name_resolved(name, known[0], now)
        elif name not in self._searches:
            if len(self._searches) >= MAX_NAMES:
                return f"more than {MAX_NAMES} names to be asked for at once"
            self._searches[name] = _Search(now)
            self._join()
            self._timers.arm("ask", now)
        return None

    def close(self) -> None:
        """The names are taken back (RFC 6762 §10.1)."""
        for link in list(self._links.values()):
            if link.own is not None and link.open:
                self._say(link, HostRecord(link.own, link.ip, 0))
            self._leave(link)
        self._searches.clear()
        self._timers.clear()
        self._hide = False

    # --- machine -----------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> bool:
        """False: it is none of ours."""
        if not isinstance(event, _OURS):
            return False
        link = self._links.get(event.key)
        if link is None:
            return True  # It was left while this was on its way.
        match event:
            case MulticastOpened():
                link.open = True
                if link.own is not None:
                    link.announcements = ANNOUNCEMENTS
                    self._timers.arm(("announce", link.key), now + ANNOUNCE_AFTER)
                if self._searches:
                    self._ask(link, tuple(self._searches), unicast=True)
            case MulticastFailed(reason=reason):
                del self._links[event.key]
                self._refused[link.ip] = reason
                self._owner.emit(records.Note("warning", f"no multicast DNS on {link.ip}: {reason}"))
                self._timers.arm("ask", now)
            case MulticastReceived(source=source, data=data):
                self._receive(link, source, data, now)
        return True

    def handle_timeout(self, now: float) -> None:
        for name in self._timers.due(now):
            match name:
                case "ask":
                    self._ask_again(now)
                case ("announce", str(key)):
                    if key in self._links:
                        self._announce(self._links[key], now)
                case ("tell", str(key)):
                    if key in self._links:
                        self._tell(self._links[key], now)

    def poll_timeout(self) -> float | None:
        return self._timers.next_at()

    # --- links -------------------------------------------------------------------------------------------
    def _join(self) -> None:
        """Listen on every interface, where that is not refused."""
        joined = {link.ip for link in self._links.values()}
        for ip in self._ips:
            if ip not in joined and ip not in self._refused:
                self._opened += 1
                key = f"{self._agent}/mdns.{self._opened}"
                self._links[key] = _Link(key, ip, self.name_of(ip))
                self._owner.emit(OpenMulticast(key, GROUP6 if ":" in ip else GROUP4, ip))

    def _leave(self, link: _Link) -> None:
        del self._links[link.key]
        self._own.pop(link.ip, None)  # An address that comes again gets another name.
        self._owner.emit(CloseMulticast(link.key))

    # --- what is said on a link --------------------------------------------------------------------------
    def _receive(self, link: _Link, source: Address, data: bytes, now: float) -> None:
        try:
            message = mdns.parse(data)
        except ParseError as error:
            if self._malformed < MAX_MALFORMED:
                self._malformed += 1
                self._owner.emit(records.Malformed("mdns", source, str(error), len(data)))
            return
        if not message.response:
            self._answer(link, source, message, now)
            return
        for record in message.records:
            self._hear(link, record, now)

    def _answer(self, link: _Link, source: Address, query: MdnsMessage, now: float) -> None:
        """Somebody asks for a name, perhaps for ours."""
        if link.own is None:
            return
        mine = [question for question in query.questions if question.name == link.own]
        known = [r for r in query.records if (r.name, r.ip) == (link.own, link.ip) and r.ttl >= TTL / 2]
        if not mine or known:
            return  # RFC 6762 §7.1: who asks may say what is known already.
        record = HostRecord(link.own, link.ip)
        if source.port != GROUP4.port:
            # RFC 6762 §6.7: a resolver that knows nothing of multicast.
            if any(Address(link.ip, 0).family in question.families for question in mine):
                legacy = MdnsMessage(True, tuple(mine), (replace(record, ttl=LEGACY_TTL),), query.id)
                self._reply(link, source, mdns.serialize(legacy, legacy=True), now)
            return
        alone = all(question.unicast for question in mine)
        if alone:
            self._reply(link, source, mdns.serialize(MdnsMessage(True, (), (record,))), now)
        # Programs of one host share the port: what is sent to one of them may reach another.
        same_host = source.ip in self._ips
        if not alone or same_host or now - link.told_at >= TTL / 4:  # RFC 6762 §5.4
            self._tell_soon(link, QUIET_HERE if same_host else QUIET, now)

    def _hear(self, link: _Link, record: HostRecord, now: float) -> None:
        """An answer, or an announcement."""
        if record.name in self._own.values():
            if record.name == link.own and record.ip != link.ip and record.ttl:
                self._defend(link, record, now)
            return
        if record.name in self._searches and record.ttl and self._usable(record.ip):
            del self._searches[record.name]
            self._remember(record, now)
            self._finish(record.name, record.ip, None, now)

    def _usable(self, ip: str) -> bool:
        families = {Address(own, 0).family for own in self._ips}
        return Address(ip, 0).family in families

    def _defend(self, link: _Link, record: HostRecord, now: float) -> None:
        """Somebody else claims a name that is random and ours: a mistake of theirs, or worse."""
        if not self._warned:
            self._warned = True
            warning = f"somebody on the link of {link.ip} answers for our name {record.name} with {record.ip}"
            self._owner.emit(records.Note("warning", warning))
        self._tell_soon(link, QUIET, now)

    # --- saying ------------------------------------------------------------------------------------------
    def _announce(self, link: _Link, now: float) -> None:
        self._tell(link, now)
        link.announcements -= 1
        if link.announcements > 0:
            self._timers.arm(("announce", link.key), now + QUIET)

    def _tell_soon(self, link: _Link, quiet: float, now: float) -> None:
        at = link.told_at + quiet
        armed = self._timers.at(("tell", link.key))
        if at <= now:
            self._tell(link, now)
        elif armed is None or armed > at:
            self._timers.arm(("tell", link.key), at)

    def _tell(self, link: _Link, now: float) -> None:
        """Multicast our name."""
        if link.own is not None and link.open:
            self._timers.cancel(("tell", link.key))
            link.told_at = now
            self._say(link, HostRecord(link.own, link.ip))

    def _say(self, link: _Link, record: HostRecord) -> None:
        self._owner.emit(SendMulticast(link.key, mdns.serialize(MdnsMessage(True, (), (record,)))))

    def _reply(self, link: _Link, to: Address, data: bytes, now: float) -> None:
        link.replies = [at for at in link.replies if now - at < 1.0]
        if len(link.replies) < MAX_REPLIES:
            link.replies.append(now)
            self._owner.emit(SendMulticast(link.key, data, to))

    # --- asking ------------------------------------------------------------------------------------------
    def _ask_again(self, now: float) -> None:
        """Ask for every name whose time has come, and give up those whose time is over."""
        hopeless = not self._links
        for name, search in list(self._searches.items()):
            if hopeless or now >= search.began_at + GIVE_UP:
                del self._searches[name]
                refusal = next(iter(self._refused.values()), "this host has no interface for it")
                silence = f"nobody on our links answered for it in {GIVE_UP:g} s: the peer is on none of them"
                self._finish(name, None, f"no multicast DNS: {refusal}" if hopeless else silence, now)
        due = {name: search for name, search in self._searches.items() if now >= _next_at(search)}
        for unicast in (True, False):  # RFC 6762 §5.4: only the first question may ask for that
            names = tuple(name for name, search in due.items() if (search.asked == 0) is unicast)
            for link in self._links.values():
                if link.open and names:
                    self._ask(link, names, unicast=unicast)
        for search in due.values():
            search.asked += 1
        if self._searches:
            self._timers.arm("ask", min(map(_next_at, self._searches.values())))

    def _ask(self, link: _Link, names: tuple[str, ...], *, unicast: bool) -> None:
        """One question a message: browsers do not answer messages with two."""
        for name in names:
            for family in sorted({Address(ip, 0).family for ip in self._ips}):
                question = MdnsMessage(False, (Question(name, (family,), unicast),))
                self._owner.emit(SendMulticast(link.key, mdns.serialize(question)))

    def _finish(self, name: str, ip: str | None, error: str | None, now: float) -> None:
        self._owner.emit(records.NameResolved(name, "mDNS", (ip,) if ip else (), error))
        if not self._hide and not self._searches:
            for link in list(self._links.values()):
                self._leave(link)
        self._owner.name_resolved(name, ip, now)

    def _remember(self, record: HostRecord, now: float) -> None:
        if len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[record.name] = (record.ip, now + min(record.ttl, TTL))


def _next_at(search: _Search) -> float:
    offset = ASK_AT[search.asked] if search.asked < len(ASK_AT) else GIVE_UP
    return search.began_at + offset


def _uuid4(bits: int) -> str:
    """A random UUID (RFC 9562 §5.4) out of 128 random bits."""
    bits = bits & ~(0xF << 76) & ~(0x3 << 62) | 0x4 << 76 | 0x2 << 62
    text = f"{bits:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
