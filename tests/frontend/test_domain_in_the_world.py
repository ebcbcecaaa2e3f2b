"""Front end, edge and user agents in the virtual world: the whole signalling way, and the relay it leads to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from iceway.core.address import Address, Transport
from iceway.edge.config import AccessSection, CredentialsSection, RelaySection
from iceway.edge.config import EdgeConfig as EdgeToml
from iceway.edge.credentials import KeyRing, TokenKeys
from iceway.edge.edge import Edge
from iceway.frontend.config import EdgeConfig, FrontEndConfig
from iceway.frontend.frontend import FrontEnd
from iceway.frontend.store import SqlStore
from iceway.frontend.users import add_user
from iceway.lab import topologies
from iceway.lab.world.tls import Certificate
from iceway.lab.world.world import World
from iceway.sip.useragent import (
    Answered,
    Confirmed,
    Ended,
    Incoming,
    Provisional,
    RegistrationFailed,
    RegistrationSucceeded,
    RequestAnswered,
    UserAgent,
    UserAgentConfig,
)
from iceway.trace.records import CredentialsMinted, RelayRefused
from iceway.turn.client import TurnClient
from iceway.turn.events import Allocated, AllocationFailed
from iceway.wire import mras
from iceway.wire.mras import CredentialsRequest, Location, MrasRequest

DOMAIN = topologies.DOMAIN
POOL = TokenKeys.derive(b"the key of the pool")


@dataclass
class Person:
    """A user agent in the world, and what it has told."""

    world: World
    agent: UserAgent
    name: str
    events: list[object] = field(default_factory=list)

    def does(self, command: str, *args: object, **named: object) -> object:
        return self.world.call(self.name, lambda now: getattr(self.agent, command)(*args, now=now, **named))

    def hears(self, kind: type, timeout: float = 20.0) -> object:
        found: list[object] = []

        def heard() -> bool:
            found[:] = [event for event in self.events if isinstance(event, kind)]
            return bool(found)

        assert self.world.run_until(heard, timeout), f"{self.name} heard only {self.events}"
        self.events.remove(found[0])
        return found[0]


class Company:
    """Headquarters with its front end and its edge, as in `iceway demo`."""

    def __init__(self, store: SqlStore, *, seed: int = 1, ring: KeyRing | None = None) -> None:
        self.world = World(topologies.reflexive(), seed=seed)
        self.store = store
        edge_config = EdgeToml(
            name=f"edge.{DOMAIN}",
            domain=DOMAIN,
            frontend=f"frontend.{DOMAIN}",
            access=AccessSection(listen=(f"{topologies.EDGE_OUTER}:{topologies.ACCESS_PORT}",)),
            credentials=CredentialsSection(listen=f"{topologies.EDGE_INNER}:5062"),
            relay=RelaySection(host=f"av.{DOMAIN}", listen=topologies.EDGE_OUTER),
        )
        edge = Edge(edge_config, ring or KeyRing(POOL), self.world.rng("edge machine"))
        self.world.run("edge", edge, identities={"edge": Certificate((f"edge.{DOMAIN}",))})
        self.start_frontend()
        self.world.call("edge", edge.start)

    def start_frontend(self) -> None:
        config = FrontEndConfig(
            domain=DOMAIN,
            name=f"frontend.{DOMAIN}",
            edges=(EdgeConfig(name=f"edge.{DOMAIN}", mras=f"edge.{DOMAIN}:5062"),),
        )
        frontend = FrontEnd(config, self.store, self.world.rng("frontend machine"))
        certificate = Certificate((f"frontend.{DOMAIN}",))
        self.world.run("frontend", frontend, identities={"frontend": certificate})
        self.world.call("frontend", frontend.start)

    def joins(self, name: str, password: str | None = None) -> Person:
        config = UserAgentConfig(f"sip:{name}@{DOMAIN}", password=password or f"{name}'s secret")
        agent = UserAgent("ua", config, self.world.rng(f"{name} machine"))
        person = Person(self.world, agent, name)
        self.world.run(name, agent, on_event=lambda event, _: person.events.append(event))
        person.does("register")
        return person

    def records(self, kind: type) -> list[object]:
        return [entry.record for entry in self.world.trace if isinstance(entry.record, kind)]


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = SqlStore()
    for name in ("alice", "bob"):
        add_user(opened, name, f"{name}'s secret", DOMAIN, 0.0)
    yield opened
    opened.close()


def credentials(person: Person, location: Location, minutes: int = 480) -> mras.CredentialsResponse:
    """Register, ask for credentials, get them."""
    registered = person.hears(RegistrationSucceeded)
    assert isinstance(registered, RegistrationSucceeded)
    service = (registered.response.headers.get(mras.SERVICE_HEADER) or "").strip("<>")
    me = f"sip:{person.name}@{DOMAIN}"
    wish = MrasRequest("1", service, me, (CredentialsRequest("1", me, location, minutes),))
    person.does(
        "request_out_of_dialog",
        "SERVICE",
        service,
        body=mras.serialize_request(wish),
        content_type=mras.CONTENT_TYPE,
    )
    answered = person.hears(RequestAnswered)
    assert isinstance(answered, RequestAnswered)
    assert answered.response.status == 200, answered.response.headers
    (granted,) = mras.parse_response(answered.response.body).credentials
    return granted


def test_who_is_outside_hears_so_and_who_is_inside_does_not(store: SqlStore) -> None:
    company = Company(store)
    alice, bob = company.joins("alice"), company.joins("bob")
    outside, inside = alice.hears(RegistrationSucceeded), bob.hears(RegistrationSucceeded)
    assert isinstance(outside, RegistrationSucceeded)
    assert isinstance(inside, RegistrationSucceeded)
    assert outside.response.headers.get(mras.LOGON_HEADER) == mras.OUTSIDE
    assert mras.LOGON_HEADER not in inside.response.headers


def test_a_wrong_password_fails_for_good(store: SqlStore) -> None:
    alice = Company(store).joins("alice", "a guess")
    failed = alice.hears(RegistrationFailed)
    assert isinstance(failed, RegistrationFailed)
    assert failed.retry_in is None


@pytest.mark.parametrize(("caller", "callee"), [("alice", "bob"), ("bob", "alice")])
def test_a_call_is_set_up_and_ended_from_either_side(store: SqlStore, caller: str, callee: str) -> None:
    company = Company(store)
    one, two = company.joins(caller), company.joins(callee)
    one.hears(RegistrationSucceeded)
    two.hears(RegistrationSucceeded)
    one.does("invite", f"sip:{callee}@{DOMAIN}", b"v=0\r\n")
    incoming = two.hears(Incoming)
    assert isinstance(incoming, Incoming)
    two.does("ring", incoming.call, sdp=b"v=0\r\ns=early\r\n")
    provisional = one.hears(Provisional)
    assert isinstance(provisional, Provisional)
    two.does("accept", incoming.call, b"v=0\r\ns=early\r\n")
    answered = one.hears(Answered)
    assert isinstance(answered, Answered)
    two.hears(Confirmed)
    two.does("bye", incoming.call)
    one.hears(Ended)
    two.hears(Ended)


def test_credentials_open_the_relay(store: SqlStore) -> None:
    company = Company(store)
    granted = credentials(company.joins("alice"), Location.INTERNET)
    assert granted.duration == 480
    (relay,) = granted.relays
    assert (relay.host, relay.udp_port, relay.tcp_port) == (f"av.{DOMAIN}", 3478, 3478)
    outcome = allocate(company, granted.username, granted.password)
    assert isinstance(outcome, Allocated)
    assert outcome.relayed.ip == topologies.EDGE_OUTER


def test_credentials_that_expired_are_refused_with_their_age(store: SqlStore) -> None:
    company = Company(store)
    granted = credentials(company.joins("alice"), Location.INTERNET, minutes=1)
    company.world.advance(120)
    outcome = allocate(company, granted.username, granted.password)
    assert isinstance(outcome, AllocationFailed)
    assert "expired" in f"{outcome.reason} {outcome.detail}"
    refused = [record for record in company.records(RelayRefused) if isinstance(record, RelayRefused)]
    assert any("credentials expired 6" in record.detail for record in refused)


def test_two_edges_of_a_pool_take_each_others_credentials_and_strangers_do_not(store: SqlStore) -> None:
    granted = credentials(Company(store).joins("alice"), Location.INTERNET)
    same_pool = Company(store, seed=2, ring=KeyRing(POOL))
    assert isinstance(allocate(same_pool, granted.username, granted.password), Allocated)
    stranger = Company(store, seed=3, ring=KeyRing(TokenKeys.derive(b"another key")))
    outcome = allocate(stranger, granted.username, granted.password)
    assert isinstance(outcome, AllocationFailed)
    assert "a key this edge does not hold" in f"{outcome.reason} {outcome.detail}"


def test_a_wrong_relay_password_is_refused(store: SqlStore) -> None:
    company = Company(store)
    granted = credentials(company.joins("alice"), Location.INTERNET)
    assert isinstance(allocate(company, granted.username, granted.password[::-1]), AllocationFailed)


def test_an_inner_client_gets_credentials_too(store: SqlStore) -> None:
    company = Company(store)
    granted = credentials(company.joins("bob"), Location.INTRANET)
    assert [relay.location for relay in granted.relays] == [Location.INTRANET]
    assert company.records(CredentialsMinted)


def test_bindings_survive_a_front_end_that_is_killed(store: SqlStore) -> None:
    company = Company(store)
    alice, bob = company.joins("alice"), company.joins("bob")
    alice.hears(RegistrationSucceeded)
    bob.hears(RegistrationSucceeded)
    company.world.kill("frontend")
    company.world.advance(1)
    company.start_frontend()
    bob.hears(RegistrationSucceeded)  # his connection broke, so he registers again; alice's did not
    company.world.advance(5)
    bob.does("invite", f"sip:alice@{DOMAIN}", b"v=0\r\n")
    alice.hears(Incoming)


def test_the_same_seed_gives_the_same_trace(store: SqlStore) -> None:
    def run() -> list[str]:
        company = Company(without_bindings(store))
        credentials(company.joins("alice"), Location.INTERNET)
        return [str(entry) for entry in company.world.trace]

    assert run() == run()


def without_bindings(store: SqlStore) -> SqlStore:
    """The same users without what earlier runs registered."""
    for user in store.users():
        store.replace(user.aor, [])
    return store


def allocate(company: Company, username: str, password: str) -> Allocated | AllocationFailed:
    """Ask the edge for a relayed address over TCP with these credentials."""
    events: list[object] = []
    server = Address(topologies.EDGE_OUTER, 3478)
    client = TurnClient(
        "turn", server, Transport.TCP, username, password, company.world.rng("turn client"), local=None
    )
    company.world.run("names", client, name="probe", on_event=lambda event, _: events.append(event))
    company.world.call("probe", client.allocate)
    assert company.world.run_until(lambda: bool(events), 60)
    outcome = events[0]
    assert isinstance(outcome, Allocated | AllocationFailed)
    return outcome
