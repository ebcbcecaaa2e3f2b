"""What people do in a call, through the whole company: keys, hold, transfers; and what is told of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from iceway.client import events
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice, VirtualPerson
from iceway.trace.entry import Entry, to_json
from iceway.trace.records import SipReceived
from tests.e2e.calls import both_join, hum, talk
from tests.e2e.story import every

Office = tuple[VirtualOffice, VirtualPerson, VirtualPerson]


@pytest.fixture
def company() -> Iterator[Office]:
    """Alice outside, Bob inside; he picks up by himself. After the test everybody leaves."""
    office, alice, bob = both_join(topologies.relayed_udp())
    yield office, alice, bob
    for person in (alice, bob):
        person.events.clear()
    talk(alice, bob, 1.0)
    office.close()
    office.world.advance(40.0)
    assert not alice.phone._calls
    assert not bob.phone._calls


def digits(person: VirtualPerson) -> str:
    return "".join(event.digit for event in person.events if isinstance(event, events.CallDigit))


def texts(trace: list[Entry]) -> str:
    return "\n".join(to_json(entry) for entry in trace)


# --- telephone keys ---------------------------------------------------------------------------------------
def test_keys_are_heard_at_the_other_end_of_a_relay_and_told_to_nobody_else(company: Office) -> None:
    office, alice, bob = company
    call = hum(alice, bob)
    office.world.call("alice", lambda now: alice.phone.press(call, "8802#", 0.1, now))
    office.world.advance(3.0)
    theirs = next(event.call for event in bob.events if isinstance(event, events.CallAnswered))
    office.world.call("bob", lambda now: bob.phone.press(theirs, "*D", 0.2, now))
    office.world.advance(2.0)
    assert digits(bob) == "8802#"
    assert digits(alice) == "*D"
    assert "telephone-event" in texts(office.world.trace), "it was offered and answered"
    assert not [line for line in texts(office.world.trace).splitlines() if "CallDigit" in line]
    alice.hangs_up(call)
    for person in (alice, bob):
        assert person.waits_for(events.CallEnded)


def test_keys_that_come_by_info(company: Office) -> None:
    """Some phones send them so (application/dtmf-relay); the trace does not keep which."""
    office, alice, bob = company
    call = hum(alice, bob)
    agent = alice.phone.user_agent
    sip_call = alice.phone._calls[call].sip_call
    for body in (b"Signal=5\r\nDuration=160\r\n", b"Signal=nonsense", b"\xff" * 400):
        office.world.call(
            "alice", lambda now, body=body: agent.inform(sip_call, "", "application/dtmf-relay", body, now)
        )
        office.world.advance(1.0)
    assert digits(bob) == "5"
    received = every(office.world.trace, SipReceived, "bob", start="INFO")
    assert received
    assert all("Signal=5" not in record.text for record in received)
    alice.hangs_up(call)
    for person in (alice, bob):
        assert person.waits_for(events.CallEnded)
