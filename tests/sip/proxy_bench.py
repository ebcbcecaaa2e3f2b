"""A proxy on a bench, and an owner who sends by user name."""

from __future__ import annotations

from random import Random

from iceway.core.address import Address, Transport
from iceway.core.machine import Connect
from iceway.sip.endpoint import Target
from iceway.sip.proxy import Proxy, ProxyConfig
from iceway.sip.proxy_events import Hop, HopFailed, RequestArrived
from iceway.wire.sip import SipUri
from tests.sip.bench import Bench, Peer

OURS = SipUri.parse("sip:proxy.example.test:5061;transport=tls")


class Network:
    """A proxy whose owner sends by user name: to somebody's connection, or to an address."""

    def __init__(self, *, timer_c: float = 185.0) -> None:
        self.hops: dict[str, list[Hop]] = {}
        self.failed: list[HopFailed] = []
        self.arrived: list[RequestArrived] = []
        self.clients: set[str] = set()
        self.refused = "connection refused"
        config = ProxyConfig(OURS, frozenset({"proxy.example.test"}), timer_c=timer_c)
        self.proxy = Proxy("p", Random(1), config)
        self.bench = Bench(self.proxy, self._answer)
        self.bench.on_event = self._event
        self.proxy.listen(Transport.TLS, Address("10.0.0.1", 5061), 0.0)
        self.proxy.listen(Transport.UDP, Address("10.0.0.1", 5060), 0.0)
        self.bench.settle()
        self._port = 40000

    def _answer(self, _: Connect) -> str:
        return self.refused

    def joins(self, name: str, *, client: bool = True) -> Peer:
        self._port += 1
        peer = self.bench.connects("192.0.2.10", self._port)
        assert peer.stream is not None
        self.hops.setdefault(name, []).append(self.hop(peer, name, client=client))
        if client:
            self.clients.add(peer.stream)
        return peer

    def hop(self, peer: Peer, name: str, *, client: bool = True, fallback: Hop | None = None) -> Hop:
        target = Target(peer.remote, Transport.TLS, flow=peer.stream)
        uri = f"sip:{name}@{peer.remote}"
        return Hop(uri, target, client=client, fallback=fallback, label=name)

    def _event(self, event: object) -> None:
        if isinstance(event, HopFailed):
            self.failed.append(event)
        if not isinstance(event, RequestArrived):
            return
        self.arrived.append(event)
        now, request = self.bench.now, event.request
        from_client = event.flow.id in self.clients
        if event.gone:
            self.proxy.refuse(event, 430, now)
        elif event.destination is not None:
            hop = Hop(request.uri, Target.over(event.destination), client=True)
            self.proxy.forward(event, [hop], now, from_client=from_client)
        else:
            hops = self.hops.get(request.sip_uri.username, [])
            self.proxy.forward(event, hops, now, from_client=from_client)


def invite(
    to: str = "bob", *more: str, method: str = "INVITE", branch: str = "z9hG4bKa", cseq: int = 1
) -> list[str]:
    return [
        f"{method} sip:{to}@example.test SIP/2.0",
        f"Via: SIP/2.0/TLS 192.0.2.10:5061;branch={branch}",
        "From: <sip:alice@example.test>;tag=a",
        f"To: <sip:{to}@example.test>",
        "Call-ID: call-1",
        f"CSeq: {cseq} {method}",
        "Contact: <sip:alice@192.0.2.10:5061;transport=tls>",
        *more,
    ]
