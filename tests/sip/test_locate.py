"""Finding servers: questions to a small zone, and what comes of them."""

from __future__ import annotations

import random

import pytest

from iceway.core.address import Address, Transport
from iceway.core.machine import Answer, Resolved
from iceway.sip.locate import Located, Locator, NotLocated
from iceway.sip.transport import Target
from iceway.trace.records import NameResolved
from iceway.wire.sip import SipUri
from tests.sip.sip_net import Net, Node

TLS, TCP, UDP = Transport.TLS, Transport.TCP, Transport.UDP


def a_net() -> tuple[Net, Node, Locator]:
    net = Net()
    locator = Locator("dns", random.Random(1))
    return net, net.add("client", locator, "192.0.2.1"), locator


def srv(host: str, port: int, priority: int = 0, weight: int = 0) -> Answer:
    return Answer(host, port, priority, weight)


def test_a_client_outside_finds_the_edge() -> None:
    net, node, locator = a_net()
    net.zone = {
        ("_sip._tls.example.test", "SRV"): [srv("edge.example.test.", 443)],
        ("edge.example.test", "A"): [Answer("198.51.100.2")],
        ("edge.example.test", "AAAA"): [Answer("2001:db8::2")],
    }
    question = locator.locate_domain("example.test", net.now)
    net.run(1)
    assert node.seen(Located) == [
        Located(
            question,
            "sip:example.test",
            (
                Target(Address("198.51.100.2", 443), TLS, "edge.example.test"),
                Target(Address("2001:db8::2", 443), TLS, "edge.example.test"),
            ),
        )
    ]
    answered = [record for record in node.seen(NameResolved) if record.answers]
    assert answered[0] == NameResolved("_sip._tls.example.test", "SRV", ("0 0 443 edge.example.test.",))
    assert locator.poll_timeout() is None


def test_the_inside_comes_first_then_tls_tcp_udp() -> None:
    net, node, locator = a_net()
    hosts = {
        "_sip._udp": "u",
        "_sip._tcp": "t",
        "_sip._tls": "e",
        "_sips._tcp": "s",
        "_sipinternaltls._tcp": "i",
    }
    for number, (service, host) in enumerate(hosts.items(), 1):
        net.zone[f"{service}.example.test", "SRV"] = [srv(f"{host}.example.test", 5000 + number)]
        net.zone[f"{host}.example.test", "A"] = [Answer(f"198.51.100.{number}")]
    locator.locate_domain("example.test", net.now)
    net.run(1)
    (found,) = node.seen(Located)
    assert [(t.address.port, t.transport) for t in found.targets] == [
        (5005, TLS),
        (5004, TLS),
        (5003, TLS),
        (5002, TCP),
        (5001, UDP),
    ]


def test_a_server_outside_the_domain_must_prove_the_domain() -> None:
    net, node, locator = a_net()
    net.zone = {
        ("_sips._tcp.example.test", "SRV"): [srv("sip.hoster.test", 5061)],
        ("sip.hoster.test", "A"): [Answer("198.51.100.2")],
    }
    locator.locate_domain("example.test", net.now)
    net.run(1)
    assert node.seen(Located)[0].targets[0].tls_name == "example.test"


def test_without_srv_the_domain_itself_is_tried() -> None:
    net, node, locator = a_net()
    net.zone = {("example.test", "A"): [Answer("198.51.100.9")]}
    locator.locate_domain("example.test", net.now)
    net.run(1)
    at = "198.51.100.9"
    assert node.seen(Located)[0].targets == (
        Target(Address(at, 5061), TLS, "example.test"),
        Target(Address(at, 5060), TCP),
        Target(Address(at, 5060), UDP),
    )


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("sip:192.0.2.9", Target(Address("192.0.2.9", 5060), UDP)),
        ("sip:192.0.2.9:5070;transport=tcp", Target(Address("192.0.2.9", 5070), TCP)),
        ("sips:bob@[2001:db8::9]", Target(Address("2001:db8::9", 5061), TLS, "2001:db8::9")),
        ("sip:host.test:5070", Target(Address("192.0.2.8", 5070), UDP)),
        ("sip:host.test;transport=TLS", Target(Address("192.0.2.8", 5061), TLS, "host.test")),
    ],
)
def test_what_a_uri_says_is_respected(uri: str, target: Target) -> None:
    net, node, locator = a_net()
    net.zone = {("host.test", "A"): [Answer("192.0.2.8")]}
    locator.locate(SipUri.parse(uri), net.now)
    net.run(1)
    assert node.seen(Located)[0].targets == (target,)


def test_nothing_found_is_told_with_the_reason() -> None:
    net, node, locator = a_net()
    locator.locate_domain("nowhere.test", net.now)
    locator.locate(SipUri.parse("sip:host.test;transport=sctp"), net.now)
    net.run(1)
    assert [event.reason for event in node.seen(NotLocated)] == [
        "its transport is not one of ours",
        "nowhere.test has neither SRV records for SIP nor an address",
    ]


def test_a_resolver_that_fails_or_is_silent_does_not_hang_the_question() -> None:
    locator = Locator("dns", random.Random(1), (TLS,))
    question = locator.locate_domain("example.test", 0)
    locator.handle_input(
        Resolved(f"{question}/SRV._sips._tcp.example.test", "_sips._tcp.example.test", "SRV", (), "SERVFAIL"),
        1,
    )
    locator.handle_timeout(10)  # the other SRV look-ups
    locator.handle_timeout(20)  # the domain's addresses
    outputs = []
    while (output := locator.poll_output()) is not None:
        outputs.append(output)
    told = outputs[-1]
    assert isinstance(told, NotLocated)
    assert told.reason.startswith(
        "SRV _sips._tcp.example.test: SERVFAIL; SRV _sip._tls.example.test: no answer"
    )
    assert locator.poll_timeout() is None


def test_bad_answers_are_passed_over() -> None:
    net, node, locator = a_net()
    net.zone = {
        ("_sip._tls.example.test", "SRV"): [srv(".", 0), srv("edge.example.test", 443)],
        ("edge.example.test", "A"): [Answer("not an address"), Answer("198.51.100.2")],
    }
    locator.locate_domain("example.test", net.now)
    net.run(1)
    assert [t.address.ip for t in node.seen(Located)[0].targets] == ["198.51.100.2"]
