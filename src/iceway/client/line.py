"""Between a user agent's calls (SIP) and the client's (ICE and sound): each side's words in the other's terms."""

from __future__ import annotations

from typing import Protocol

from iceway.client.call import Call
from iceway.sip.useragent import (
    Answered,
    Confirmed,
    Ended,
    Incoming,
    Provisional,
    ReinviteAnswered,
    ReinviteFailed,
    ReinviteReceived,
    UserAgent,
)

CallEvent = Provisional | Answered | Confirmed | Ended | ReinviteReceived | ReinviteAnswered | ReinviteFailed


class Switchable(Protocol):
    """Who has the user agent, once there is one."""

    @property
    def user_agent(self) -> UserAgent: ...


class Line:
    """Carries both ways; the `Signalling` of every call."""

    def __init__(self, owner: Switchable) -> None:
        self._owner = owner
        self._by_key: dict[str, Call] = {}

    # --- from SIP -----------------------------------------------------------------------------------------
    def ring_in(self, call: Call, incoming: Incoming, now: float) -> bool:
        """A call came in: tie it, say that it rings. False: its offer was refused."""
        assert incoming.offer is not None
        self._tie(call, incoming.call)
        if not call.receive_offer(_text(incoming.offer), now):
            return False
        self._owner.user_agent.ring(incoming.call, now)
        return True

    def call_of(self, key: str) -> Call | None:
        return self._by_key.get(key)

    def deliver(self, event: CallEvent, now: float) -> None:
        """Tell the call concerned."""
        call = self._by_key.get(event.call)
        if call is None:
            return
        match event:
            case Provisional(sdp=sdp):
                call.ringing(now)
                if sdp is not None:
                    call.receive_answer(_text(sdp), now, early=True)
            case Answered(sdp=sdp):
                # Without a body the answer came before, in the reliable 183.
                if sdp is None or call.receive_answer(_text(sdp), now, early=False):
                    call.confirmed(now)
            case Confirmed():
                call.confirmed(now)
            case Ended(reason=reason):
                call.over(reason, now)
            case ReinviteReceived(offer=None):
                self.refuse_settling(call, 488, now)
            case ReinviteReceived(offer=bytes(offer)):
                call.receive_reoffer(_text(offer), now)
            case ReinviteAnswered(answer=bytes(answer)):
                call.receive_reanswer(_text(answer), now)
            case ReinviteFailed(status=status, reason=reason):
                call.reoffer_failed(status, reason, now)

    def forget(self, call: Call) -> None:
        self._by_key.pop(call.sip_call, None)

    # --- to SIP (call.Signalling) -------------------------------------------------------------------------
    def offer(self, call: Call, body: str, now: float) -> None:
        self._tie(call, self._owner.user_agent.invite(call.peer, body.encode(), now))

    def progress(self, call: Call, body: str, now: float) -> None:
        self._owner.user_agent.ring(call.sip_call, now, body.encode())

    def accept(self, call: Call, body: str, now: float) -> None:
        self._owner.user_agent.accept(call.sip_call, body.encode(), now)

    def refuse(self, call: Call, code: int, reason: str, now: float) -> None:
        self._owner.user_agent.reject(call.sip_call, code, now, reason)

    def settle(self, call: Call, body: str, now: float) -> None:
        self._owner.user_agent.reinvite(call.sip_call, body.encode(), now)

    def answer_settling(self, call: Call, body: str, now: float) -> None:
        self._owner.user_agent.answer_reinvite(call.sip_call, body.encode(), now)

    def refuse_settling(self, call: Call, code: int, now: float) -> None:
        self._owner.user_agent.reject_reinvite(call.sip_call, code, now)

    def hang_up(self, call: Call, reason: str, now: float) -> None:
        if call.sip_call:  # else its INVITE has not left yet
            self._owner.user_agent.hang_up(call.sip_call, now, reason)

    def _tie(self, call: Call, key: str) -> None:
        call.sip_call = key
        call.call_id = self._owner.user_agent.call_id(key)
        self._by_key[key] = call


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")
