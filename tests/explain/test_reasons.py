"""A reason for everything: each way in which a server, a candidate or a pair can end, and what is said of it.

Every row is played by the real machines in the virtual world. Whoever adds a way to end adds a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from iceway.core.address import Address, Transport
from iceway.explain.path import verdicts
from iceway.explain.timeline import timeline
from iceway.ice.agent import Agent
from iceway.ice.candidate import Candidate, CandidateType
from iceway.ice.config import AgentConfig, IceServer, Policy, ServerKind
from iceway.lab.grid.meeting import PASSWORD, RELAY_NAME, USER, Meeting, relay_config
from iceway.lab.grid.networks import EDGE, RELAY_IP, RELAY_PORT, WEB_PORT, topology
from iceway.lab.world.tls import Certificate
from iceway.trace import records
from iceway.trace.records import Record
from iceway.turn.auth import Authenticator, TimeLimitedAuthenticator
from iceway.turn.server import TurnServer

HERE = Address(RELAY_IP, RELAY_PORT)
TLS = Address(RELAY_IP, WEB_PORT)
SILENT = Address("198.51.100.99", 3478)
ALICE = AgentConfig(controlling=True)
SERVER_RECORDS = (
    records.ServerAnswered,
    records.ServerRefused,
    records.ServerUnreachable,
    records.ServerSkipped,
)
LIMITED = TimeLimitedAuthenticator("a secret")


def turn(address: Address | None = HERE, transport: Transport = Transport.UDP, **more: object) -> IceServer:
    host, port = str(more.pop("host", "")), address.port if address else 3478
    given = {"username": USER, "password": PASSWORD, **more}
    return IceServer(ServerKind.TURN, host, port, transport, address=address, **given)  # type: ignore[arg-type]


def stun(address: Address, transport: Transport = Transport.UDP) -> IceServer:
    return IceServer(ServerKind.STUN, "", address.port, transport, address=address)


@dataclass
class Case:
    """Alice in a network asks one server; `said` must match the words of some record about it."""

    said: str
    servers: tuple[IceServer, ...]
    network: str = "port-restricted"
    config: AgentConfig = ALICE
    relay: Callable[[Meeting], None] | None = None
    seconds: float = 50.0


def relay_with(authenticator: Authenticator) -> Callable[[Meeting], None]:
    def change(meeting: Meeting) -> None:
        config = relay_config(meeting.world.topology)
        meeting.world.kill(EDGE)
        relay = TurnServer(config, authenticator, meeting.world.rng("another"))  # type: ignore[arg-type]
        meeting.world.run(EDGE, relay, identities={EDGE: Certificate((RELAY_NAME,))})
        meeting.world.call(EDGE, relay.start)

    return change


SERVERS = {
    "answers": Case("in 41 ms", (turn(),)),
    "wrong password": Case("does not accept user name and password|Wrong", (turn(password="wrong"),)),
    "silence": Case(r"no answer to 7 requests in \d+\.\d s", (turn(SILENT),)),
    "UDP blocked": Case(r"no answer to 7 requests in \d+\.\d s", (turn(),), network="no-udp"),
    "TCP refused": Case("connection refused", (turn(Address(RELAY_IP, 3479), Transport.TCP),)),
    "TCP port blocked": Case(
        "refused|timed out|no connection", (turn(HERE, Transport.TCP),), network="web-only"
    ),
    "TLS for another name": Case(
        "certificate is for relay.example.test, not other.example.test",
        (turn(TLS, Transport.TLS, host="other.example.test"),),
    ),
    "a name that does not resolve": Case(
        "its name did not resolve", (turn(None, host="nowhere.example.test"),)
    ),
    "an expired name": Case(
        r"expired \d+ s ago",
        (turn(**dict(zip(("username", "password"), LIMITED.credentials("alice", 1.0), strict=True))),),
        relay=relay_with(LIMITED),
    ),
    "a name that our clock knows to be old": Case("by our clock they expired", (turn(username="1:alice"),)),
    "a name that should be good": Case(
        "good for .* the server's clock is", (turn(username="99999999999:alice"),)
    ),
    "a family that is not here": Case("no interface here speaks IPv6", (turn(Address("2001:db8::2", 3478)),)),
    "asked twice": Case("asked already", (turn(), stun(HERE))),
    "no relays, over TCP": Case(
        "relays are not wanted",
        (turn(HERE, Transport.TCP),),
        config=AgentConfig(True, policy=Policy.NO_RELAY),
    ),
    "no relays, over TLS": Case(
        "relays are not wanted",
        (turn(TLS, Transport.TLS, host=RELAY_NAME),),
        config=AgentConfig(True, policy=Policy.NO_RELAY),
    ),
    "STUN over TCP without candidates over TCP": Case(
        "candidates over TCP, which are not wanted", (stun(HERE, Transport.TCP),)
    ),
    "a lite agent": Case("lite agent asks no servers", (turn(),), config=AgentConfig(True, lite=True)),
}


def words(record: Record) -> str:
    """What a record says of a server, as the timeline tells it."""
    parts = [str(getattr(record, name)) for name in ("detail", "reason") if getattr(record, name, "")]
    if isinstance(record, records.ServerAnswered):
        parts.append(f"in {record.round_trip * 1000:.0f} ms")
    return "; ".join(parts)


@pytest.mark.parametrize("case", SERVERS.values(), ids=SERVERS.keys())
def test_every_server_has_an_outcome_in_words(case: Case) -> None:
    network = topology(case.network, "open")
    meeting = Meeting(network)
    if case.relay is not None:
        case.relay(meeting)
    agent = Agent("alice/asks", case.config, meeting.world.rng("asks"))
    meeting.world.kill("alice")
    meeting.world.run("alice", agent)
    meeting.world.call("alice", lambda now: agent.gather(network.host("alice").ips, case.servers, now))
    meeting.world.advance(case.seconds)
    told = [e.record for e in meeting.world.trace if isinstance(e.record, SERVER_RECORDS)]
    for server in case.servers:
        assert any(record.server == server.label for record in told), f"nothing was said of {server.label}"
    assert any(re.search(case.said, words(record)) for record in told), [words(record) for record in told]
    assert any(re.search(case.said, event.text) for event in timeline(meeting.world.trace))


# --- candidates -----------------------------------------------------------------------------------------
def remote(ip: str, port: int = 5000, component: int = 1, transport: Transport = Transport.UDP) -> Candidate:
    tcp_type = "passive" if transport is Transport.TCP else None
    return Candidate(
        CandidateType.HOST, Address(ip, port), 1, "1", component, transport=transport, tcp_type=tcp_type
    )


CANDIDATES = {
    "no base of its family": (remote("2001:db8::7"), "we have no base of IPv6"),
    "over TCP": (remote("203.0.113.7", transport=Transport.TCP), "candidates over TCP are not used"),
    "of another component": (remote("203.0.113.7", component=2), "there is no component 2"),
    "unspecified": (remote("0.0.0.0"), "nothing can be sent to this address"),
    "without a port": (remote("203.0.113.7", port=0), "nothing can be sent to this address"),
    "loopback": (remote("127.0.0.1"), "its pairs were not needed|nothing can be sent|loopback"),
}


@pytest.mark.parametrize(("candidate", "said"), CANDIDATES.values(), ids=CANDIDATES.keys())
def test_every_candidate_that_is_not_used_has_a_reason(candidate: Candidate, said: str) -> None:
    meeting = Meeting(topology("port-restricted", "open"))
    meeting.meet()
    agent = meeting.ends["alice"].agent
    meeting.world.call("alice", lambda now: agent.add_remote_candidate(candidate, now))
    assert meeting.world.run_until(meeting.selected, 20.0)
    alice = next(one for one in verdicts(meeting.world.trace) if one.node == "alice")
    reasons = [one.reason for one in alice.unused if one.candidate.address == candidate.address]
    assert any(re.search(said, reason) for reason in reasons), alice.unused


def test_doubles_among_our_own_candidates_are_named() -> None:
    """A host that is not translated has the same address from inside and outside."""
    meeting = Meeting(topology("open", "open"))
    meeting.meet()
    assert meeting.world.run_until(meeting.selected, 20.0)
    alice = next(one for one in verdicts(meeting.world.trace) if one.node == "alice")
    assert any(re.match("repeats host", one.reason) for one in alice.unused)


def test_interfaces_that_a_filter_leaves_out_are_named() -> None:
    network = topology("vpn", "open")
    meeting = Meeting(network)
    config = AgentConfig(True, interface_filter=lambda ip: not ip.startswith("10.8."))
    agent = Agent("alice/asks", config, meeting.world.rng("asks"))
    meeting.world.kill("alice")
    meeting.world.run("alice", agent)
    meeting.world.call("alice", lambda now: agent.gather(network.host("alice").ips, (turn(),), now))
    notes = [e.record.text for e in meeting.world.trace if isinstance(e.record, records.Note)]
    assert [text for text in notes if "its filter leaves it out" in text] == [
        "alice/asks does not use the interface 10.8.0.20: its filter leaves it out"
    ]


# --- pairs ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("left", "right"), [("symmetric", "symmetric"), ("port-restricted", "vpn"), ("no-udp", "dual-stack")]
)
def test_every_pair_has_an_outcome(left: str, right: str) -> None:
    meeting = Meeting(topology(left, right))
    meeting.meet()
    assert meeting.world.run_until(meeting.selected, 30.0)
    meeting.world.advance(60.0)  # what may be better than the selected pair is checked on for a while
    for one in verdicts(meeting.world.trace):
        for pair in one.pairs:
            assert pair.outcome in ("succeeded", "failed", "pruned"), pair
            assert pair.outcome == "succeeded" or pair.reason, pair
