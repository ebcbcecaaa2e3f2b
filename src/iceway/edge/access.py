"""The access proxy: the door for clients outside.

Clients come in over TLS, browsers in WebSockets over TLS (RFC 7118), and everything they say goes to the front
end over mutual TLS, and nowhere else. The edge asks nobody for a password; it adds itself to the Path of a
REGISTER and to the routes of a dialog, with a token for the client's flow, and lets in from the front end only
what such a token addresses to a living flow (RFC 3327, RFC 5626 §5). What does not concern the domain is refused
here, as is too much of anything.

One connection to the front end is kept open, in both directions, and opened again when it breaks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from iceway.core.address import Address, Transport, site_of
from iceway.core.machine import Input, Outbox, TlsServer, earliest
from iceway.core.switchboard import Switchboard
from iceway.core.timers import Timers
from iceway.sip.endpoint import EndpointConfig, Flow, FlowClosed, FlowOpened, Target, TransportConfig
from iceway.sip.locate import Located, Locator, NotLocated
from iceway.sip.proxy import Proxy, ProxyConfig
from iceway.sip.proxy_events import Granted, Hop, HopFailed, RequestArrived
from iceway.sip.websocket import WebSocketConfig
from iceway.trace.records import Note
from iceway.wire import mras
from iceway.wire.sip import Request, SipUri

if TYPE_CHECKING:
    from random import Random

FIRST_RETRY = 0.5
LAST_RETRY = 10.0
RATE = 50.0  # requests a second, of one connection
BURST = 200.0
SITE_RATE = 200.0  # of one site, however many connections it has
SITE_BURST = 1000.0
MAX_SITES = 10_000
MAX_BODY = 256 * 1024
EARN_WITHIN = 30.0
"""Seconds a new connection may last before the front end has granted it anything: a registration, a call that
rings. Later a client is left in peace for as long as it is registered."""
IDLE_TIMEOUT = 7500.0  # more than the longest registration, for clients that send no keep-alives
# Only the domain's own servers may say these things.
_TRUSTED_ONLY = ("P-Asserted-Identity", mras.SERVICE_HEADER, mras.LOGON_HEADER)


@dataclass(frozen=True, slots=True)
class AccessConfig:
    """`public` is how clients reach us: it goes into Path and Record-Route. `frontend` is the next hop, whose
    certificate must bear `frontend_name`."""

    public: SipUri
    names: tuple[str, ...]
    domain: str
    listen: tuple[Address, ...]
    frontend: SipUri
    frontend_name: str
    identity: str = "edge"
    max_connections_per_ip: int = 200
    websocket_listen: tuple[Address, ...] = ()
    websocket: WebSocketConfig = field(default_factory=WebSocketConfig)


@dataclass(slots=True)
class _Bucket:
    """What may still happen at once; fills with time."""

    rate: float
    burst: float
    level: float
    at: float = 0.0

    def take(self, now: float) -> bool:
        self.level = min(self.burst, self.level + (now - self.at) * self.rate)
        self.at = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


@dataclass(slots=True)
class _Allowance:
    """Requests, and refusals of requests, which cost something too."""

    requests: _Bucket
    refusals: _Bucket

    @classmethod
    def of(cls, rate: float, burst: float) -> _Allowance:
        return cls(_Bucket(rate, burst, burst), _Bucket(rate, burst, burst))


@dataclass(slots=True)
class _Site:
    connections: int = 0
    allowance: _Allowance = field(default_factory=lambda: _Allowance.of(SITE_RATE, SITE_BURST))


@dataclass(slots=True)
class _Client:
    flow: Flow
    site: _Site
    allowance: _Allowance = field(default_factory=lambda: _Allowance.of(RATE, BURST))


class AccessProxy(Outbox):
    """Machine; see the module's law."""

    def __init__(self, config: AccessConfig, rng: Random, name: str = "edge/access") -> None:
        super().__init__()
        self._config = config
        hosts = frozenset(host.lower() for host in (*config.names, config.public.host))
        endpoint = EndpointConfig(transport=TransportConfig(idle_timeout=IDLE_TIMEOUT))
        self._proxy = Proxy(f"{name}/sip", rng, ProxyConfig(config.public, hosts, endpoint))
        self._locator = Locator(f"{name}/dns", rng)
        self._board = Switchboard()
        self._board.add(f"{name}/sip", self._proxy)
        self._board.add(f"{name}/dns", self._locator)
        self._timers = Timers()
        self._clients: dict[str, _Client] = {}
        self._sites: dict[str, _Site] = {}
        self._targets: tuple[Target, ...] = ()
        self._frontend: Flow | None = None
        self._frontend_flow: str | None = None
        self._retry = FIRST_RETRY
        self._told: set[str] = set()
        self._running = False

    # --- commands -------------------------------------------------------------------------------------
    def start(self, now: float) -> None:
        """Open the listeners and the connection to the front end."""
        self._running = True
        for address in self._config.listen:
            self._proxy.listen(Transport.TLS, address, now, TlsServer(self._config.identity))
        for address in self._config.websocket_listen:
            tls = TlsServer(self._config.identity, anonymous=True)
            self._proxy.listen(Transport.TLS, address, now, tls, self._config.websocket)
        self._look_for_frontend(now)
        self._settle(now)

    def stop(self, now: float) -> None:
        self._running = False
        self._timers.clear()
        self._proxy.close(now)
        self._settle(now)

    # --- machine --------------------------------------------------------------------------------------
    def handle_input(self, event: Input, now: float) -> None:
        self._board.route(event, now)
        self._settle(now)

    def handle_timeout(self, now: float) -> None:
        self._board.handle_timeout(now)
        for timer in self._timers.due(now):
            if isinstance(timer, tuple):
                _, flow_id = timer
                self._proxy.close_flow(flow_id, now, f"was granted nothing in {EARN_WITHIN:g} s")
            else:
                self._connect(now)
        self._settle(now)

    def poll_timeout(self) -> float | None:
        return earliest(self._board.poll_timeout(), self._timers.next_at())

    def _settle(self, now: float) -> None:
        for _, output in self._board.outputs():
            match output:
                case RequestArrived(flow=flow) if self._is_frontend(flow):
                    self._from_frontend(output, now)
                case RequestArrived():
                    self._from_client(output, now)
                case FlowOpened(flow):
                    self._flow_opened(flow, now)
                case FlowClosed(flow, reason):
                    self._flow_closed(flow, reason, now)
                case Located(targets=targets):
                    self._targets = tuple(
                        Target(t.address, t.transport, self._config.frontend_name, self._config.identity)
                        for t in targets
                        if t.transport is Transport.TLS
                    )
                    self._connect(now)
                case NotLocated(reason=reason):
                    self._tell(f"The front end {self._config.frontend.host} is not found: {reason}")
                    self._connect_later(now)
                case Granted(arrived):
                    if arrived.request.method in ("REGISTER", "INVITE"):
                        self._timers.cancel(("stranger", arrived.flow.id))
                    if arrived.request.method == "REGISTER" and arrived.flow.id in self._clients:
                        self._proxy.client_registered(arrived.request, arrived.flow, now)
                case HopFailed():
                    continue
                case _:
                    self.emit(output)

    # --- requests -------------------------------------------------------------------------------------
    def _from_client(self, arrived: RequestArrived, now: float) -> None:
        request, client = arrived.request, self._clients.get(arrived.flow.id)
        if client is None:
            return
        spent = client.allowance, client.site.allowance
        if not all(allowance.requests.take(now) for allowance in spent):
            if all(allowance.refusals.take(now) for allowance in spent):
                self._proxy.refuse(arrived, 503, now, "Too Many Requests", [("Retry-After", "5")])
            else:
                self._proxy.close_flow(arrived.flow.id, now, "too many requests")
        elif len(request.body) > MAX_BODY:
            self._proxy.refuse(arrived, 513, now)
        elif arrived.destination is not None and not arrived.request.routes:
            # With routes to follow the token names an earlier connection of this client, not yet known to be dead.
            self._proxy.refuse(arrived, 403, now, "Not the way to another client")
        elif request.to.tag is None and not self._is_domain(request.sip_uri.host):
            self._proxy.refuse(arrived, 403, now, f"This edge serves {self._config.domain} only")
        elif not self._targets:
            self._proxy.refuse(arrived, 503, now, "The front end is not found", [("Retry-After", "10")])
        else:
            hop = Hop(request.uri, self._to_frontend(), unreachable=503)
            self._proxy.forward(arrived, [hop], now, request=self._vetted(arrived), from_client=True)

    def _from_frontend(self, arrived: RequestArrived, now: float) -> None:
        if arrived.gone:
            self._proxy.refuse(arrived, 430, now)
        elif arrived.destination is None or arrived.destination.id not in self._clients:
            self._proxy.refuse(arrived, 404, now, "No client of this edge is addressed")
        else:
            hop = Hop(arrived.request.uri, Target.over(arrived.destination), client=True, unreachable=430)
            self._proxy.forward(arrived, [hop], now)

    def _vetted(self, arrived: RequestArrived) -> Request:
        """The request without what a client may not assert, and with our Path if it registers."""
        request = arrived.request.without_header(*_TRUSTED_ONLY)
        if request.method == "REGISTER":
            path = self._proxy.own_uri(arrived.flow.id).with_param("ob")
            request = request.with_first("Path", f"<{path}>")
        return request

    def _is_domain(self, host: str) -> bool:
        host = host.lower().rstrip(".")
        domain = self._config.domain.lower()
        return host == domain or host.endswith("." + domain)

    # --- flows ----------------------------------------------------------------------------------------
    def _is_frontend(self, flow: Flow) -> bool:
        return self._config.frontend_name.lower() in {name.lower() for name in flow.peer_names} or (
            flow.id == self._frontend_flow
        )

    def _flow_opened(self, flow: Flow, now: float) -> None:
        if self._is_frontend(flow):
            if flow.id == self._frontend_flow:
                self._frontend, self._retry = flow, FIRST_RETRY
                if self._told:
                    self.emit(Note("info", f"Connected to the front end {flow.remote}"))
                    self._told.clear()
                self._proxy.keep_alive(flow.id, now)
            return
        site = self._site(flow.remote.ip)
        site.connections += 1
        self._clients[flow.id] = _Client(flow, site)
        self._timers.arm(("stranger", flow.id), now + EARN_WITHIN)
        if site.connections > self._config.max_connections_per_ip:
            self._proxy.close_flow(flow.id, now, "too many connections from one address")

    def _flow_closed(self, flow: Flow, reason: str, now: float) -> None:
        self._timers.cancel(("stranger", flow.id))
        if (client := self._clients.pop(flow.id, None)) is not None:
            client.site.connections -= 1
        elif flow.id == self._frontend_flow:
            self._frontend = self._frontend_flow = None
            if self._running:
                self._tell(f"No connection to the front end {flow.remote}: {reason}")
                self._connect_later(now)

    def _site(self, ip: str) -> _Site:
        """What is known of whoever has this address. Sites that have left are remembered while there is room."""
        key = site_of(ip)
        if key not in self._sites and len(self._sites) >= MAX_SITES:
            self._sites = {name: site for name, site in self._sites.items() if site.connections}
        return self._sites.setdefault(key, _Site())

    # --- the front end --------------------------------------------------------------------------------
    def _to_frontend(self) -> Target:
        return Target.over(self._frontend) if self._frontend is not None else self._targets[0]

    def _look_for_frontend(self, now: float) -> None:
        self._locator.locate(self._config.frontend, now)

    def _connect(self, now: float) -> None:
        """Open the connection, trying the next of the front end's addresses each time."""
        if self._frontend_flow is not None or not self._running:
            return
        if not self._targets:
            self._look_for_frontend(now)
            return
        self._frontend_flow = self._proxy.open_flow(self._targets[0], now)
        if self._frontend_flow is None:
            self._connect_later(now)
        elif (flow := self._proxy.flow(self._frontend_flow)) is not None:
            self._flow_opened(flow, now)  # a request has opened it meanwhile

    def _tell(self, trouble: str) -> None:
        """Each trouble once, not at every attempt, until there is a connection."""
        if trouble not in self._told:
            self._told.add(trouble)
            self.emit(Note("warning", f"{trouble}; trying again"))

    def _connect_later(self, now: float) -> None:
        if not self._running:
            return
        if len(self._targets) > 1:
            self._targets = (*self._targets[1:], self._targets[0])
        elif self._retry >= LAST_RETRY:
            self._targets = ()  # perhaps it has moved: ask the DNS again
        self._timers.arm("connect", now + self._retry)
        self._retry = min(LAST_RETRY, 2 * self._retry)
