"""Which session a check is for, and what a restart leaves of the one before."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from iceway.core.address import Address
from iceway.core.machine import Outbox
from iceway.ice.candidate import Candidate, parse
from iceway.ice.checklist import CandidatePair
from iceway.ice.checklist_set import ChecklistSet
from iceway.ice.config import AgentConfig
from iceway.ice.generations import Generations
from iceway.ice.messages import Credentials, check_request
from iceway.wire import stun

OURS = Credentials("ours", "our-password-of-22-letters")
PEER = Credentials("peer", "peer-password-of-22-letters")
HERE, THERE = Address("10.0.0.1", 50000), Address("192.0.2.1", 40000)


class Outlet(Outbox):
    """An agent that does nothing but remember the answers."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[bytes] = []

    def send_stun(self, base: Address, remote: Address, data: bytes, now: float) -> None:
        self.answers.append(data)

    def pair_selected(self, pair: CandidatePair, now: float) -> None: ...

    def is_mute(self, base: Address, now: float) -> bool:
        return False


def generations(outlet: Outlet | None = None) -> Generations:
    together = ChecklistSet(controlling=True)
    found = Generations("a", AgentConfig(controlling=True), OURS, together, Random(1), outlet or Outlet())
    host = parse("candidate:1 1 udp 2130706431 10.0.0.1 50000 typ host")
    assert isinstance(host, Candidate)
    found.current.add_local(replace(host, base=HERE), 0.0)
    found.current.set_remote(PEER, 0.0)
    return found


def check(of: Credentials, to: Credentials) -> stun.StunMessage:
    data = check_request(bytes(12), of, to, priority=100, controlling=False, tie_breaker=1)
    return stun.parse(data)


def test_a_check_goes_to_the_session_that_it_names() -> None:
    outlet = Outlet()
    assert generations(outlet).handle_request(HERE, THERE, check(PEER, OURS), 0.0) is None
    (answer,) = outlet.answers
    assert stun.parse(answer).message_class is stun.MessageClass.SUCCESS


def test_a_check_for_nobody_here_is_refused() -> None:
    outlet = Outlet()
    stranger = Credentials("nobody", "password-of-nobody-at-all")
    refusal = generations(outlet).handle_request(HERE, THERE, check(PEER, stranger), 0.0)
    assert refusal is not None
    assert refusal.code == 401
    nameless = stun.StunMessage(stun.Method.BINDING, stun.MessageClass.REQUEST, bytes(12))
    refusal = generations(outlet).handle_request(HERE, THERE, nameless, 0.0)
    assert refusal is not None
    assert refusal.code == 400
    assert not outlet.answers


def test_a_peer_that_was_left_for_another_is_not_answered() -> None:
    outlet = Outlet()
    here = generations(outlet)
    here.change_peer((), 0.0, gathering=False)
    here.current.set_remote(Credentials("fork", "password-of-the-other-fork"), 0.0)
    assert here.current.local == OURS
    assert here.handle_request(HERE, THERE, check(PEER, OURS), 0.0) is None
    assert not outlet.answers


def test_a_restart_without_a_path_so_far_leaves_nothing_behind() -> None:
    here = generations()
    old = here.current
    here.restart((), 0.0, gathering=False)
    assert list(here) == [here.current]
    assert here.current is not old
    assert here.current.local.ufrag != OURS.ufrag
    assert here.active(1) is None
    assert here.bases_in_use() == []
