"""One agent against a puppet that says exactly what a test wants: single steps of RFC 8445 §7 and §8."""

from __future__ import annotations

import itertools

import pytest

from iceway.core.address import Address
from iceway.core.machine import DatagramReceived, Input, OpenUdp, Outbox, SendDatagram, UdpOpened
from iceway.ice.candidate import parse
from iceway.ice.config import Policy
from iceway.ice.events import Failed, IceState, PairValid, Selected
from iceway.ice.messages import Credentials, check_request, check_success
from iceway.trace import records
from iceway.wire import stun
from iceway.wire.stun import MessageClass, StunMessage
from tests.ice.harness import Network, Peer, turn

ALICE = Address("10.0.0.1", 50000)
PUPPET = Credentials("puppet", "password-of-the-puppet-22")


class Puppet(Outbox):
    """Speaks STUN on any number of ports. `answers`: whether it answers checks by itself; `slow`: after how long."""

    def __init__(self, network: Network, ip: str) -> None:
        super().__init__()
        self.network = network
        self.ip = ip
        self.answers = True
        self.slow: dict[Address, float] = {}
        self.controlling = False
        self.sockets: list[Address] = []
        self.heard: list[tuple[float, Address, StunMessage]] = []
        self.alice: Peer
        self._ids = 0
        self.host = network.add("puppet", self, {ip: None})

    def opens(self, port: int) -> Address:
        self.emit(OpenUdp(str(port), Address(self.ip, port)))
        self.network.drain(self.host)
        return Address(self.ip, port)

    def sends(self, data: bytes, source: Address, to: Address = ALICE) -> None:
        self.emit(SendDatagram(source, to, data))
        self.network.drain(self.host)

    def checks(
        self,
        source: Address,
        *,
        nominate: bool = False,
        priority: int = 1862270975,
        to: Address = ALICE,
        **changed: object,
    ) -> bytes:
        """Send a check; returns its transaction id."""
        self._ids += 1
        id = self._ids.to_bytes(12, "big")
        given = {
            "local": PUPPET,
            "remote": self.of_alice,
            "tie_breaker": 0 if not self.controlling else 2**64 - 1,
        }
        given |= {"controlling": self.controlling} | changed
        self.sends(check_request(id, priority=priority, nominate=nominate, **given), source, to)
        return id

    def answers_to(self, request: StunMessage, source: Address, mapped: Address = ALICE) -> None:
        self.sends(check_success(request, PUPPET, mapped), source)

    def refuses(self, request: StunMessage, source: Address, code: int, *, signed: bool = True) -> None:
        key = stun.short_term_key(PUPPET.pwd) if signed else None
        self.sends(stun.serialize(stun.error_response(request, code, "No"), key), source)

    @property
    def of_alice(self) -> Credentials:
        return Credentials(self.alice.agent.local_ufrag, self.alice.agent.local_pwd)

    def requests(self, socket: Address | None = None) -> list[tuple[float, StunMessage]]:
        return [
            (at, message)
            for at, local, message in self.heard
            if message.message_class is MessageClass.REQUEST and socket in (None, local)
        ]

    def answered(self, id: bytes) -> StunMessage | None:
        """What Alice said to our check."""
        return next((m for _, _, m in self.heard if m.transaction_id == id and m.message_class > 1), None)

    # --- machine
    def handle_input(self, event: Input, now: float) -> None:
        match event:
            case UdpOpened(local=local):
                self.sockets.append(local)
            case DatagramReceived(local=local, data=data) if stun.is_stun(data):
                message = stun.parse(data)
                self.heard.append((now, local, message))
                if self.answers and message.message_class is MessageClass.REQUEST:
                    when = self.network.now + self.slow.get(local, 0.0)
                    self.network.at(when, lambda: self.answers_to(message, local))

    def handle_timeout(self, now: float) -> None: ...

    def poll_timeout(self) -> float | None:
        return None


def scene(
    *, controlling: bool, ports: tuple[int, ...] = (7000,), meet: bool = True, renomination: bool = False
) -> tuple[Network, Peer, Puppet]:
    """Alice, gathered; and a puppet whose ports she knows as host candidates, best first."""
    network = Network()
    alice = network.agent("alice", {"10.0.0.1": None}, controlling=controlling)
    puppet = Puppet(network, "10.0.0.2")
    puppet.alice = alice
    puppet.controlling = not controlling
    alice.gather()
    for port in ports:
        puppet.opens(port)
    network.run(0.1)
    if meet:
        introduce(alice, ports, renomination=renomination)
    return network, alice, puppet


def introduce(alice: Peer, ports: tuple[int, ...], *, renomination: bool = False) -> None:
    alice.do(lambda agent, now: agent.set_remote(PUPPET.ufrag, PUPPET.pwd, now, renomination=renomination))
    for number, port in enumerate(ports):
        line = f"{number + 1} 1 udp {2130706431 - 1000 * number} 10.0.0.2 {port} typ host"
        alice.do(lambda agent, now, line=line: agent.add_remote_candidate(parse(line), now))
    alice.do(lambda agent, now: agent.end_of_remote_candidates(now))


def reasons(alice: Peer) -> list[str]:
    return [record.reason for record in alice.records(records.PairFailed)]


PORT = Address("10.0.0.2", 7000)
OTHER = Address("10.0.0.2", 7001)


# --- pace and patience ------------------------------------------------------------------------------------
def test_new_checks_leave_fifty_milliseconds_apart_best_first() -> None:
    # RFC 8445 §14.2, §6.1.4.2.
    network, _, puppet = scene(controlling=True, ports=(7000, 7001, 7002))
    puppet.answers = False
    network.run(0.3)
    times = [at for at, _ in puppet.requests()]
    assert [round(after - before, 3) for before, after in itertools.pairwise(times)] == [0.05, 0.05]
    assert [local.port for _, local, _ in puppet.heard] == [7000, 7001, 7002]


def test_a_check_is_sent_seven_times_and_given_up_after_39_5_seconds() -> None:
    # RFC 8489 §6.2.1.
    network, alice, puppet = scene(controlling=True)
    puppet.answers = False
    network.run(60)
    times = [at for at, _ in puppet.requests()]
    assert [round(at - times[0], 2) for at in times] == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert len({message.transaction_id for _, message in puppet.requests()}) == 1
    assert reasons(alice) == ["no answer to 7 checks in 39.5 s"]
    assert [r.attempt for r in alice.records(records.PairChecked)] == [1, 2, 3, 4, 5, 6, 7]


def test_a_check_from_the_peer_is_answered_with_one_at_once() -> None:
    # RFC 8445 §7.3.1.4: holes are punched by checking back immediately.
    network, alice, puppet = scene(controlling=True)
    puppet.answers = False
    network.run(0.2)
    before = len(puppet.requests())
    puppet.checks(PORT)
    network.run(0.1)
    assert len(puppet.requests()) == before + 1
    assert alice.records(records.PairChecked)[-1].cause == "triggered"


def test_a_late_answer_to_an_abandoned_check_still_counts() -> None:
    network, alice, puppet = scene(controlling=True)
    puppet.answers = False
    network.run(0.2)
    ((_, first),) = puppet.requests()
    puppet.checks(PORT)
    network.run(0.2)
    puppet.answers_to(first, PORT)
    network.run(0.1)
    assert alice.events(PairValid)


# --- answers ----------------------------------------------------------------------------------------------
def test_an_answer_from_elsewhere_does_not_count() -> None:
    # RFC 8445 §7.2.5.2.1.
    network, alice, puppet = scene(controlling=True)
    puppet.answers = False
    puppet.opens(7001)
    network.run(0.2)
    puppet.answers_to(puppet.requests()[0][1], OTHER)
    network.run(0.1)
    assert reasons(alice) == ["answered from 10.0.0.2:7001 instead of 10.0.0.2:7000 (symmetric)"]
    assert not alice.events(PairValid)


def test_a_refusal_fails_the_pair_with_its_words() -> None:
    network, alice, puppet = scene(controlling=True)
    puppet.answers = False
    network.run(0.2)
    puppet.refuses(puppet.requests()[0][1], PORT, 400)
    network.run(0.1)
    assert reasons(alice) == ["the peer refused with 400 No"]


def test_an_unsigned_refusal_proves_nothing_but_explains_the_silence() -> None:
    # RFC 8489 §9.1.4. The usual cause: the two sides have different passwords in mind.
    network, alice, puppet = scene(controlling=True)
    puppet.answers = False
    network.run(0.2)
    puppet.refuses(puppet.requests()[0][1], PORT, 401, signed=False)
    network.run(1)
    assert len(puppet.requests()) > 1, "she goes on"
    network.run(60)
    assert reasons(alice) == ["no answer to 7 checks in 39.5 s; an answer that proves nothing said 401 No"]
    assert "401" in alice.events(Failed)[0].reason


def test_an_answer_without_address_is_useless() -> None:
    network, alice, puppet = scene(controlling=True)
    puppet.answers = False
    network.run(0.2)
    answer = stun.success_response(puppet.requests()[0][1])
    puppet.sends(stun.serialize(answer, stun.short_term_key(PUPPET.pwd)), PORT)
    network.run(0.1)
    assert reasons(alice) == ["the peer's answer names no mapped address"]


def test_an_answer_that_nobody_waits_for_is_ignored() -> None:
    network, alice, puppet = scene(controlling=True)
    stray = StunMessage(1, MessageClass.SUCCESS, bytes(12), (stun.XOR_MAPPED_ADDRESS(ALICE),))
    puppet.sends(stun.serialize(stray, stun.short_term_key(PUPPET.pwd)), PORT)
    assert network.run(2, until=lambda: alice.agent.state is IceState.COMPLETED)


def test_an_address_that_only_the_peer_sees_becomes_a_local_candidate() -> None:
    # RFC 8445 §7.2.5.3.1.
    network, alice, puppet = scene(controlling=True)
    puppet.answers = False
    network.run(0.2)
    outside = Address("198.51.100.77", 4444)
    puppet.answers_to(puppet.requests()[0][1], PORT, mapped=outside)
    network.run(0.1)
    path = alice.agent.active_path()
    assert (path.local.type, path.local.address, path.local.base) == ("prflx", outside, ALICE)
    assert path.local not in alice.agent.local_candidates, "nobody needs to be told"


# --- checks from the peer ---------------------------------------------------------------------------------
def test_authentic_checks_are_answered_and_others_refused() -> None:
    network, alice, puppet = scene(controlling=True)
    good = puppet.checks(PORT)
    forged = puppet.checks(PORT, remote=Credentials(alice.agent.local_ufrag, "guessed"))
    stranger = puppet.checks(PORT, remote=Credentials("nobody", "x"))
    nameless = StunMessage(1, MessageClass.REQUEST, b"n" * 12)
    puppet.sends(stun.serialize(nameless), PORT)
    network.run(0.1)
    assert puppet.answered(good).get(stun.XOR_MAPPED_ADDRESS) == PORT
    assert puppet.answered(forged).get(stun.ERROR_CODE).code == 401
    assert puppet.answered(stranger).get(stun.ERROR_CODE).code == 401
    assert puppet.answered(b"n" * 12).get(stun.ERROR_CODE).code == 400


def test_another_fork_of_the_call_gets_no_answer() -> None:
    network, _, puppet = scene(controlling=True)
    id = puppet.checks(PORT, local=Credentials("fork", "whatever"))
    network.run(0.2)
    assert puppet.answered(id) is None


def test_a_peer_from_an_unknown_address_is_learned_and_checked() -> None:
    network, alice, puppet = scene(controlling=True)
    puppet.answers = False
    puppet.opens(9999)
    network.run(0)
    puppet.checks(Address("10.0.0.2", 9999), priority=1862200000)
    network.run(0.1)
    learned = [r.candidate for r in alice.records(records.CandidateReceived) if r.candidate.type == "prflx"]
    assert [(c.address.port, c.priority) for c in learned] == [(9999, 1862200000)]
    assert any(local.port == 9999 for _, local, m in puppet.heard if m.message_class is MessageClass.REQUEST)


def test_a_learned_address_that_is_announced_later_is_no_longer_learned() -> None:
    network, alice, puppet = scene(controlling=True, ports=(), meet=False)
    puppet.opens(7000)
    alice.do(lambda agent, now: agent.set_remote(PUPPET.ufrag, PUPPET.pwd, now))
    network.run(0)
    puppet.checks(PORT)
    network.run(0.1)
    assert alice.agent.active_path().remote.type == "prflx"
    alice.do(
        lambda agent, now: agent.add_remote_candidate(parse("1 1 udp 2130706431 10.0.0.2 7000 typ host"), now)
    )
    assert alice.agent.active_path().remote.type == "host"
    assert len(alice.records(records.PairFormed)) == 1


def test_early_checks_are_kept_however_often_they_are_repeated() -> None:
    network, alice, puppet = scene(controlling=True, meet=False)
    for _ in range(100):
        id = puppet.checks(PORT)
        network.run(1)
        assert puppet.answered(id) is not None
    assert not puppet.requests()
    introduce(alice, (7000,))
    assert network.run(1, until=lambda: alice.agent.state is IceState.COMPLETED)


def test_role_conflict_answered_with_487_makes_us_switch_and_go_on() -> None:
    # RFC 8445 §7.2.5.1.
    network, alice, puppet = scene(controlling=True)
    puppet.answers = False
    network.run(0.2)
    puppet.refuses(puppet.requests()[0][1], PORT, 487)
    puppet.answers = True
    network.run(0.2)
    assert alice.agent.role == "controlled"
    assert alice.records(records.RoleConflict) == [records.RoleConflict("alice/ice", now_controlling=False)]
    assert stun.ICE_CONTROLLED in [key for key, _ in puppet.requests()[-1][1].attributes]
    assert alice.events(PairValid)


# --- nomination -------------------------------------------------------------------------------------------
def test_the_controlling_agent_nominates_after_the_check_not_with_it() -> None:
    # RFC 8445 §8.1.1: regular nomination.
    network, alice, puppet = scene(controlling=True)
    network.run(0.3)
    flags = [message.get(stun.USE_CANDIDATE) is not None for _, message in puppet.requests(PORT)]
    assert flags == [False, True]
    assert alice.events(Selected)


def test_the_controlled_agent_follows_the_last_nomination() -> None:
    network, alice, puppet = scene(controlling=False, ports=(7000, 7001))
    network.run(0.3)
    for socket in (PORT, OTHER):
        puppet.checks(socket)
    network.run(0.1)
    puppet.checks(PORT, nominate=True)
    network.run(0.1)
    puppet.checks(OTHER, nominate=True)
    network.run(0.1)
    assert [event.path.remote.address for event in alice.events(Selected)] == [PORT, OTHER]


def test_numbered_nominations_are_followed_by_number_whatever_else_they_say() -> None:
    # As libwebrtc sends them: NOMINATION without USE-CANDIDATE.
    network, alice, puppet = scene(controlling=False, ports=(7000, 7001), renomination=True)
    network.run(0.3)
    for socket, number in ((OTHER, 2), (PORT, 1), (PORT, 3)):
        puppet.checks(socket, nomination=number)
        network.run(0.1)
    assert [event.path.remote.address for event in alice.events(Selected)] == [OTHER, PORT]


def test_a_path_that_turned_slow_is_left_for_a_quicker_one() -> None:
    network, alice, puppet = scene(controlling=True, ports=(7000, 7001), renomination=True)
    assert network.run(2, until=lambda: bool(alice.events(Selected)))
    puppet.slow[PORT] = 0.8
    assert network.run(90, until=lambda: len(alice.events(Selected)) == 2)
    assert alice.agent.selected.remote.address == OTHER
    puppet.slow.clear()
    network.run(300)
    assert len(alice.events(Selected)) == 2  # both are good now, and of one kind


def test_a_peer_that_nominates_with_every_check_is_followed_to_its_best_pair() -> None:
    # RFC 5245 §8.1.1.2, as aioice does it.
    network, alice, puppet = scene(controlling=False, ports=(7000, 7001))
    network.run(0.3)
    puppet.checks(OTHER, nominate=True)
    network.run(0.1)
    puppet.checks(PORT, nominate=True)
    network.run(0.1)
    puppet.checks(OTHER, nominate=True)
    network.run(0.1)
    assert alice.agent.selected.remote.address == PORT


def test_a_nominated_pair_must_work_in_our_direction_too() -> None:
    # RFC 8445 §7.3.1.5.
    network, alice, puppet = scene(controlling=False)
    puppet.answers = False
    puppet.checks(PORT)
    puppet.checks(PORT, nominate=True)
    network.run(0.2)
    assert alice.records(records.PairNominated)
    assert not alice.events(Selected)
    puppet.answers = True
    network.run(1)
    story = [type(event) for event in alice.host.events if isinstance(event, PairValid | Selected)]
    assert story == [PairValid, Selected]  # in this order even when one check proves both


def test_a_nomination_without_answer_is_given_up_for_the_next_pair() -> None:
    network, alice, _ = scene(controlling=True, ports=(7000, 7001))
    network.drop = lambda source, target, data: target == PORT and nominates(data)
    began = network.now
    assert network.run(20, until=lambda: bool(alice.events(Selected)))
    assert alice.agent.selected.remote.address == OTHER
    assert network.now - began == pytest.approx(9.6, abs=0.2)
    assert reasons(alice) == ["no answer to 5 requests in 9.5 s that nominated it"]


def test_a_late_answer_to_a_nomination_that_was_given_up_repeats_the_one_that_holds() -> None:
    # The puppet heard the first one after all; without a word it would stay on that pair.
    network, alice, puppet = scene(controlling=True, ports=(7000, 7001))
    network.drop = lambda source, target, data: source == PORT and len(puppet.requests(PORT)) > 1
    assert network.run(20, until=lambda: bool(alice.events(Selected)))
    assert alice.agent.selected.remote.address == OTHER
    network.drop = lambda source, target, data: False
    seen = len(puppet.requests(OTHER))
    puppet.answers_to(puppet.requests(PORT)[-1][1], PORT)
    network.run(0.5)
    assert puppet.requests(OTHER)[seen][1].get(stun.USE_CANDIDATE)
    assert alice.agent.selected.remote.address == OTHER


def test_a_late_answer_to_an_earlier_check_does_not_end_a_nomination() -> None:
    network, alice, puppet = scene(controlling=True)
    puppet.answers = False
    network.run(0.2)
    puppet.checks(PORT)
    network.run(0.1)
    (_, ordinary), (_, triggered) = puppet.requests()
    network.drop = lambda source, target, data: nominates(data)
    puppet.answers_to(triggered, PORT)
    network.run(0.1)
    assert alice.records(records.PairNominated)
    network.drop = lambda source, target, data: False
    puppet.answers_to(ordinary, PORT)
    puppet.answers = True
    network.run(1)
    assert alice.events(Selected)


def test_after_a_nomination_without_answer_the_pair_is_next_that_the_peer_still_asks_about() -> None:
    network, alice, puppet = scene(controlling=True, ports=(7000, 7001, 7002))
    network.drop = lambda source, target, data: target == PORT and nominates(data)
    network.run(5)
    third = Address("10.0.0.2", 7002)
    puppet.checks(third)
    assert network.run(20, until=lambda: bool(alice.events(Selected)))
    assert alice.agent.selected.remote.address == third


def test_a_role_conflict_on_another_pair_does_not_restart_checks_after_selection() -> None:
    network, alice, puppet = scene(controlling=True, ports=(7000, 7001))
    network.drop = lambda source, target, data: source == OTHER or nominates(data)
    network.run(0.2)
    network.drop = lambda source, target, data: source == OTHER
    assert network.run(0.45, until=lambda: bool(alice.events(Selected)))
    network.drop = lambda source, target, data: False
    ((_, request),) = puppet.requests(OTHER)
    puppet.refuses(request, OTHER, 487)
    network.run(2)
    assert len(puppet.requests(OTHER)) == 1


def nominates(data: bytes) -> bool:
    return stun.is_stun(data) and stun.parse(data).get(stun.USE_CANDIDATE) is not None


# --- a valid pair nobody nominates ------------------------------------------------------------------------
def test_valid_pairs_are_kept_awake_while_the_peer_makes_up_its_mind() -> None:
    # RFC 8445 §11. The pair in use is asked for consent, the other one gets indications.
    network, alice, puppet = scene(controlling=False, ports=(7000, 7001))
    network.run(100)
    indications = [local for _, local, m in puppet.heard if m.message_class is MessageClass.INDICATION]
    assert len(indications) == 6
    assert set(indications) == {OTHER}
    assert 16 <= len(puppet.requests(PORT)) - 1 <= 25
    assert alice.agent.state is IceState.CONNECTED


def test_a_pair_in_use_that_falls_silent_before_nomination_gives_way_to_the_next() -> None:
    network, alice, _ = scene(controlling=False, ports=(7000, 7001))
    network.run(1)
    assert alice.agent.active_path().remote.address == PORT
    network.drop = lambda source, target, data: target == PORT
    network.run(35)
    assert alice.agent.active_path().remote.address == OTHER
    assert not alice.events(Failed)
    assert alice.records(records.ConsentLost)


# --- bounds -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("meet", [True, False])
def test_a_check_that_there_is_no_room_for_is_not_answered(meet: bool) -> None:
    # Otherwise the peer would count on a path that we know nothing of.
    network, _, puppet = scene(controlling=True, meet=meet)
    puppet.answers = False
    answered = []
    for number in range(60):
        socket = puppet.opens(8000 + number)
        network.run(0)
        id = puppet.checks(socket)
        network.run(0.05)
        answered.append(puppet.answered(id) is not None)
    assert answered == [True] * 32 + [False] * 28


# --- what a session says of its bases -----------------------------------------------------------------------
def relayed(network: Network, alice: Peer) -> list[Address]:
    return [candidate.address for candidate in alice.agent.local_candidates if candidate.type == "relay"]


def scene_with_relay() -> tuple[Network, Peer, Puppet]:
    """Alice is controlled and has a relay; the puppet controls."""
    network, alice, puppet = scene(controlling=False)
    network.edge(allow_peers=("10.0.0.0/8",))
    alice.do(lambda agent, now: agent.add_servers((turn(),), now))
    network.run(0.3)
    assert relayed(network, alice)
    return network, alice, puppet


def test_relays_stay_for_as_long_as_the_peer_goes_on_nominating() -> None:
    network, alice, puppet = scene_with_relay()
    for _ in range(6):
        puppet.checks(PORT, nominate=True)
        network.run(8)
        assert alice.agent.state is IceState.COMPLETED
        assert relayed(network, alice)
    network.run(4)
    assert not relayed(network, alice)


def test_a_relay_stays_while_the_pair_that_the_peer_wants_is_not_yet_proved() -> None:
    network, alice, puppet = scene_with_relay()
    (address,) = relayed(network, alice)
    puppet.checks(PORT)
    puppet.checks(PORT, nominate=True)
    network.run(0.2)
    puppet.answers = False
    puppet.checks(PORT, to=address)
    puppet.checks(PORT, nominate=True, to=address)
    network.run(25)
    assert relayed(network, alice) == [address]


def test_a_relay_that_refuses_an_ip_late_does_not_end_a_pair_that_works() -> None:
    network, alice, _ = scene(controlling=True)
    network.run(1)
    alice.do(lambda agent, now: agent.peer_refused(ALICE, "10.0.0.2", "no more", now))
    network.run(10)
    assert alice.agent.state is IceState.COMPLETED
    assert alice.says(b"still here")


def test_what_the_relay_refused_is_not_tried_again_when_the_call_is_answered() -> None:
    network, alice, puppet = scene(controlling=True)
    puppet.answers = False
    network.run(0.2)
    alice.do(lambda agent, now: agent.peer_refused(ALICE, "10.0.0.2", "never", now))
    assert reasons(alice) == ["never"]
    alice.do(lambda agent, now: agent.answered(now))
    network.run(5)
    assert len(puppet.requests()) == 1


def test_success_thaws_pairs_of_the_same_kind_before_worse_ones_are_checked() -> None:
    # RFC 8445 §7.2.5.3.3.
    network, alice, puppet = scene(controlling=False, ports=())
    for port in (7000, 7001, 7002):
        puppet.opens(port)
    network.run(0)
    for port, foundation, rank in ((7000, "a", 30), (7001, "a", 20), (7002, "b", 10)):
        line = f"{foundation} 1 udp {rank} 10.0.0.2 {port} typ host"
        alice.do(lambda agent, now, line=line: agent.add_remote_candidate(parse(line), now))
    network.run(0.3)
    assert [local.port for _, local, _ in puppet.heard][:3] == [7000, 7001, 7002]


def test_under_the_relay_policy_a_direct_check_gets_no_answer() -> None:
    network = Network()
    alice = network.agent("alice", {"10.0.0.1": None}, controlling=True, policy=Policy.RELAY)
    puppet = Puppet(network, "10.0.0.2")
    puppet.alice = alice
    alice.gather()
    puppet.opens(7000)
    network.run(0.1)
    assert alice.sockets == [ALICE]
    puppet.checks(PORT)
    network.run(0.1)
    assert puppet.heard == []
