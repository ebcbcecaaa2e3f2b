"""Transfers of calls: those we ask for, those we are asked for, and calls that take the place of others.

    we transfer      hold, REFER → news → who was transferred talks with somebody else: hang up; or resume
    we are           REFER → a new call with the same media → answered: it takes over, the old one ends
    somebody else is INVITE with Replaces → picked up at once, takes over, the old one ends

What somebody else may make us do is asked of the owner (`allows`): by default, whoever we talk with may transfer us.
The one who transferred us hangs the old call up (RFC 5589 §6); we do if they forget to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from iceway.client import events
from iceway.client.lending import Loan
from iceway.core.errors import ParseError, UsageError
from iceway.sip.referral import ReferralProgress, Referred
from iceway.sip.useragent import Ended, Incoming, UserAgent
from iceway.wire.sip import NameAddr, SipUri, reason_phrase

if TYPE_CHECKING:
    from iceway.client.call import Call
    from iceway.client.media import Media
    from iceway.media.pictures import Pictures

GRACE = 4.0  # seconds in which who transferred us may hang up
IN_A_ROW = 20  # transfers after which a call is taken to go in circles

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TransferRequest:
    """The other side of `call` wants us to talk with `target` instead, by a call of ours or (`placed`) one to us.

    `attended`: the two have talked already.
    """

    call: str
    peer: str
    target: str
    attended: bool
    placed: bool = False


class Desk(Protocol):
    """What a phone does for its transfers."""

    @property
    def user_agent(self) -> UserAgent: ...

    @property
    def calls(self) -> Mapping[str, Call]: ...

    def emit(self, output: object) -> None: ...

    def place(self, peer: str, loan: Loan, fields: Fields, now: float) -> Call:
        """Call somebody. Raises UsageError if that cannot be."""
        ...

    def hang_up_at(self, name: str, at: float) -> None:
        """End a call at some instant, if it has not ended by then."""


@dataclass(slots=True)
class _Leaving:
    """A call that we transfer: to whom, to which call of ours, and whether it is on hold for that alone."""

    to: str
    other: str | None
    held: bool


@dataclass(slots=True)
class _Coming:
    """A call that is to take the place of `of`. `referred`: its SIP name if there somebody waits for news."""

    of: str
    referred: str
    status: int = 0


class Transfers:
    """See the module's law."""

    def __init__(self, desk: Desk, identity: str, allows: Callable[[TransferRequest], bool]) -> None:
        self._desk = desk
        self._identity = SipUri.parse(identity).aor
        self._allows = allows
        self._loans: dict[str, Loan] = {}
        self._leaving: dict[str, _Leaving] = {}
        self._coming: dict[str, _Coming] = {}
        self._in_a_row: dict[str, int] = {}

    # --- media --------------------------------------------------------------------------------------------
    def lend(self, name: str, loan: Loan) -> Media:
        """The media of a new call, on loan."""
        self._loans[name] = loan
        return loan.media()

    def lend_more(self, name: str, kind: str, pictures: Pictures, give: Callable[[Pictures], None]) -> None:
        """The same for a stream that comes to the call later."""
        self._loans[name].add(kind, pictures, give)

    def forget(self, name: str) -> None:
        """The call is over and done with."""
        for kept in (self._loans, self._leaving, self._coming, self._in_a_row):
            kept.pop(name, None)

    # --- what happens meanwhile -----------------------------------------------------------------------------
    def hear(self, event: Referred | ReferralProgress | Ended, call: Call | None, now: float) -> None:
        """What SIP brings about a call, before the call hears of its end."""
        match event:
            case Referred() if call is not None and not call.ended:
                self._referred(call, event, now)
            case Referred():
                self._desk.user_agent.transfers.refuse(event.call, 481, now)
            case ReferralProgress(status=status, reason=reason) if call is not None:
                self._told(call, status, reason, now)
            case Ended(status=status) if call is not None and call.name in self._coming:
                self._coming[call.name].status = status

    def follow(self, event: events.CallProgress | events.CallAnswered | events.CallEnded, now: float) -> None:
        """What a call has told, and everybody else has heard."""
        coming = self._coming.get(event.call)
        if coming is None:
            return
        match event:
            case events.CallProgress(status=status) if status != coming.status:
                coming.status = status
                self._report(coming, status, now)
            case events.CallAnswered():
                del self._coming[event.call]
                self._report(coming, 200, now)
                self._in_place(self._desk.calls[event.call], coming, now)
            case events.CallEnded():
                del self._coming[event.call]
                self._report(coming, coming.status if coming.status >= 300 else 503, now)

    def _report(self, coming: _Coming, status: int, now: float) -> None:
        if coming.referred:
            self._desk.user_agent.transfers.report(coming.referred, status, reason_phrase(status), now)

    def _in_place(self, new: Call, coming: _Coming, now: float) -> None:
        self._loans[new.name].take_over()
        self._desk.emit(events.SuccessorInPlace(new.name, coming.of))
        old = self._desk.calls.get(coming.of)
        if old is None or old.ended:
            return
        new.mute(old.muted, now)
        with suppress(UsageError):  # as in `_let_go`
            new.hold(old.holding, now)
        if coming.referred:
            self._desk.hang_up_at(old.name, now + GRACE)
        else:
            old.hang_up(now, f"{new.peer} takes the place of {old.peer}")

    # --- we transfer --------------------------------------------------------------------------------------
    def transfer(self, call: Call, target: str, now: float) -> None:
        """Blind: ask the other side to call `target`."""
        try:
            address = NameAddr.parse(target)
            _ = address.sip
        except ParseError as error:
            raise UsageError(
                f"nobody can be transferred to {target!r}: {error}; write sip:bob@example.test"
            ) from error
        if self._let_go(call, address.uri, None, now):
            self._desk.user_agent.transfers.refer(call.sip_call, target, now)

    def join(self, call: Call, other: Call, now: float) -> None:
        """Attended: ask the other side of `call` to take our place in `other`."""
        if other is call:
            raise UsageError("a call cannot be joined with itself; name another one")
        if not other.answered:
            raise UsageError(f"{other.name} is not answered, so nobody can be transferred to it yet")
        if self._let_go(call, _person(other.peer), other.name, now):
            self._desk.user_agent.transfers.join(call.sip_call, other.sip_call, now)

    def _let_go(self, call: Call, to: str, other: str | None, now: float) -> bool:
        """Hold a call that is to be transferred. False: it is over."""
        if call.ended:
            return False
        if not call.answered:
            raise UsageError(f"{call.name} is not answered, so it cannot be transferred yet")
        if call.name in self._leaving:
            raise UsageError(f"{call.name} is being transferred already")
        before = call.holding
        with suppress(UsageError):  # a call whose keys are not agreed on yet cannot be held, and is as silent
            call.hold(True, now)
        self._leaving[call.name] = _Leaving(to, other, held=call.holding and not before)
        return True

    def _told(self, call: Call, status: int, reason: str, now: float) -> None:
        """News of a transfer that we asked for."""
        leaving = self._leaving.get(call.name)
        if leaving is None or call.ended:
            return
        if status < 200:
            self._desk.emit(events.TransferProgress(call.name, status, reason))
            return
        del self._leaving[call.name]
        if status >= 300:
            self._desk.emit(events.TransferFailed(call.name, status, reason))
            if leaving.held:
                call.hold(False, now)
            return
        self._desk.emit(events.CallTransferred(call.name, leaving.to))
        call.hang_up(now, f"transferred to {leaving.to}")
        if leaving.other is not None and (other := self._desk.calls.get(leaving.other)) is not None:
            other.hang_up(now, f"joined with {call.peer}")

    # --- we are transferred -------------------------------------------------------------------------------
    def _referred(self, call: Call, event: Referred, now: float) -> None:
        target, agent = event.target.address.uri, self._desk.user_agent.transfers
        request = TransferRequest(call.name, call.peer, target, event.target.replaces is not None)
        if call.name in self._leaving or self._is_taken(call):
            agent.refuse(event.call, 491, now)
        elif (
            SipUri.parse(target).aor == self._identity and event.target.replaces is None
        ) or self._in_a_row.get(call.name, 0) >= IN_A_ROW:
            agent.refuse(event.call, 482, now)  # to ourselves, or in circles
        elif not call.answered or not self._allows(request) or call.ended:
            agent.refuse(event.call, 603, now)
        else:
            self._place(call, event, now)

    def _place(self, call: Call, event: Referred, now: float) -> None:
        agent = self._desk.user_agent.transfers
        fields: list[tuple[str, str]] = [("Referred-By", event.by)] if event.by else []
        if event.target.replaces is not None:
            fields += [("Replaces", str(event.target.replaces)), ("Require", "replaces")]
        loan = self._loans[call.name].successor(call.takes())
        try:
            new = self._desk.place(event.target.address.uri, loan, tuple(fields), now)
        except UsageError:
            loan.renounce()
            agent.refuse(event.call, 503, now)
            return
        agent.accept(event.call, now)
        self._begin(new, call, event.call)

    def _begin(self, new: Call, old: Call, referred: str) -> None:
        self._coming[new.name] = _Coming(old.name, referred)
        self._in_a_row[new.name] = self._in_a_row.get(old.name, 0) + 1
        self._desk.emit(events.SuccessorBegun(new.name, old.name, _person(new.peer)))

    def _is_taken(self, call: Call) -> bool:
        """Another one is to take its place already."""
        return any(coming.of == call.name for coming in self._coming.values())

    # --- somebody takes the place of another ----------------------------------------------------------------
    def receives(self, old: Call | None, event: Incoming) -> Loan | None:
        """The media for a call that wants the place of `old` (RFC 3891); None if it is not to have it."""
        if old is None or old.ended or self._is_taken(old):
            return None
        request = TransferRequest(old.name, old.peer, event.caller.uri, attended=True, placed=True)
        if not self._allows(request) or old.ended:
            return None
        return self._loans[old.name].successor(old.takes())

    def received(self, new: Call, old: Call) -> None:
        """Such a call is there; it is to be picked up."""
        self._begin(new, old, "")


def _person(uri: str) -> str:
    """Who that is, whichever of their devices."""
    try:
        return SipUri.parse(uri).aor
    except ParseError:
        return uri
