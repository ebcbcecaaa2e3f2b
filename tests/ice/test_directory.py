"""Where servers are."""

from __future__ import annotations

from iceway.core.address import Address
from iceway.core.machine import Answer, Resolve, Resolved
from iceway.ice.config import IceServer, ServerKind
from iceway.ice.directory import MAX_SPARES, Directory
from iceway.ice.servers import ServerState


class Asker:
    def __init__(self) -> None:
        self.said: list[object] = []
        self.found: list[Address] = []
        self.troubles: list[str] = []

    def emit(self, output: object) -> None:
        self.said.append(output)

    def server_found(self, state: ServerState, address: Address, now: float) -> None:
        self.found.append(address)

    def server_unreachable(self, state: ServerState, detail: str) -> None:
        self.troubles.append(detail)


def looked_up(families: tuple[int, ...] = (4,)) -> tuple[Asker, Directory]:
    asker = Asker()
    directory = Directory("a", asker)
    directory.add(IceServer(ServerKind.STUN, "stun.test"), families, 0.0)
    return asker, directory


def answers(*ips: str) -> tuple[Answer, ...]:
    return tuple(Answer(ip) for ip in ips)


def test_given_addresses_and_names_that_are_addresses_need_no_look_up() -> None:
    asker = Asker()
    directory = Directory("a", asker)
    directory.add(IceServer(ServerKind.STUN, address=Address("192.0.2.1", 3478)), (4,), 0.0)
    directory.add(IceServer(ServerKind.STUN, "192.0.2.2", 5000), (4,), 0.0)
    assert asker.found == [Address("192.0.2.1", 3478), Address("192.0.2.2", 5000)]
    assert not directory.busy
    assert asker.said == []


def test_each_family_is_looked_up_and_the_first_address_of_each_is_asked() -> None:
    asker, directory = looked_up((4, 6))
    assert [r.record_type for r in asker.said if isinstance(r, Resolve)] == ["A", "AAAA"]
    directory.resolved(Resolved("a/resolve.0.A", "stun.test", "A", answers("192.0.2.1", "192.0.2.2")), 0.0)
    assert directory.busy
    directory.resolved(Resolved("a/resolve.0.AAAA", "stun.test", "AAAA", answers("2001:db8::1")), 0.0)
    assert not directory.busy
    assert [address.ip for address in asker.found] == ["192.0.2.1", "2001:db8::1"]


def test_spares_are_tried_one_by_one_and_there_is_an_end_to_them() -> None:
    asker, directory = looked_up()
    ips = [f"192.0.2.{n}" for n in range(1, 10)]
    directory.resolved(Resolved("a/resolve.0.A", "stun.test", "A", answers(*ips)), 0.0)
    for _ in range(9):
        directory.try_spare(directory.servers[0], 0.0)
    assert [address.ip for address in asker.found] == ips[:MAX_SPARES]


def test_after_the_end_nothing_is_tried_and_late_answers_are_ignored() -> None:
    asker, directory = looked_up((4, 6))
    directory.resolved(Resolved("a/resolve.0.A", "stun.test", "A", answers("192.0.2.1", "192.0.2.2")), 0.0)
    directory.stop()
    directory.try_spare(directory.servers[0], 0.0)
    directory.resolved(Resolved("a/resolve.0.AAAA", "stun.test", "AAAA", answers("2001:db8::1")), 0.0)
    assert len(asker.found) == 1


def test_no_address_at_all_is_told_once_with_the_cause() -> None:
    asker, directory = looked_up((4, 6))
    directory.resolved(Resolved("a/resolve.0.A", "stun.test", "A"), 0.0)
    assert asker.troubles == []
    directory.resolved(Resolved("a/resolve.0.AAAA", "stun.test", "AAAA", error="SERVFAIL"), 0.0)
    assert asker.troubles == ["its name did not resolve: SERVFAIL"]
