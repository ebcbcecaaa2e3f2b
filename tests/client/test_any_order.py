"""Whatever people and networks do, in whatever order: nothing is told after an end, and nothing is left open."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from iceway.client import events
from iceway.core.errors import UsageError
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice, VirtualPerson

PAUSES = st.sampled_from([0.0, 0.001, 0.01, 0.03, 0.08, 0.2, 0.5, 0.6, 1.0, 3.0, 12.0])
WHO = st.sampled_from(["alice", "bob"])
DEEDS = st.one_of(
    st.tuples(st.sampled_from(["calls", "picks up", "refuses", "hangs up"]), WHO),
    st.tuples(st.sampled_from(["unplug", "plug"]), st.sampled_from(["alice", "bob", "edge", "frontend"])),
    st.tuples(st.just("reboot"), st.sampled_from(["home-nat", "hq-nat"])),
    st.tuples(st.just("restart"), st.sampled_from(["edge", "frontend"])),
)


@given(st.lists(st.tuples(DEEDS, PAUSES), min_size=1, max_size=14), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_every_call_ends_once_and_everything_is_closed(
    deeds: list[tuple[tuple[str, str], float]], seed: int
) -> None:
    office = VirtualOffice(topologies.reflexive(), seed)
    people = {name: office.joins(name, ring_for=None) for name in ("alice", "bob")}
    for (deed, who), pause in deeds:
        act(office, people, deed, who)
        office.world.advance(pause)
    for node in ("alice", "bob", "edge", "frontend"):
        office.world.plug(node)
    for person in people.values():
        office.world.call(person.name, person.phone.stop)
    office.world.advance(70.0)
    for person in people.values():
        check_story(person)
        assert isinstance(person.events[-1], events.Stopped)
        assert not person.phone._calls
        assert person.phone.poll_timeout() is None
    office.close()


def act(office: VirtualOffice, people: dict[str, VirtualPerson], deed: str, who: str) -> None:
    world = office.world
    match deed:
        case "calls":
            with contextlib.suppress(UsageError):  # not registered just now
                people[who].calls("bob" if who == "alice" else "alice")
        case "picks up" | "refuses" | "hangs up":
            for name, call in list(people[who].phone._calls.items()):
                if call.incoming or deed == "hangs up":
                    {"picks up": people[who].picks_up, "refuses": people[who].refuses}.get(
                        deed, people[who].hangs_up
                    )(name)
        case "unplug":
            world.unplug(who)
        case "plug":
            world.plug(who)
        case "reboot":
            world.reboot(who)
        case "restart":
            world.kill(who)
            office.start_edge() if who == "edge" else office.start_frontend()


def check_story(person: VirtualPerson) -> None:
    ended: set[str] = set()
    begun: set[str] = set()
    for event in person.events:
        name = getattr(event, "call", None)
        if name is not None:
            assert name not in ended, f"{event} after its call ended"
            begun.add(name)
        if isinstance(event, events.CallEnded):
            ended.add(event.call)
    assert begun == ended
