"""Two endpoints, Alice's and Bob's, joined by a small network."""

from __future__ import annotations

import random

from iceway.core.address import Address, Transport
from iceway.core.machine import (
    TlsServer,
)
from iceway.sip.endpoint import (
    Endpoint,
    EndpointConfig,
    RequestReceived,
    ResponseReceived,
    Target,
    TransportConfig,
)
from iceway.wire.sip import Headers, Request, make_response
from tests.sip.sip_net import Net, Node

ALICE, BOB = Address("192.0.2.1", 5060), Address("192.0.2.2", 5060)


def a_request(method: str = "OPTIONS", **extra: str) -> Request:
    return Request(
        method,
        "sip:bob@b.test",
        headers=Headers.of(
            ("Max-Forwards", "70"),
            ("From", "<sip:alice@a.test>;tag=a1"),
            ("To", "<sip:bob@b.test>"),
            ("Call-ID", "call-1"),
            ("CSeq", f"1 {method}"),
            *extra.items(),
        ),
    )


class Pair:
    """Alice and Bob, listening on everything; Bob does what `bob_does` says to each request."""

    def __init__(self, transport: Transport = Transport.UDP, **config: float) -> None:
        self.net = Net()
        self.net.certificates = {"bob": ("b.test",), "alice": ("a.test",)}
        limits = EndpointConfig(transport=TransportConfig(**config))  # type: ignore[arg-type]
        self.alice_endpoint = Endpoint("alice", random.Random(1), limits)
        self.bob_endpoint = Endpoint("bob", random.Random(2), limits)
        self.alice = self.net.add("alice", self.alice_endpoint, ALICE.ip)
        self.bob = self.net.add("bob", self.bob_endpoint, BOB.ip)
        for endpoint in (self.alice_endpoint, self.bob_endpoint):
            endpoint.listen(Transport.UDP, Address("0.0.0.0", 5060), 0)
        self.bob_endpoint.listen(Transport.TCP, Address("0.0.0.0", 5060), 0)
        self.bob_endpoint.listen(Transport.TLS, Address("0.0.0.0", 5061), 0, TlsServer("bob"))
        self.net.run(0)
        port = 5061 if transport is Transport.TLS else 5060
        self.target = Target(Address(BOB.ip, port), transport, "b.test", "alice")

    def send(self, request: Request) -> str:
        transaction = self.alice_endpoint.request(request, self.target, self.net.now)
        self.net.settle()
        return transaction

    def bob_answers(self, *statuses: int) -> None:
        """Bob answers every request at once with these responses."""

        def on_event(event: object, now: float) -> None:
            if isinstance(event, RequestReceived):
                for status in statuses:
                    response = make_response(event.request, status, to_tag="b1")
                    self.bob_endpoint.respond(event.transaction, response, now)

        self.bob.on_event = on_event

    def respond(self, status: int) -> None:
        (asked,) = self.bob.seen(RequestReceived)
        assert self.bob_endpoint.respond(
            asked.transaction, make_response(asked.request, status, to_tag="b1"), self.net.now
        )
        self.net.settle()


def statuses(node: Node) -> list[int]:
    return [event.response.status for event in node.seen(ResponseReceived)]
