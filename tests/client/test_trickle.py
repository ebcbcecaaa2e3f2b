"""Candidates that come after the description: told by INFO where the other side takes it, else not at all."""

from __future__ import annotations

import pytest

from iceway.client import events
from iceway.client.call import SOON
from iceway.explain.model import PathClass
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice
from iceway.lab.topology import Link, Topology
from iceway.sip.useragent import Answered, Incoming, InfoReceived, UserAgent
from iceway.trace.records import CandidateReceived, Malformed, Note, SipReceived, SipSent
from iceway.wire import sdpfrag
from iceway.wire.sdp import IceParameters
from iceway.wire.sip import NameAddr, Request
from tests.client.test_call_over_line import HERE, Desk, End
from tests.e2e.calls import agreed_path, end_of
from tests.e2e.story import every


def slow_home() -> Topology:
    """Bob has no UDP, and Alice is so far away that no server has answered her when her offer has to leave."""
    topology = topologies.relayed_tcp()
    return topology.with_link("home", Link(delay=0.6))


def calls(topology: Topology) -> VirtualOffice:
    office = VirtualOffice(topology, 1)
    alice, bob = office.joins("alice"), office.joins("bob", ring_for=3.0)
    for person in (alice, bob):
        assert person.waits_for(events.Ready), person.events
    alice.calls("bob")
    return office


def test_a_relay_that_answers_late_still_carries_the_call() -> None:
    office = calls(slow_home())
    for person in office.people.values():
        assert person.waits_for(events.CallSettled, 20.0), person.events
    trace = office.close()
    assert agreed_path(trace) is PathClass.RELAY_TCP
    *_, told = [record.text for record in texts(trace, "alice") if record.text.startswith("INFO")]
    assert f"Content-Type: {sdpfrag.MEDIA_TYPE}" in told
    assert " typ relay " in told
    offer = next(record.text for record in texts(trace, "alice") if record.text.startswith("INVITE"))
    assert " typ relay " not in offer
    assert "a=end-of-candidates" not in offer
    assert "a=ice-options:trickle ice2 renomination" in offer
    assert "Recv-Info: trickle-ice" in offer
    assert every(trace, SipReceived, "bob", start="INFO")


def test_without_info_such_a_call_finds_no_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above shows is the work of the INFO."""
    monkeypatch.setattr(UserAgent, "takes_info", lambda *_: False)
    office = calls(slow_home())
    alice = office.people["alice"]
    assert alice.waits_for(events.CallEnded, 90.0)
    assert "no way was found" in end_of(alice).reason
    assert not every(office.close(), SipSent, "alice", start="INFO")


def test_where_everything_was_said_in_time_nothing_more_is_sent() -> None:
    office = calls(topologies.relayed_udp())
    for person in office.people.values():
        assert person.waits_for(events.CallSettled), person.events
    office.world.advance(60.0)
    assert not every(office.close(), SipSent, start="INFO")


def texts(trace: list, who: str) -> list[SipSent]:  # type: ignore[type-arg]
    return [entry.record for entry in trace if entry.node == who and isinstance(entry.record, SipSent)]


def test_whoever_promises_candidates_and_names_none_is_not_waited_for_ever() -> None:
    desk, bob = Desk(), Trickler("bob", 5001)
    desk.user_agent.takes = True
    desk.begin()
    desk.hears(Answered("sip.1", bob.answers(desk.user_agent.last("invite")), "b"))
    desk.run(11.0)
    (told,) = desk.seen(events.CallPathless)
    assert isinstance(told, events.CallPathless)
    assert "named no candidates" in told.tried
    desk.run(60.0)
    assert desk.call.end_reason.startswith("no way was found in 60 s: ")
    assert desk.user_agent.words()[-1] == "hang up"


# --- one call, SIP scripted -------------------------------------------------------------------------------
class Trickler(End):
    """The other side; it takes candidates by INFO, and some of its own come that way."""

    def ice(self, remote: tuple[tuple[int, object], ...] = ()) -> IceParameters:  # type: ignore[override]
        return IceParameters(f"{self.name}ufrag", f"{self.name}passwordof22characters", options=("trickle",))

    def fragment(self, *candidates: str, ufrag: str | None = None, end: bool = False) -> bytes:
        mine = self.ice()
        said = IceParameters(ufrag or mine.ufrag, mine.pwd, candidates, end_of_candidates=end)
        return sdpfrag.serialize(sdpfrag.Section("0", said)).encode()


LATE = "1 1 UDP 2130706431 192.0.2.2 5001 typ host"


def ringing(*, trickles: bool = True) -> tuple[Desk, Trickler]:
    """A call of somebody who trickles has come in; our candidates are not there yet."""
    desk, bob = Desk(incoming=True), Trickler("bob", 5001)
    desk.user_agent.takes = trickles
    request = Request("INVITE", "sip:alice@example.test")
    incoming = Incoming("sip.1", NameAddr("sip:bob@example.test"), bob.offers(), request)
    assert desk.line.ring_in(desk.call, incoming, desk.now)
    return desk, bob


def test_candidates_that_come_by_info_are_checked() -> None:
    desk, bob = ringing()
    desk.begin()
    desk.reached()
    desk.hears(InfoReceived("sip.1", "trickle-ice", sdpfrag.MEDIA_TYPE, bob.fragment(LATE)))
    desk.run(1.0)
    assert desk.reached() == {bob.address}


@pytest.mark.parametrize("ufrag", ["another", "bobufra"])
def test_candidates_of_other_credentials_are_dropped(ufrag: str) -> None:
    desk, bob = ringing()
    desk.begin()
    desk.hears(InfoReceived("sip.1", "trickle-ice", sdpfrag.MEDIA_TYPE, bob.fragment(LATE, ufrag=ufrag)))
    desk.run(1.0)
    assert not desk.seen(CandidateReceived)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [(sdpfrag.MEDIA_TYPE, b"\xff\x00"), ("text/plain", b"a=end-of-candidates\r\n"), ("", b"")],
)
def test_fragments_that_make_no_sense_are_counted_and_dropped(content_type: str, body: bytes) -> None:
    desk, _ = ringing()
    desk.begin()
    for _ in range(100):
        desk.hears(InfoReceived("sip.1", "trickle-ice", content_type, body))
    assert 0 < len(desk.seen(Malformed)) <= 16
    assert not desk.call.ended


def test_whoever_takes_candidates_later_is_answered_soon() -> None:
    """A dead server is not waited for: what it may still bring would come by INFO."""
    for trickles, after in ((True, SOON), (False, 1.9)):
        desk, _ = ringing(trickles=trickles)
        desk.call.begin((HERE.ip,), desk.dead_server, desk.now)
        desk.run(after - 0.05)
        assert desk.user_agent.words() == ["ring"]
        desk.run(0.2)
        assert desk.user_agent.words() == ["ring", "ring"]
        assert f"{HERE.ip} {HERE.port} typ host" in desk.user_agent.last("ring")


def test_info_is_sent_one_at_a_time_and_not_to_those_who_refuse_it() -> None:
    desk, _ = ringing()
    desk.call.begin((HERE.ip,), desk.dead_server, desk.now)
    desk.run(1.0)
    assert "inform" not in desk.user_agent.words(), "nothing new was found"
    desk.run(40.0)  # the server is given up: that was all
    assert desk.user_agent.words().count("inform") == 1
    assert "a=end-of-candidates" in desk.user_agent.last("inform")
    desk.call.candidates_told(469, "Bad Info Package", desk.now)
    desk.run(0.0)
    assert any("469" in note.text for note in desk.seen(Note) if isinstance(note, Note))
    assert desk.user_agent.words().count("inform") == 1
