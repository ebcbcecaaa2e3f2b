"""Dialogs (RFC 3261 §12): the peer-to-peer relation that an INVITE makes, early or confirmed.

A dialog knows both ends' names and tags, the sequence numbers of both directions, where the other end wants
its requests (remote target) and through which proxies they pass (route set). It builds requests and judges the
order of those that come in; it sends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from iceway.core.errors import ParseError
from iceway.wire.sip import Headers, NameAddr, Request, Response, SipUri

DialogId = tuple[str, str, str]
"""Call-ID, local tag, remote tag."""


@dataclass(slots=True)
class Dialog:
    """One dialog seen from one end. `local` and `remote` carry their tags; `flow` is where its messages travel."""

    call_id: str
    local: NameAddr
    remote: NameAddr
    remote_target: str
    routes: tuple[NameAddr, ...]
    local_cseq: int
    remote_cseq: int | None
    flow: str | None
    recv_info: frozenset[str] = frozenset()
    """The Info Packages that the other end takes (RFC 6086 §5.2), as it said last."""

    @classmethod
    def from_response(cls, request: Request, response: Response, flow: str | None) -> Dialog:
        """The caller's view, from a response with a To tag (RFC 3261 §12.1.2). Raises ParseError."""
        contacts = response.contacts
        if not contacts and response.is_success:
            raise ParseError("a 2xx to INVITE has no Contact")
        return cls(
            call_id=request.call_id,
            local=request.from_,
            remote=response.to,
            remote_target=contacts[0].uri if contacts else request.uri,
            routes=tuple(reversed(response.record_routes)),
            local_cseq=request.cseq.number,
            remote_cseq=None,
            flow=flow,
            recv_info=packages_of(response),
        )

    @classmethod
    def from_request(cls, request: Request, local_tag: str, flow: str | None) -> Dialog:
        """The called one's view (RFC 3261 §12.1.1). Raises ParseError."""
        if len(request.contacts) != 1:
            raise ParseError("an INVITE needs one Contact")
        return cls(
            call_id=request.call_id,
            local=request.to.with_param("tag", local_tag),
            remote=request.from_,
            remote_target=request.contacts[0].uri,
            routes=request.record_routes,
            local_cseq=0,
            remote_cseq=request.cseq.number,
            flow=flow,
            recv_info=packages_of(request),
        )

    @property
    def id(self) -> DialogId:
        return (self.call_id, self.local.tag or "", self.remote.tag or "")

    def next_cseq(self) -> int:
        self.local_cseq += 1
        return self.local_cseq

    def request(self, method: str, cseq: int | None = None) -> Request:
        """A request within the dialog, with Route, From, To, Call-ID, CSeq and Max-Forwards (RFC 3261 §12.2.1.1).

        `cseq` is given for an ACK, which repeats the number of its INVITE.
        """
        uri, routes = (
            self.remote_target,
            [str(NameAddr(route.uri, "", route.params)) for route in self.routes],
        )
        if self.routes and not _is_loose(self.routes[0]):
            # A strict router wants its own URI on the request line and the target as the last route.
            uri = self.routes[0].uri
            routes = [*routes[1:], f"<{self.remote_target}>"]
        number = self.next_cseq() if cseq is None else cseq
        return Request(
            method,
            uri,
            headers=Headers.of(
                *(("Route", route) for route in routes),
                ("Max-Forwards", "70"),
                ("From", str(self.local)),
                ("To", str(self.remote)),
                ("Call-ID", self.call_id),
                ("CSeq", f"{number} {method}"),
            ),
        )

    def in_order(self, request: Request) -> bool:
        """Whether a request of the other end comes in its turn (RFC 3261 §12.2.2); remembers its number."""
        number = request.cseq.number
        if self.remote_cseq is not None and number < self.remote_cseq:
            return False
        self.remote_cseq = number
        return True

    def refresh_target(self, message: Request | Response) -> None:
        """A (re-)INVITE or its 2xx may move the remote target (RFC 3261 §12.2)."""
        if message.contacts:
            self.remote_target = message.contacts[0].uri
        self.recv_info = packages_of(message)

    def confirmed(self, response: Response) -> Dialog:
        """An early dialog as its 2xx confirms it: target and route set are taken anew (RFC 3261 §13.2.2.4)."""
        return replace(
            self,
            remote_target=response.contacts[0].uri if response.contacts else self.remote_target,
            routes=tuple(reversed(response.record_routes)),
            recv_info=packages_of(response),
        )


def packages_of(message: Request | Response) -> frozenset[str]:
    """What its Recv-Info names, without parameters."""
    return frozenset(
        value.partition(";")[0].strip().lower() for value in message.headers.values("Recv-Info")
    ) - {"", "nil"}


def takes_update(message: Request | Response) -> bool:
    """Whether the sender says that UPDATE may be sent to it (RFC 3311 §5.1)."""
    return any(method.strip().upper() == "UPDATE" for method in message.headers.values("Allow"))


def _is_loose(route: NameAddr) -> bool:
    try:
        return SipUri.parse(route.uri).params.has("lr")
    except ParseError:
        return True
