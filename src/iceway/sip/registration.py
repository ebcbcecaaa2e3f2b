"""Keeping one's registration (RFC 3261 §10.2, Path RFC 3327, outbound RFC 5626, Service-Route RFC 3608).

REGISTER goes out whenever the uplink comes up, again at four fifths of what was granted, and after a failure
with growing, jittered pauses. A refusal that trying again cannot cure (a wrong password, an unknown user) is
told and left to the user.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceway.core.timers import Timers
from iceway.sip.call import ALLOW, SUPPORTED
from iceway.sip.endpoint import Flow
from iceway.sip.exchange import Exchange, Requester
from iceway.sip.refusal import why_refused
from iceway.sip.uplink import Uplink
from iceway.trace.records import Registered, Unregistered
from iceway.wire.sip import Headers, NameAddr, Params, Request, Response, SipUri, quote

if TYPE_CHECKING:
    from random import Random

_REFRESH = 0.8
_CURABLE = frozenset({408, 423, 430, 439, 480, 500, 503, 504})


# --- events ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class RegistrationSucceeded:
    """The registrar confirmed our binding. `response` is its 200, for headers this room does not know."""

    expires: float
    response: Response


@dataclass(frozen=True, slots=True)
class RegistrationFailed:
    """We are not registered. `status` is 0 where nobody was reached; `retry_in` None: not tried again."""

    status: int
    reason: str
    retry_in: float | None


@dataclass(frozen=True, slots=True)
class Deregistered:
    """The binding is gone, as asked."""


class Registration:
    """See the module's law. `instance` is our URN (RFC 5626 §4.1), made up at first use if it is None."""

    def __init__(
        self,
        aor: SipUri,
        instance: str | None,
        user_agent: str,
        expires: int,
        retry: tuple[float, float],
        uplink: Uplink,
        requester: Requester,
        timers: Timers,
        rng: Random,
        emit: Callable[[object], None],
        contact: Callable[[Flow | None], str],
    ) -> None:
        self._aor = aor
        self._instance = instance
        self._user_agent = user_agent
        self._expires = expires
        self._retry_base, self._retry_max = retry
        self._uplink = uplink
        self._requester = requester
        self._timers = timers
        self._rng = rng
        self._emit = emit
        self._contact = contact
        self._call_id = ""
        self._cseq = 0
        self._failures = 0
        self._current: Exchange | None = None
        self.wanted = False
        self.is_registered = False
        self.service_route: tuple[str, ...] = ()
        self.gruu: str | None = None

    # --- commands -------------------------------------------------------------------------------------
    def register(self, now: float) -> None:
        self.wanted = True
        self._failures = 0
        self._timers.cancel(("registration", "retry"))
        if self._uplink.flow is not None:
            self._send(self._expires, now)
        else:
            self._uplink.ensure(now)

    def unregister(self, now: float) -> None:
        self.wanted = False
        self._timers.cancel(("registration", "retry"))
        self._timers.cancel(("registration", "refresh"))
        if self.is_registered and self._uplink.flow is not None:
            self._send(0, now)
        else:
            self.is_registered = False
            self._emit(Deregistered())

    def network_changed(self, reason: str, now: float) -> None:
        """Register from where we are now, at once. That we were not reachable meanwhile is not told as a failure."""
        if self._current is not None:
            self._requester.forget(self._current)
            self._current = None
        self._failures = 0
        self._timers.cancel(("registration", "retry"))
        self._uplink.renew(reason, now)

    # --- inputs ---------------------------------------------------------------------------------------
    def uplink_up(self, now: float) -> None:
        if self.wanted:
            self._send(self._expires, now)

    def uplink_down(self, reason: str, now: float) -> None:
        if self.wanted:
            self._lost(f"the connection ended: {reason}", now)

    def uplink_failed(self, reason: str, now: float) -> None:
        if self.wanted:
            self._lost(reason, now)

    def handle_timer(self, now: float) -> None:
        if not self.wanted:
            return
        if self._uplink.flow is not None:
            self._send(self._expires, now)
        else:
            self._uplink.ensure(now)

    # --- REGISTER -------------------------------------------------------------------------------------
    def _send(self, expires: int, now: float) -> None:
        if self._current is not None:
            self._requester.forget(self._current)
        if not self._call_id:
            self._call_id = f"{self._rng.getrandbits(128):032x}"
            self._instance = (
                self._instance or f"urn:uuid:{uuid.UUID(int=self._rng.getrandbits(128), version=4)}"
            )
        user = NameAddr(self._aor.aor)
        request = Request(
            "REGISTER",
            f"{self._aor.scheme}:{self._aor.host}",
            headers=Headers.of(
                ("Max-Forwards", "70"),
                ("From", str(user.with_param("tag", f"{self._rng.getrandbits(64):016x}"))),
                ("To", str(user)),
                ("Call-ID", self._call_id),
                ("CSeq", f"{self._next_cseq()} REGISTER"),
                ("Supported", SUPPORTED),
                ("Allow", ALLOW),
                ("Expires", str(expires)),
                ("User-Agent", self._user_agent),
            ),
        )
        self._current = Exchange(request, self._next_cseq, self._responded, self._failed, dress=self._dress)
        self._requester.send(self._current, now)

    def _dress(self, request: Request, flow: Flow) -> Request:
        params = Params([("+sip.instance", quote(f"<{self._instance}>")), ("reg-id", "1")])
        return request.with_header("Contact", str(NameAddr(self._contact(flow), params=params)))

    def _responded(self, exchange: Exchange, response: Response, now: float) -> None:
        if response.is_provisional or exchange is not self._current:
            return
        self._current = None
        if response.is_success:
            self._accepted(exchange, response, now)
        elif response.status == 423 and (least := _least_expiry(response)) > self._expires:
            self._expires = least
            self._send(self._expires, now)
        elif not self.wanted:
            self.is_registered = False
            self._emit(Deregistered())
        else:
            reason = why_refused(response)
            if response.status in (401, 403, 407):
                reason += " (is the password right?)"
            pause = self._retry_pause() if response.status in _CURABLE else None
            if pause is not None and (after := _retry_after(response)):
                pause = max(pause, after)
            self._give_up(response.status, reason, pause, now)

    def _accepted(self, exchange: Exchange, response: Response, now: float) -> None:
        if not self.wanted or exchange.request.expires == 0:
            self.is_registered = False
            self._emit(Unregistered(self._aor.aor, exchange.request.contacts[0].uri, "unregistered"))
            self._emit(Deregistered())
            return
        self._failures = 0
        self.is_registered = True
        ours = exchange.request.contacts[0]
        expires = float(self._expires if response.expires is None else response.expires)
        for contact in response.contacts:
            if contact.instance == self._instance or contact.uri == ours.uri:
                expires = float(expires if contact.expires is None else contact.expires)
                self.gruu = contact.params.get("pub-gruu") or None
        self.service_route = response.headers.values("Service-Route")
        outside = True if response.headers.get("ms-user-logon-data") == "RemoteUser" else None
        path = tuple(address.uri for address in response.addresses("Path"))
        self._emit(Registered(self._aor.aor, ours.uri, expires, path, outside))
        self._emit(RegistrationSucceeded(expires, response))
        self._timers.arm(("registration", "refresh"), now + max(1.0, _REFRESH * expires))

    def _failed(self, exchange: Exchange, reason: str, status: int, now: float) -> None:
        if exchange is not self._current:
            return
        self._current = None
        if not self.wanted:
            self.is_registered = False
            self._emit(Deregistered())
        elif self._uplink.flow is not None:
            # Nobody answers over this flow: another target may do better. Its failure comes back to us.
            self._uplink.abandon(reason, now)

    def _lost(self, reason: str, now: float) -> None:
        if self._current is not None:
            self._requester.forget(self._current)
            self._current = None
        self._give_up(0, reason, self._retry_pause(), now)

    def _give_up(self, status: int, reason: str, pause: float | None, now: float) -> None:
        self.is_registered = False
        self._timers.cancel(("registration", "refresh"))
        if pause is not None:
            self._timers.arm(("registration", "retry"), now + pause)
        else:
            self.wanted = False
        self._emit(RegistrationFailed(status, reason, pause))

    def _retry_pause(self) -> float:
        """RFC 5626 §4.5: doubling, bounded, and jittered so that clients do not come back all at once."""
        longest: float = min(self._retry_max, self._retry_base * 2.0**self._failures)
        self._failures += 1
        return longest * (0.5 + 0.5 * self._rng.random())

    def _next_cseq(self) -> int:
        self._cseq += 1
        return self._cseq


def _least_expiry(response: Response) -> int:
    value = response.headers.get("Min-Expires") or ""
    return int(value) if value.isascii() and value.isdigit() and len(value) < 8 else 0


def _retry_after(response: Response) -> float:
    value = (response.headers.get("Retry-After") or "").partition(";")[0].partition("(")[0].strip()
    if not (value.isascii() and value.isdigit()) or len(value) > 5:
        return 0.0
    return float(value)
