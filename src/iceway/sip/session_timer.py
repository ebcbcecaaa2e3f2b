"""Session timers (RFC 4028): both sides agree how long a call may go without a sign of life, and who gives it.

The one who refreshes does so at half the interval; who hears nothing until shortly before its end hangs up, so
a call whose other side is gone ends at both ends and in every proxy. Pure bookkeeping of one call; `call.py` sends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from iceway.core.errors import ParseError
from iceway.wire.sip import Message, Request, Response
from iceway.wire.sip.syntax import number, parse_params

MIN_SE = 90  # seconds; RFC 4028 §4 lets nobody ask for less
LONGEST = 86_400  # and no agreement of ours lasts longer, whatever the other side wants

M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class SessionExpires:
    """`refresher` is "uac", "uas" or None, as seen from the transaction that says it."""

    seconds: int
    refresher: str | None = None

    def __str__(self) -> str:
        return f"{self.seconds};refresher={self.refresher}" if self.refresher else f"{self.seconds}"


def session_expires(message: Message) -> SessionExpires | None:
    """Raises ParseError."""
    value = message.headers.get("Session-Expires")
    if value is None:
        return None
    seconds, semicolon, rest = value.partition(";")
    refresher = parse_params(semicolon + rest).get("refresher")
    if refresher is not None and refresher.lower() not in ("uac", "uas"):
        raise ParseError(f"the refresher of a session is uac or uas, not {refresher[:20]!r}")
    return SessionExpires(number(seconds.strip(), "Session-Expires"), refresher and refresher.lower())


def min_se(message: Message) -> int:
    """The shortest interval that somebody on the way accepts (RFC 4028 §5). Raises ParseError."""
    value = message.headers.get("Min-SE")
    return MIN_SE if value is None else max(MIN_SE, number(value.partition(";")[0].strip(), "Min-SE"))


class SessionTimer:
    """One call's agreement. `interval` is 0 while there is none; `we_refresh` says whose part it is."""

    def __init__(self, wanted: int) -> None:
        self.interval = 0
        self.we_refresh = False
        self._wanted = wanted
        self._least = MIN_SE

    @property
    def refresh_after(self) -> float:
        return self.interval / 2

    @property
    def over_after(self) -> float:
        """RFC 4028 §10: BYE the lesser of 32 s and a third of the interval before it is over."""
        return self.interval - min(32.0, self.interval / 3)

    # --- we ask -----------------------------------------------------------------------------------------
    def asked(self, request: Request) -> Request:
        """An INVITE, re-INVITE or UPDATE of ours, with what we want."""
        if not self._wanted and not self.interval:
            return request
        refresher = ("uac" if self.we_refresh else "uas") if self.interval else None
        wish = SessionExpires(max(self.interval or self._wanted, self._least), refresher)
        return request.with_header("Session-Expires", str(wish)).with_header("Min-SE", str(self._least))

    def too_small(self, response: Response) -> bool:
        """A 422: whether asking again for longer may help."""
        try:
            least = min_se(response)
        except ParseError:
            return False
        if not self._least < least <= LONGEST:
            return False
        self._least = least
        self.interval = max(self.interval, least) if self.interval else 0
        return True

    def answered(self, response: Response) -> None:
        """The 2xx to a request of ours."""
        try:
            agreed = session_expires(response)
        except ParseError:
            agreed = None  # the call matters more than its timer
        if agreed is None or agreed.seconds < MIN_SE:
            self.interval = 0
        else:
            self.interval, self.we_refresh = min(agreed.seconds, LONGEST), agreed.refresher != "uas"

    # --- we are asked -----------------------------------------------------------------------------------
    def objection(self, request: Request) -> int | None:
        """The Min-SE to refuse a request with (422), None if there is no need. Raises ParseError."""
        wish = session_expires(request)
        return MIN_SE if wish is not None and wish.seconds < MIN_SE and request.supports("timer") else None

    def agree(self, request: Request, response: Response) -> Response:
        """Our 2xx to a request, with what holds from now on (RFC 4028 §9, table 2)."""
        try:
            wish, least = session_expires(request), min_se(request)
        except ParseError:
            wish, least = None, MIN_SE
        theirs = request.supports("timer")
        if wish is None and not self._wanted:
            self.interval = 0
            return response
        seconds = wish.seconds if wish is not None else LONGEST
        if self._wanted:
            seconds = min(seconds, max(self._wanted, least))
        self.interval = min(max(seconds, MIN_SE), LONGEST)
        refresher = (wish.refresher if wish else None) or ("uac" if theirs else "uas")
        self.we_refresh = refresher == "uas" or not theirs
        agreed = SessionExpires(self.interval, "uas" if self.we_refresh else "uac")
        response = response.with_header("Session-Expires", str(agreed))
        return response if self.we_refresh else response.with_header("Require", "timer")
