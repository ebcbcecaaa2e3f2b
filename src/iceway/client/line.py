"""Between a user agent's calls (SIP) and the client's (ICE and sound): each side's words in the other's terms.

Either side may end a call while words of the other are on their way: they find nobody, and that is right. An
INVITE may ring at several ends (forking); each answers with a branch of its own, and the one whose 200 comes
first is talked to, under the answer that this branch gave (RFC 3261 §13.2.2.4, RFC 3262 §5).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from iceway.client.call import Call
from iceway.sip.useragent import (
    Answered,
    Confirmed,
    Ended,
    Incoming,
    InfoAnswered,
    InfoReceived,
    Provisional,
    RefreshDue,
    ReinviteAnswered,
    ReinviteFailed,
    ReinviteReceived,
    UserAgent,
)
from iceway.wire import sdpfrag

CallEvent = (
    Provisional
    | Answered
    | Confirmed
    | Ended
    | ReinviteReceived
    | ReinviteAnswered
    | ReinviteFailed
    | InfoReceived
    | InfoAnswered
    | RefreshDue
)

MAX_BRANCHES = 16  # ends that ring at once and whose answers are kept


@dataclass(slots=True)
class _Tie:
    """A call, what the branches of its INVITE have answered so far, and the one that is talked to."""

    call: Call
    answers: dict[str, str] = field(default_factory=dict)
    branch: str | None = None


class Switchable(Protocol):
    """Who has the user agent, once there is one."""

    @property
    def user_agent(self) -> UserAgent: ...


class Line:
    """Carries both ways; the `Signalling` of every call (`client/signalling.py`)."""

    def __init__(self, owner: Switchable) -> None:
        self._owner = owner
        self._ties: dict[str, _Tie] = {}
        self._fields: dict[str, tuple[tuple[str, str], ...]] = {}

    def call_of(self, key: str) -> Call | None:
        """The call that SIP has under this name."""
        tie = self._ties.get(key)
        return tie.call if tie is not None else None

    # --- from SIP -----------------------------------------------------------------------------------------
    def ring_in(self, call: Call, incoming: Incoming, now: float) -> bool:
        """A call came in: tie it, say that it rings. False: its offer was refused."""
        assert incoming.offer is not None
        self._tie(call, incoming.call)
        if not call.receive_offer(_text(incoming.offer), now):
            return False
        self._owner.user_agent.ring(incoming.call, now)
        return True

    def deliver(self, event: CallEvent, now: float) -> None:
        """Tell the call concerned, unless it is over."""
        tie = self._ties.get(event.call)
        if tie is None or tie.call.ended:
            return
        call = tie.call
        match event:
            case Provisional(status=status, sdp=None):
                call.ringing(status, now)
            case Provisional(status=status, sdp=bytes(sdp), branch=branch):
                call.ringing(status, now)
                if branch in tie.answers or len(tie.answers) < MAX_BRANCHES:
                    tie.answers[branch] = _text(sdp)
                    before, tie.branch = tie.branch, branch
                    if not call.receive_answer(tie.answers[branch], now, early=True):
                        tie.branch = before
            case Answered(sdp=sdp, branch=branch):
                answer = tie.answers.get(branch) if sdp is None else _text(sdp)
                tie.branch = branch
                if answer is None:
                    call.hang_up(now, "the other side answered without a session description")
                elif call.receive_answer(answer, now, early=False):
                    call.confirmed(now)
            case Confirmed():
                call.confirmed(now)
            case Ended(reason=reason, status=status):
                call.over(reason, status, now)
                if call.sip_call != event.call:
                    del self._ties[event.call]  # it has been offered anew
            case ReinviteReceived(offer=None):
                call.offer_wanted(now)
            case ReinviteReceived(offer=bytes(offer)):
                call.receive_reoffer(_text(offer), now)
            case ReinviteAnswered(answer=bytes(answer)):
                call.receive_reanswer(_text(answer), now)
            case ReinviteAnswered():
                call.reoffer_failed(500, "they asked for an offer and did not answer it", now)
            case ReinviteFailed(status=status, reason=reason):
                call.reoffer_failed(status, reason, now)
            case InfoReceived(package="", body=body):
                call.receive_relayed_key(body, now)
            case InfoReceived(content_type=content_type, body=body):
                call.receive_candidates(content_type, body, now)
            case RefreshDue():
                call.refresh(now)
            case InfoAnswered(status=status, reason=reason):
                call.candidates_told(status, reason, now)

    def forget(self, call: Call) -> None:
        self._ties.pop(call.sip_call, None)
        self._fields.pop(call.name, None)

    def head(self, call: Call, fields: tuple[tuple[str, str], ...]) -> None:
        """What the INVITE of a call is to say beside the usual."""
        self._fields[call.name] = fields

    # --- to SIP (call.Signalling) -------------------------------------------------------------------------
    def offer(self, call: Call, body: str, now: float) -> None:
        fields = self._fields.get(call.name, ())
        self._tie(call, self._owner.user_agent.invite(call.peer, body.encode(), now, fields))

    def progress(self, call: Call, body: str, now: float) -> None:
        self._owner.user_agent.ring(call.sip_call, now, body.encode())

    def accept(self, call: Call, body: str, now: float) -> None:
        self._owner.user_agent.accept(call.sip_call, body.encode(), now)

    def refuse(self, call: Call, code: int, reason: str, now: float) -> None:
        self._owner.user_agent.reject(call.sip_call, code, now, reason)

    def reoffer(self, call: Call, body: str, now: float) -> None:
        self._owner.user_agent.reinvite(call.sip_call, body.encode(), now)

    def withdraw_reoffer(self, call: Call, now: float) -> None:
        self._owner.user_agent.withdraw_reinvite(call.sip_call, now)

    def answer_reoffer(self, call: Call, body: str, now: float) -> None:
        self._owner.user_agent.answer_reinvite(call.sip_call, body.encode(), now)

    def refuse_reoffer(self, call: Call, code: int, now: float) -> None:
        self._owner.user_agent.reject_reinvite(call.sip_call, code, now)

    def probe(self, call: Call, now: float) -> None:
        self._owner.user_agent.probe_uplink(now)

    def takes_candidates(self, call: Call) -> bool:
        tie = self._ties.get(call.sip_call)
        agent = self._owner.user_agent
        return tie is not None and agent.takes_info(call.sip_call, sdpfrag.INFO_PACKAGE, tie.branch)

    def trickle(self, call: Call, fragment: str, now: float) -> None:
        self._owner.user_agent.inform(
            call.sip_call,
            sdpfrag.INFO_PACKAGE,
            sdpfrag.MEDIA_TYPE,
            fragment.encode(),
            now,
            self._ties[call.sip_call].branch,
        )

    def hang_up(self, call: Call, reason: str, now: float) -> None:
        if call.sip_call:  # else its INVITE has not left yet
            self._owner.user_agent.hang_up(call.sip_call, now, reason or None)

    def _tie(self, call: Call, key: str) -> None:
        call.sip_call = key
        call.call_id = self._owner.user_agent.call_id(key)
        self._ties[key] = _Tie(call)


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")
