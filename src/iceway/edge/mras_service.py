"""The credential service: mints relay credentials for front ends that vouch for their users ([MS-AVEDGEA]).

It lives on a port of its own, under mutual TLS, and answers SERVICE from nobody but peers whose verified
certificate bears the name of a trusted front end. It keeps no state: what it mints, every edge with the same
key can verify. Faults of the SIP request get a SIP status, faults of its body a `reasonPhrase` in a 200.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport
from iceway.core.errors import ParseError
from iceway.core.machine import ClockSet, Input, Outbox, TlsServer
from iceway.edge.credentials import KeyRing
from iceway.sip.endpoint import Endpoint, EndpointConfig, Flow, RequestReceived
from iceway.trace.records import CredentialsMinted, CredentialsRefused, CredentialsRequested, Malformed
from iceway.wire import mras
from iceway.wire.mras import (
    CredentialsRequest,
    CredentialsResponse,
    Location,
    MediaRelay,
    MrasResponse,
    ReasonPhrase,
)
from iceway.wire.sip import Request, make_response

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class MrasServiceConfig:
    """`relays` are those to tell clients about, each with the location it serves.

    `realm` is the TURN realm. `identity` names the certificate of the driver's key store.
    """

    listen: Address
    trusted_frontends: tuple[str, ...]
    relays: tuple[MediaRelay, ...]
    realm: str
    identity: str = "edge"


class MrasService(Outbox):
    """Machine; see the module's law. `ring` may be replaced at any time."""

    def __init__(
        self, config: MrasServiceConfig, ring: KeyRing, rng: Random, name: str = "edge/mras"
    ) -> None:
        super().__init__()
        self.ring = ring
        self._config = config
        self._trusted = {host.lower() for host in config.trusted_frontends}
        self._rng = rng
        self._endpoint = Endpoint(name, rng, EndpointConfig())
        self._wall_offset = 0.0

    # --- commands -------------------------------------------------------------------------------------
    def start(self, now: float) -> None:
        """Open the listener; answered by the endpoint's `Listening` or `ListenFailed`."""
        tls = TlsServer(self._config.identity, require_client_certificate=True)
        self._endpoint.listen(Transport.TLS, self._config.listen, now, tls)
        self._pump(now)

    def stop(self, now: float) -> None:
        self._endpoint.close(now)
        self._pump(now)

    # --- machine --------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        if isinstance(event, ClockSet):
            self._wall_offset = event.wall_offset
        self._endpoint.handle_input(event, now)
        self._pump(now)

    def handle_timeout(self, now: float) -> None:
        self._endpoint.handle_timeout(now)
        self._pump(now)

    def poll_timeout(self) -> float | None:
        return self._endpoint.poll_timeout()

    def _pump(self, now: float) -> None:
        while (output := self._endpoint.poll_output()) is not None:
            if isinstance(output, RequestReceived):
                self._answer(output, now)
            else:
                self.emit(output)

    # --- requests -------------------------------------------------------------------------------------
    def _answer(self, received: RequestReceived, now: float) -> None:
        request = received.request
        if not self._trusted & {name.lower() for name in received.flow.peer_names}:
            shown = ", ".join(received.flow.peer_names) or "none"
            reason = f"asked by {received.source}, whose certificate name ({shown}) is no trusted front end's"
            self.emit(CredentialsRefused("", reason))
            self._refuse(received, 403, now)
        elif request.method == "OPTIONS":
            self._refuse(received, 200, now)
        elif request.method != "SERVICE":
            self._refuse(received, 405, now, ("Allow", "SERVICE, OPTIONS"))
        elif request.content_type != mras.CONTENT_TYPE:
            self._refuse(received, 415, now, ("Accept", mras.CONTENT_TYPE))
        else:
            body = mras.serialize_response(self._serve(request, received.flow, now + self._wall_offset))
            response = make_response(request, 200, to_tag=self._tag()).with_body(body, mras.CONTENT_TYPE)
            self._endpoint.respond(received.transaction, response, now)

    def _serve(self, request: Request, flow: Flow, wall_now: float) -> MrasResponse:
        try:
            asked = mras.parse_request(request.body)
        except ParseError as error:
            self.emit(Malformed("mras", flow.remote, str(error), len(request.body)))
            return MrasResponse.refusing(None, ReasonPhrase.MALFORMED)
        if (fault := asked.fault()) is not None:
            self.emit(CredentialsRefused(asked.from_, str(fault)))
            return MrasResponse.refusing(asked, fault)
        granted = []
        for item in asked.credentials:
            relays = self._relays(item)
            if not relays:
                reason = f"this edge has no relay for location {item.location}"
                self.emit(CredentialsRefused(item.identity, reason))
                return MrasResponse.refusing(asked, ReasonPhrase.NOT_SUPPORTED)
            granted.append(self._mint(item, relays, wall_now))
        return MrasResponse(ReasonPhrase.OK, asked.request_id, asked.to, asked.from_, tuple(granted))

    def _mint(
        self, item: CredentialsRequest, relays: tuple[MediaRelay, ...], wall_now: float
    ) -> CredentialsResponse:
        wanted = 60.0 * (item.duration or mras.DEFAULT_DURATION)
        location = str(item.location or "internet and intranet")
        self.emit(CredentialsRequested(item.identity, location, wanted))
        minted = self.ring.mint(item.identity, wanted, wall_now)
        self.emit(CredentialsMinted(minted.user_id, minted.key_id, minted.expires_at))
        return CredentialsResponse(
            item.request_id,
            minted.username,
            minted.password,
            max(1, round((minted.expires_at - wall_now) / 60)),
            relays,
            self._config.realm,
        )

    def _relays(self, item: CredentialsRequest) -> tuple[MediaRelay, ...]:
        """Relays for the location asked for, or for both."""
        wanted = (item.location,) if item.location else tuple(Location)
        return tuple(relay for relay in self._config.relays if relay.location in wanted)

    def _refuse(self, received: RequestReceived, status: int, now: float, *headers: tuple[str, str]) -> None:
        response = make_response(received.request, status, to_tag=self._tag())
        for name, value in headers:
            response = response.with_last(name, value)
        self._endpoint.respond(received.transaction, response, now)

    def _tag(self) -> str:
        return f"{self._rng.getrandbits(64):016x}"
