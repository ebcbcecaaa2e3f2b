"""Hostile input, whole machines: no bytes on any connection raise anything out of a server."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.edge.access import AccessConfig, AccessProxy
from iceway.edge.credentials import KeyRing, TokenKeys
from iceway.edge.mras_service import MrasService, MrasServiceConfig
from iceway.frontend.config import EdgeConfig, FrontEndConfig, ListenConfig
from iceway.frontend.frontend import FrontEnd
from iceway.frontend.store import SqlStore
from iceway.frontend.users import add_user
from iceway.sip.digest import DigestClient
from iceway.wire.mras import MediaRelay
from iceway.wire.sip import MalformedMessage, Request, SipUri, parse_message
from tests.sip.bench import Bench, Peer

TEMPLATE = (
    b"INVITE sip:alice@example.test SIP/2.0\r\n"
    b"Via: SIP/2.0/TLS 192.168.1.2:5061;branch=z9hG4bKx\r\n"
    b"Max-Forwards: 70\r\n"
    b"Route: <sip:edge.example.test:5061;transport=tls;lr>, <sip:fe.example.test;lr>\r\n"
    b"Record-Route: <sip:edge.example.test;lr>\r\n"
    b"From: <sip:alice@example.test>;tag=a\r\n"
    b"To: <sip:alice@example.test>;tag=b\r\n"
    b'Contact: <sip:alice@192.168.1.2>;+sip.instance="<urn:uuid:1>";reg-id=1;expires=600;q=0.5\r\n'
    b"Path: <sip:token@edge.example.test;lr;ob>\r\n"
    b"Supported: path, outbound\r\n"
    b"Proxy-Require: x\r\n"
    b"Max-Breadth: 60\r\n"
    b"Call-ID: c\r\n"
    b"CSeq: 1 INVITE\r\n"
    b"Content-Type: application/msrtc-media-relay-auth+xml\r\n"
    b"Content-Length: 0\r\n\r\n"
)
PIECES = st.sampled_from(
    [b"", b",", b";", b"<", b">", b'"', b"@", b"sip:", b"tel:1", b"*", b"0", b"-1", b"99999999999", b"\r\n",
     b"\r\n ", b"\x00", b"\xff", b"REGISTER", b"SERVICE", b"ACK", b"CANCEL", b"OPTIONS", b"Route:", b"To:",
     b";lr", b"example.test", b"[::1", b"%", b"%zz", b"SIP/2.0 200 OK\r\n", b":", b";tag="]
)  # fmt: skip


def access() -> tuple[Bench, Callable[[], None]]:
    config = AccessConfig(
        public=SipUri.parse("sip:edge.example.test:5061;transport=tls"),
        names=("edge.example.test",),
        domain="example.test",
        listen=(Address("10.0.0.1", 5061),),
        frontend=SipUri.parse("sip:10.0.0.2:5061;transport=tls"),
        frontend_name="fe.example.test",
    )
    machine = AccessProxy(config, Random(1))
    bench = Bench(machine)
    machine.start(0.0)
    bench.settle()
    return bench, lambda: None


def frontend() -> tuple[Bench, Callable[[], None]]:
    store = SqlStore()
    add_user(store, "alice", "secret", "example.test", 0.0)
    config = FrontEndConfig(
        domain="example.test",
        name="fe.example.test",
        listen=(ListenConfig(address="10.0.0.1:5061"),),
        edges=(EdgeConfig(name="edge.example.test", mras="10.0.0.11:5062"),),
    )
    machine = FrontEnd(config, store, Random(1))
    bench = Bench(machine)
    machine.start(0.0)
    bench.settle()
    return bench, store.close


def service() -> tuple[Bench, Callable[[], None]]:
    config = MrasServiceConfig(Address("10.0.0.1", 5062), ("fe.example.test",), (MediaRelay("av"),), "r")
    machine = MrasService(config, KeyRing(TokenKeys.derive(b"k")), Random(1))
    bench = Bench(machine)
    machine.start(0.0)
    bench.settle()
    return bench, lambda: None


@pytest.mark.parametrize("server", [access, frontend, service])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, len(TEMPLATE)), st.integers(0, 12), PIECES), max_size=5))
def test_damaged_messages_raise_nothing(
    server: Callable[[], tuple[Bench, Callable[[], None]]], edits: list[tuple[int, int, bytes]]
) -> None:
    data = TEMPLATE
    for at, cut, piece in edits:
        data = data[:at] + piece + data[at + cut :]
    bench, close = server()
    for names in ((), ("edge.example.test",), ("fe.example.test",)):
        bench.connects("192.0.2.1", names=names).sends(data)
    bench.waits(40)
    close()


@settings(max_examples=60, deadline=None)
@given(edits=st.lists(st.tuples(st.integers(0, len(TEMPLATE)), st.integers(0, 12), PIECES), max_size=4))
def test_damaged_messages_with_the_right_password_raise_nothing(edits: list[tuple[int, int, bytes]]) -> None:
    """Behind the digest, too: whatever parses is signed by its user and sent again."""
    data = TEMPLATE
    for at, cut, piece in edits:
        data = data[:at] + piece + data[at + cut :]
    try:
        request = parse_message(data)
        if not isinstance(request, Request):
            return
        methods = ("INVITE", "REGISTER", "SERVICE")
        requests = [
            parse_message(request.serialize().replace(request.method.encode(), method.encode()))
            for method in methods
        ]
    except MalformedMessage:
        return
    bench, close = frontend()
    peer: Peer = bench.connects("192.0.2.1", names=("edge.example.test",))
    for request in requests:
        assert isinstance(request, Request)
        digest = DigestClient("alice", "secret", Random(1))
        peer.heard.clear()
        peer.sends(request.serialize())
        answer = peer.heard.pop() if peer.heard else None
        if answer is None or isinstance(answer, Request) or answer.status not in (401, 407):
            continue
        again = digest.answer(answer, request)
        if again is not None:
            peer.sends(again.serialize().replace(b"z9hG4bKx", b"z9hG4bKy"))
    bench.waits(40)
    close()
