"""The way into the network: targets in turn, sockets when needed, ends noticed."""

from __future__ import annotations

import random

from iceway.core.address import Address, Transport
from iceway.core.machine import Answer, Connect, OpenUdp, Resolve, Resolved, UdpFailed, UdpOpened, drain
from iceway.sip.endpoint import Endpoint, Flow, Target
from iceway.sip.locate import Located, Locator
from iceway.sip.uplink import Uplink

SERVER = Address("192.0.2.2", 5060)


class Link:
    """An uplink with ears, its endpoint and locator driven by hand."""

    def __init__(self, *targets: Target, local_ip: str = "0.0.0.0") -> None:
        self.heard: list[tuple[str, object]] = []
        self.endpoint = Endpoint("sip", random.Random(1))
        self.locator = Locator("dns", random.Random(1))
        self.uplink = Uplink(
            self.endpoint,
            self.locator,
            "example.test",
            targets,
            lambda flow, now: self.heard.append(("up", flow)),
            lambda reason, now: self.heard.append(("down", reason)),
            lambda reason, now: self.heard.append(("failed", reason)),
            local_ip,
        )

    def tell(self) -> list[object]:
        """Hand the uplink what endpoint and locator report; gives everything they said."""
        said = [*drain(self.endpoint), *drain(self.locator)]
        for event in said:
            self.uplink.handle(event, 0.0)
        return said


def test_a_udp_socket_is_opened_once_and_used_again() -> None:
    link = Link(Target(SERVER, Transport.UDP), local_ip="192.0.2.1")
    link.uplink.ensure(0)
    link.uplink.ensure(0)  # on its way already
    (opening,) = [o for o in link.tell() if isinstance(o, OpenUdp)]
    assert opening.local == Address("192.0.2.1", 0)
    link.endpoint.handle_input(UdpOpened(opening.key, Address("192.0.2.1", 40000)), 0)
    link.tell()
    (what, flow), *others = link.heard
    assert (what, others) == ("up", [])
    assert isinstance(flow, Flow)
    assert (flow.local, flow.remote) == (Address("192.0.2.1", 40000), SERVER)
    link.uplink.abandon("nobody answers", 0)
    assert link.heard[1:] == [("failed", "udp 192.0.2.2:5060: nobody answers")]
    link.uplink.ensure(0)
    assert not [o for o in link.tell() if isinstance(o, OpenUdp)]
    assert link.heard[-1] == ("up", flow)


def test_a_socket_that_cannot_be_opened_is_a_reason() -> None:
    link = Link(Target(Address("2001:db8::2", 5060), Transport.UDP))
    link.uplink.ensure(0)
    (opening,) = [o for o in link.tell() if isinstance(o, OpenUdp)]
    assert opening.local == Address("::", 0)
    link.endpoint.handle_input(UdpFailed(opening.key, "no such family"), 0)
    link.tell()
    assert link.heard == [("failed", "no UDP socket: no such family")]
    assert link.uplink.is_idle


def test_without_targets_the_domain_is_looked_up() -> None:
    link = Link()
    link.uplink.ensure(0)
    assert not link.uplink.is_idle
    link.locator.handle_timeout(10)
    link.locator.handle_timeout(20)
    link.tell()
    assert link.heard[0][0] == "failed"
    assert link.uplink.is_idle


def test_answers_to_other_questions_are_not_ours() -> None:
    link = Link()
    link.uplink.ensure(0)
    question = link.uplink._question
    link.uplink.handle(Located("another", "x", (Target(SERVER, Transport.TCP),)), 0)
    assert link.uplink._question == question


def test_closed_while_it_still_looks_for_its_server_it_opens_nothing_more() -> None:
    link = Link()
    link.uplink.ensure(0)
    said = link.tell()
    assert any(isinstance(one, Resolve) for one in said)
    link.uplink.close(0)
    link.endpoint.close(0)
    located = False
    while said:
        for question in (one for one in said if isinstance(one, Resolve)):
            data = {"SRV": "sip.example.test", "A": SERVER.ip}.get(question.record_type)
            answers = (Answer(data, 5061),) if data else ()
            link.locator.handle_input(Resolved(question.key, question.name, question.record_type, answers), 0)
        said = link.tell()
        located = located or any(isinstance(one, Located) for one in said)
        assert not any(isinstance(one, Connect | OpenUdp) for one in said)
    assert located
    assert link.heard == []
