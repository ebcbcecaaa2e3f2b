"""The front end: registrar, proxy by location, and the one who vouches for users to the edges.

A request that asks something of this server (to register, to find a user, to get credentials) is challenged
until a digest proves whose it is, and must then speak in that user's own name. A request within a dialog goes
where the dialog's Record-Route says, which only this server can have written. Clients inside connect
directly; those outside come through an edge, which is known by its verified certificate, so inside and outside
are never a matter of what a client claims.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceway import __version__
from iceway.core.address import Address, Transport, is_ip
from iceway.core.errors import ParseError
from iceway.core.machine import ClockSet, Input, Outbox, TlsServer, earliest
from iceway.core.switchboard import Switchboard
from iceway.core.timers import Timers
from iceway.frontend.broker import CredentialBroker
from iceway.frontend.config import EdgeConfig, FrontEndConfig, ListenConfig
from iceway.frontend.identity import Challenged, Doorkeeper, User, claims
from iceway.frontend.store import SqlStore
from iceway.sip.endpoint import (
    EndpointConfig,
    Flow,
    FlowClosed,
    FlowOpened,
    ResponseReceived,
    Target,
    TransactionFailed,
    TransportConfig,
)
from iceway.sip.proxy import Proxy, ProxyConfig
from iceway.sip.proxy_events import Granted, Hop, HopFailed, RequestArrived
from iceway.sip.registrar import Binding, Registrar, RegistrarConfig, address_of_record
from iceway.sip.websocket import WebSocketConfig
from iceway.trace.records import Note, SipAuthenticationFailed, Started
from iceway.web.pages import Pages
from iceway.wire import mras
from iceway.wire.sip import NameAddr, Request, SipUri, make_response

if TYPE_CHECKING:
    from random import Random

IDENTITY = "frontend"
EXPIRY_CHECK = 30.0
MAX_FORKS = 10
# What only this server may assert (RFC 3325), and what it has no need to hear from clients.
_ASSERTIONS = (
    "P-Asserted-Identity",
    "P-Preferred-Identity",
    "Remote-Party-ID",
    mras.SERVICE_HEADER,
    mras.LOGON_HEADER,
)


class FrontEnd(Outbox):
    """Machine; see the module's law. The store is used synchronously and belongs to the caller.

    `pages` is what browsers see at the doors where they may open a WebSocket.
    """

    def __init__(
        self,
        config: FrontEndConfig,
        store: SqlStore,
        rng: Random,
        name: str = "frontend",
        *,
        pages: Pages | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self._store = store
        self._rng = rng
        self._doorkeeper: Doorkeeper | None = None
        registration = config.registration
        self._registrar = Registrar(
            store,
            RegistrarConfig(
                default_expires=registration.default_expires,
                min_expires=registration.min_expires,
                max_expires=registration.max_expires,
                max_bindings=registration.max_bindings,
            ),
        )
        first = config.listen[0]
        uri = SipUri.of(None, config.name, Address.parse(first.address).port, transport=first.transport)
        # Clients that send no keep-alives stay connected for as long as they can be registered.
        transport = TransportConfig(idle_timeout=registration.max_expires + 300.0)
        endpoint = EndpointConfig(transport=transport)
        self._proxy = Proxy(f"{name}/sip", rng, ProxyConfig(uri, frozenset({config.name.lower()}), endpoint))
        self._broker = CredentialBroker(f"{name}/mras", config, self._proxy, rng)
        self._board = Switchboard()
        self._board.add(f"{name}/sip", self._proxy)
        self._board.add(f"{name}/mras", self._broker)
        self._edge_flows: dict[str, list[Flow]] = {}
        self._timers = Timers()
        self._wall_offset = 0.0
        self._pages = pages

    @property
    def media_relay_service(self) -> str:
        """The URI that clients send SERVICE requests for relay credentials to."""
        return f"sip:{self.config.name}@{self.config.domain};gruu;opaque=srvr:MRAS:iceway"

    # --- commands -------------------------------------------------------------------------------------
    def start(self, now: float) -> None:
        """Open the listeners; answered by the endpoint's `Listening` or `ListenFailed`."""
        self.emit(Started("frontend", __version__, self.config.name))
        # Kept keys, so that nonces and the ways to clients over UDP mean the same after a restart.
        nonce_key = self._store.secret("nonces", self._rng.randbytes(32))
        self._proxy.tokens.use_key(self._store.secret("flow tokens", self._rng.randbytes(32)))
        self._doorkeeper = Doorkeeper(
            self.config.domain, self._store, nonce_key, self._rng, self.config.authentication
        )
        if self._pages is not None and self._pages.missing is not None:
            self.emit(Note("warning", self._pages.missing))
        for listen in self.config.listen:
            self._listen(listen, now)
        self._timers.arm("expiry", now + EXPIRY_CHECK)
        self._settle(now)

    def stop(self, now: float) -> None:
        self._timers.clear()
        self._proxy.close(now)
        self._settle(now)

    def _listen(self, listen: ListenConfig, now: float) -> None:
        address = Address.parse(listen.address)
        if listen.transport == "wss":
            web = self.config.web
            tls = TlsServer(IDENTITY, anonymous=True)
            websocket = WebSocketConfig(web.path, web.origins, pages=self._pages)
            self._proxy.listen(Transport.TLS, address, now, tls, websocket)
            return
        transport = Transport(listen.transport)
        self._proxy.listen(
            transport, address, now, TlsServer(IDENTITY) if transport is Transport.TLS else None
        )

    # --- machine --------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        if isinstance(event, ClockSet):
            self._wall_offset = event.wall_offset
        self._board.route(event, now)
        self._settle(now)

    def handle_timeout(self, now: float) -> None:
        self._board.handle_timeout(now)
        for _ in self._timers.due(now):
            for record in self._registrar.expire(self._wall(now)):
                self.emit(record)
            self._timers.arm("expiry", now + EXPIRY_CHECK)
        self._settle(now)

    def poll_timeout(self) -> float | None:
        return earliest(self._board.poll_timeout(), self._timers.next_at())

    def _settle(self, now: float) -> None:
        for _, output in self._board.outputs():
            match output:
                case RequestArrived():
                    self._arrived(output, now)
                case ResponseReceived() | TransactionFailed():
                    self._broker.heard(output, now)
                case HopFailed(hop, status, reason):
                    self._hop_failed(hop, status, reason)
                case Granted():
                    continue
                case FlowOpened(flow):
                    self._edge_flow_opened(flow, now)
                case FlowClosed(flow):
                    for flows in self._edge_flows.values():
                        flows[:] = [other for other in flows if other.id != flow.id]
                case _:
                    self.emit(output)

    def _wall(self, now: float) -> float:
        return now + self._wall_offset

    # --- requests -------------------------------------------------------------------------------------
    def _arrived(self, arrived: RequestArrived, now: float) -> None:
        request = arrived.request
        edge = self.config.edge_named(arrived.flow.peer_names)
        try:
            within_dialog = request.to.tag is not None and (arrived.ours or bool(request.routes))
            if arrived.gone:
                self._proxy.refuse(arrived, 430, now)
            elif within_dialog:
                self._forward_within_dialog(arrived, edge, now)
            elif arrived.transaction is not None:
                self._new_request(arrived, edge, now)
        except ParseError as error:
            self._proxy.refuse(arrived, 400, now, f"Bad Request: {error}"[:120])

    def _new_request(self, arrived: RequestArrived, edge: EdgeConfig | None, now: float) -> None:
        request = arrived.request
        uri = request.sip_uri
        if request.method == "OPTIONS" and not uri.user and self._is_here(uri):
            self._proxy.respond(arrived, make_response(request, 200, to_tag=self._proxy.new_tag()), now)
            return
        if not self._is_here(uri):
            reason = f"This server does not route to {uri.host}; it serves {self.config.domain}"
            self._proxy.refuse(arrived, 403, now, reason[:200])
            return
        serves = request.method == "REGISTER" or self._is_credential_request(request)
        user = self._identify(arrived, edge, not serves, now)
        if user is None:
            return
        if request.method == "REGISTER":
            self._register(arrived, user, edge, now)
        elif serves:
            self._broker.serve(arrived, user.aor, now)
        else:
            self._forward_to_user(arrived, user, edge, now)

    def _identify(
        self, arrived: RequestArrived, edge: EdgeConfig | None, proxy: bool, now: float
    ) -> User | None:
        """The user who proved to have sent this; None if the request is answered with a challenge or 403."""
        assert self._doorkeeper is not None
        request = arrived.request
        source = _sender(arrived, through_edge=edge is not None)
        verdict = self._doorkeeper.identify(request, source, proxy=proxy, wall_now=self._wall(now))
        if isinstance(verdict, Challenged):
            if verdict.failed:
                self.emit(SipAuthenticationFailed(verdict.claimed, arrived.flow.remote, verdict.reason))
            self._proxy.refuse_stranger(arrived, verdict.status, now, verdict.headers)
            return None
        spoken_for = request.to if request.method == "REGISTER" else request.from_
        if not claims(spoken_for, verdict):
            reason = f"{verdict.aor} may not speak for {spoken_for.uri}"
            self.emit(SipAuthenticationFailed(verdict.aor, arrived.flow.remote, reason))
            self._proxy.refuse(arrived, 403, now, "The address is not the authenticated user's")
            return None
        return verdict

    def _register(self, arrived: RequestArrived, user: User, edge: EdgeConfig | None, now: float) -> None:
        request = arrived.request
        if edge is None:
            # A client that is connected here is reached over its connection, as through an edge of our own.
            path = self._proxy.own_uri(arrived.flow.id).with_param("ob")
            request = request.without_header("Path").with_header("Path", f"<{path}>")
        outcome = self._registrar.register(
            request, outside=edge is not None, to_tag=self._proxy.new_tag(), wall_now=self._wall(now)
        )
        for record in outcome.records:
            self.emit(record)
        response = outcome.response
        if response.status == 200:
            if self.config.edges:
                response = response.with_last(mras.SERVICE_HEADER, f"<{self.media_relay_service}>")
            if edge is not None:
                response = response.with_last(mras.LOGON_HEADER, mras.OUTSIDE)
        self._proxy.respond(arrived, response, now)
        if response.status == 200 and edge is None:
            self._proxy.client_registered(request, arrived.flow, now)

    # --- routing --------------------------------------------------------------------------------------
    def _forward_to_user(
        self, arrived: RequestArrived, user: User, edge: EdgeConfig | None, now: float
    ) -> None:
        request = arrived.request
        uri = request.sip_uri
        if not self._store.has_user(address_of_record(uri)):
            self._proxy.refuse(arrived, 404, now)
            return
        hops = []
        for device in self._registrar.lookup(uri, self._wall(now))[:MAX_FORKS]:
            hop: Hop | None = None
            for binding in reversed(device):
                way = self._hop(binding, hop)
                # sips: promises TLS on every leg (RFC 3261 §26.2.2)
                if way is not None and (way.target.transport is Transport.TLS or not uri.is_secure):
                    hop = way
            if hop is not None:
                hops.append(hop)
        if not hops:
            self._proxy.refuse(arrived, 480, now)
            return
        assert self._doorkeeper is not None
        vouched = self._doorkeeper.without_our_credentials(request).without_header(*_ASSERTIONS)
        vouched = vouched.without_header("Route").with_last("P-Asserted-Identity", f"<{user.aor}>")
        self._proxy.forward(arrived, hops, now, request=vouched, from_client=edge is None)

    def _hop(self, binding: Binding, fallback: Hop | None) -> Hop | None:
        """The way to a binding: over its client's flow, or over the edge that its Path names first."""
        path = [NameAddr.parse(value) for value in binding.path]
        if path and self._proxy.is_ours(path[0].sip):
            flow = self._proxy.flow_of(path[0].sip)
            if flow is None:
                self._forget(binding, "its connection is gone")
                return None
            return Hop(binding.uri, Target.over(flow), client=True, fallback=fallback, label=binding)
        flow = self._flow_to_edge(path[0].sip) if path else None
        if flow is None:
            where = path[0].sip.host if path else binding.uri
            self.emit(Note("warning", f"{binding.aor} cannot be reached: no connection from {where}"))
            return None
        return Hop(binding.uri, Target.over(flow), binding.path, fallback=fallback, label=binding)

    def _forward_within_dialog(self, arrived: RequestArrived, edge: EdgeConfig | None, now: float) -> None:
        """Where our own Record-Route says, or the next one, which must be an edge's: we route for no others."""
        assert self._doorkeeper is not None
        # Nobody counts the proofs that come here unasked: whoever got to see one could use it for a call.
        request = self._doorkeeper.without_our_credentials(arrived.request).without_header(*_ASSERTIONS)
        routes = request.routes
        flow = self._flow_to_edge(routes[0].sip) if routes else None
        if arrived.destination is not None and (flow is None or edge is not None):
            hop = Hop(request.uri, Target.over(arrived.destination), client=True, unreachable=430)
        else:
            # A token with an edge to follow names an earlier connection of the client who sends this.
            if flow is None:
                self._proxy.refuse(arrived, 404, now, "The dialog's route leads nowhere from here")
                return
            hop = Hop(request.uri, Target.over(flow))
        self._proxy.forward(arrived, [hop], now, request=request, from_client=edge is None)

    def _hop_failed(self, hop: Hop, status: int, reason: str) -> None:
        """A binding whose flow is gone is no use to anybody (RFC 5626 §5.3); a silent phone may wake up."""
        if isinstance(hop.label, Binding) and (status == 430 or (status == 503 and hop.client)):
            self._forget(hop.label, reason)

    def _forget(self, binding: Binding, reason: str) -> None:
        for record in self._registrar.forget(binding, reason):
            self.emit(record)

    # --- edges ----------------------------------------------------------------------------------------
    def _edge_flow_opened(self, flow: Flow, now: float) -> None:
        edge = self.config.edge_named(flow.peer_names)
        if edge is not None and flow.incoming:
            self._edge_flows.setdefault(edge.name.lower(), []).append(flow)

    def _flow_to_edge(self, uri: SipUri) -> Flow | None:
        """The newest connection of the edge whose host a Path or Route value names."""
        edge = self.config.edge_reached_as(uri.host)
        flows = self._edge_flows.get(edge.name.lower()) if edge is not None else None
        return flows[-1] if flows else None

    def _is_here(self, uri: SipUri) -> bool:
        return uri.host.lower() == self.config.domain.lower() or self._proxy.is_ours(uri)

    def _is_credential_request(self, request: Request) -> bool:
        uri = request.sip_uri
        opaque = uri.param("opaque") or ""
        return request.method == "SERVICE" and (opaque.startswith("srvr:MRAS") or uri.username == "mras")


def _sender(arrived: RequestArrived, *, through_edge: bool) -> str:
    """The IP that a request was sent from: an edge writes it into the Via under its own."""
    vias = arrived.request.vias
    if through_edge and len(vias) > 1:
        told = vias[1].received or vias[1].host
        if is_ip(told):
            return told
    return arrived.flow.remote.ip
