"""INFO within one call (RFC 6086), and as before it: telephone keys, candidates, whatever has a package of its own.

One INFO of ours waits where the other end cannot know the dialog yet (RFC 8840 §4.3.1); a newer one takes its place,
since it says all that the older one said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceway.sip.call_events import InfoAnswered, InfoReceived
from iceway.sip.exchange import Exchange
from iceway.wire.sip import Response, make_response

if TYPE_CHECKING:
    from iceway.sip.call import Switch
    from iceway.sip.dialog import Dialog
    from iceway.sip.endpoint import RequestReceived


class Information:
    """What is sent and received. After `call_over` nobody hears of answers any more."""

    def __init__(self, key: str, switch: Switch) -> None:
        self._key = key
        self._switch = switch
        self._waits: tuple[str, str, bytes] | None = None
        self._over = False

    def send(self, package: str, content_type: str, body: bytes, dialog: Dialog, now: float) -> None:
        request = dialog.request("INFO").with_header("Info-Package", package)
        request = request.with_header("Content-Disposition", "Info-Package").with_body(body, content_type)
        info = Exchange(request, dialog.next_cseq, self._answered, self._failed, flow=dialog.flow)
        self._switch.requester.send(info, now)

    def hold_back(self, package: str, content_type: str, body: bytes) -> None:
        self._waits = package, content_type, body

    def send_what_waits(self, dialog: Dialog, now: float) -> None:
        if self._waits is not None:
            waited, self._waits = self._waits, None
            self.send(*waited, dialog, now)

    def received(self, event: RequestReceived, now: float) -> None:
        """Answer an INFO, and tell what it says if it is of a kind that we take."""
        request = event.request
        package = (request.headers.get("Info-Package") or "").partition(";")[0].strip().lower()
        kind = (request.content_type or "").partition(";")[0].strip().lower()
        response, told = make_response(request, 200), None
        if package and package not in self._switch.info_packages:
            response = make_response(request, 469).with_header("Recv-Info", *self._switch.info_packages)
        elif package:
            told = InfoReceived(self._key, package, request.content_type or "", request.body)
        elif not request.body:
            pass  # as before RFC 6086: somebody asks whether we are there
        elif kind in self._switch.info_types:
            told = InfoReceived(self._key, "", kind, request.body)
        else:
            response = make_response(request, 415)
        self._switch.endpoint.respond(event.transaction, response, now)
        if told is not None:
            self._switch.emit(told)

    def call_over(self) -> None:
        self._over = True

    def _answered(self, exchange: Exchange, response: Response, now: float) -> None:
        if not response.is_provisional and not self._over:
            self._switch.emit(InfoAnswered(self._key, response.status, response.reason))

    def _failed(self, exchange: Exchange, reason: str, status: int, now: float) -> None:
        if not self._over:
            self._switch.emit(InfoAnswered(self._key, status, reason))
