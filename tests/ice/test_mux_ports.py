"""The order in which a mux opens its ports, and that each of them is closed once."""

from __future__ import annotations

from iceway.core.address import Address, Transport
from iceway.core.machine import CloseListener, CloseUdp, Listen, OpenUdp
from iceway.ice.mux_ports import CLOSED, MuxConfig, MuxFailed, MuxOpened, Ports
from iceway.trace import records

IP, OTHER = "203.0.113.1", "203.0.113.2"
UDP, UDP2, TCP = Address(IP, 3478), Address(OTHER, 3478), Address(IP, 4443)


class Opening:
    """Ports, and what they asked for since the last look."""

    def __init__(self, *udp: Address, tcp: tuple[Address, ...] = (TCP,)) -> None:
        self._said: list[object] = []
        self.ports = Ports("m", MuxConfig(udp, tcp), self._said.append)

    def said(self) -> list[object]:
        said, self._said[:] = list(self._said), []
        return said


def test_listeners_are_asked_for_when_every_socket_is_there_or_refused() -> None:
    opening = Opening(UDP, UDP2)
    opening.ports.start()
    assert opening.said() == [OpenUdp("m/udp.1", UDP), OpenUdp("m/udp.2", UDP2)]
    assert opening.ports.opened("m/udp.2", UDP2).decided
    assert opening.said() == [MuxOpened(Transport.UDP, UDP2)]
    opening.ports.failed("m/udp.1", "address already in use")
    assert opening.said() == [
        records.Note("error", "m cannot be at 203.0.113.1:3478 over UDP: address already in use"),
        MuxFailed(Transport.UDP, UDP, "address already in use"),
        Listen("m/tcp.1", TCP),
    ]
    opening.ports.opened("m/tcp.1", TCP)
    assert opening.ports.open(Transport.UDP) == (UDP2,)
    assert opening.ports.open(Transport.TCP) == (TCP,)


def test_who_asks_where_there_is_none_is_told_so() -> None:
    ports = Opening(UDP).ports
    assert ports.at(Transport.UDP, OTHER).failure == f"the mux has none on {OTHER}"
    assert not ports.at(Transport.UDP, IP).decided


def test_each_is_closed_once_be_it_before_the_start_or_while_it_opens() -> None:
    before = Opening(UDP)
    assert [port.failure for port in before.ports.close()] == [CLOSED] * 2
    assert (len(before.ports), before.said()) == (0, [])

    meanwhile = Opening(UDP, UDP2)
    meanwhile.ports.start()
    meanwhile.ports.opened("m/udp.1", UDP)
    assert [port.wanted for port in meanwhile.ports.close()] == [UDP, TCP]
    assert meanwhile.said()[-1] == CloseUdp(UDP)
    meanwhile.ports.opened("m/udp.2", UDP2)
    assert meanwhile.said() == [CloseUdp(UDP2)]
    assert len(meanwhile.ports) == 0

    late = Opening(UDP)
    late.ports.start()
    late.ports.opened("m/udp.1", UDP)
    late.ports.close()
    late.said()
    late.ports.opened("m/tcp.1", TCP)
    assert late.said() == [CloseListener("m/tcp.1")]
    assert len(late.ports) == 0


def test_a_fixed_port_that_udp_was_given_by_chance_is_not_asked_for_again() -> None:
    out: list[object] = []
    ports = Ports("m", MuxConfig((Address(IP, 0),), (Address(IP, 40000),)), out.append)
    ports.start()
    ports.opened("m/udp.1", Address(IP, 40000))
    assert "UDP" in ports.opened("m/tcp.1", Address(IP, 40000)).failure
    assert len([asked for asked in out if isinstance(asked, Listen)]) == 1
