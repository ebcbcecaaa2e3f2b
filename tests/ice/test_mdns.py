"""One agent's part of multicast DNS, packet by packet, on a link that the test plays."""

from __future__ import annotations

import random
import re

from hypothesis import given
from hypothesis import strategies as st

from iceway.core.address import Address
from iceway.core.machine import (
    CloseMulticast,
    MulticastFailed,
    MulticastOpened,
    MulticastReceived,
    OpenMulticast,
    SendMulticast,
)
from iceway.ice.mdns import ASK_AT, GIVE_UP, MAX_KNOWN, MAX_MALFORMED, MAX_NAMES, MAX_REPLIES, QUIET, Names
from iceway.trace import records
from iceway.wire import mdns
from iceway.wire.mdns import GROUP4, GROUP6, TTL, HostRecord, MdnsMessage, Question

US, US6, NEIGHBOUR = "192.0.2.1", "2001:db8::1", Address("192.0.2.9", 5353)
THEIRS = "5ce7ab0a-7a1f-4a2f-8e9b-01b1d8c1f5a7.local"


class Seat:
    """The names of one agent, in virtual time; what they send is read at once."""

    def __init__(self, *ips: str, hide: bool = True, opens: bool = True) -> None:
        self.now = 0.0
        self.outputs: list[object] = []
        self.found: list[tuple[str, str | None]] = []
        self.names = Names("a", hide, random.Random(1), self)
        self.names.interfaces(ips or (US,), self.now)
        if opens:
            self.open_all()

    def emit(self, output: object) -> None:
        self.outputs.append(output)

    def name_resolved(self, name: str, ip: str | None, now: float) -> None:
        self.found.append((name, ip))

    def open_all(self) -> None:
        opened = [out for out in self.outputs if isinstance(out, OpenMulticast)]
        for request in opened:
            self.names.handle_input(MulticastOpened(request.key), self.now)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while (at := self.names.poll_timeout()) is not None and at <= end:
            self.now = max(self.now, at)
            self.names.handle_timeout(self.now)
        self.now = end

    def find(self, name: str = THEIRS) -> str | None:
        refusal = self.names.find(name, self.now)
        self.run(0)
        return refusal

    def hear(
        self, message: MdnsMessage | bytes, source: Address = NEIGHBOUR, key: str = "a/mdns.1"
    ) -> list[tuple[Address | None, MdnsMessage]]:
        """Something is said on the link; what is said back at once."""
        before = len(self.outputs)
        data = message if isinstance(message, bytes) else mdns.serialize(message)
        assert self.names.handle_input(MulticastReceived(key, source, data), self.now)
        return self.said(before)

    def said(self, since: int = 0) -> list[tuple[Address | None, MdnsMessage]]:
        sent = [out for out in self.outputs[since:] if isinstance(out, SendMulticast)]
        return [(out.to, mdns.parse(out.data)) for out in sent]

    def seen(self, kind: type) -> list[object]:
        return [out for out in self.outputs if isinstance(out, kind)]


def asking(
    name: str, *families: int, unicast: bool = False, known: tuple[HostRecord, ...] = ()
) -> MdnsMessage:
    return MdnsMessage(False, tuple(Question(name, (one,), unicast) for one in families or (4,)), known)


def telling(name: str, ip: str, ttl: int = TTL) -> MdnsMessage:
    return MdnsMessage(True, (), (HostRecord(name, ip, ttl),))


# --- our names -----------------------------------------------------------------------------------------------
def test_every_address_has_a_random_name_of_its_own_on_its_own_group() -> None:
    seat = Seat(US, US6)
    assert [(out.group, out.interface) for out in seat.seen(OpenMulticast)] == [(GROUP4, US), (GROUP6, US6)]
    name, name6 = seat.names.name_of(US), seat.names.name_of(US6)
    assert name != name6
    assert name == seat.names.name_of(US), "for every socket on it"
    uuid4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.local"
    assert re.fullmatch(uuid4, str(name))
    assert mdns.host_name(str(name)) == name
    assert name != Names("a", True, random.Random(2), seat).name_of(US)


def test_a_name_is_announced_twice_and_taken_back_in_the_end() -> None:
    seat = Seat()
    seat.run(10)
    name = str(seat.names.name_of(US))
    assert seat.said() == [(None, telling(name, US))] * 2
    seat.names.close()
    assert seat.said()[2:] == [(None, telling(name, US, 0))]
    assert seat.outputs[-1] == CloseMulticast("a/mdns.1")
    assert seat.names.poll_timeout() is None


def test_the_first_to_ask_is_told_at_once_and_everybody_with_them() -> None:
    seat = Seat()
    name = str(seat.names.name_of(US))
    assert seat.hear(asking(name)) == [(None, telling(name, US))]


def test_who_wants_it_alone_is_answered_alone_and_at_once() -> None:
    seat = Seat()
    seat.run(5)
    name = str(seat.names.name_of(US))
    assert seat.hear(asking(name, unicast=True)) == [(NEIGHBOUR, telling(name, US))]


def test_everybody_is_told_again_when_that_is_long_ago() -> None:
    """RFC 6762 §5.4"""
    seat = Seat()
    seat.run(TTL)
    name = str(seat.names.name_of(US))
    assert [to for to, _ in seat.hear(asking(name, unicast=True))] == [NEIGHBOUR, None]


def test_a_record_is_multicast_once_a_second_at_most() -> None:
    """RFC 6762 §6"""
    seat = Seat()
    seat.run(5)
    name = str(seat.names.name_of(US))
    assert seat.hear(asking(name)) == [(None, telling(name, US))]
    before = len(seat.outputs)
    for _ in range(50):
        assert seat.hear(asking(name)) == []
    seat.run(QUIET)
    assert seat.said(before) == [(None, telling(name, US))]


def test_a_neighbour_on_the_same_host_is_told_through_the_group() -> None:
    """Both share the port, so that a reply to the one may reach the other."""
    seat = Seat()
    seat.run(3)
    name = str(seat.names.name_of(US))
    before = len(seat.outputs)
    seat.hear(asking(name, unicast=True), Address(US, 5353))
    seat.run(0.3)
    assert (None, telling(name, US)) in seat.said(before)


def test_who_knows_already_is_not_told() -> None:
    """RFC 6762 §7.1"""
    seat = Seat()
    name = str(seat.names.name_of(US))
    assert seat.hear(asking(name, unicast=True, known=(HostRecord(name, US, TTL // 2),))) == []
    assert seat.hear(asking(name, unicast=True, known=(HostRecord(name, US, 1),))) != []


def test_a_resolver_that_knows_nothing_of_multicast_is_answered_its_way() -> None:
    """RFC 6762 §6.7"""
    seat = Seat()
    name = str(seat.names.name_of(US))
    query = MdnsMessage(False, (Question(name, (4,)),), id=77)
    ((to, reply),) = seat.hear(query, Address("192.0.2.9", 40000))
    assert (to, reply.id) == (Address("192.0.2.9", 40000), 77)
    assert reply.questions == (Question(name, (4,)),)
    assert reply.records[0].ttl == 10


def test_nobody_is_told_of_other_names() -> None:
    seat = Seat(US, US6)
    name, name6 = str(seat.names.name_of(US)), str(seat.names.name_of(US6))
    assert seat.hear(asking(THEIRS, unicast=True)) == []
    assert seat.hear(asking(name6, 4, 6, unicast=True)) == [], "on the link of the other address"
    assert seat.hear(asking(name, 6), Address("192.0.2.9", 40000)) == []


def test_who_asks_for_the_other_family_is_told_what_there_is() -> None:
    """RFC 6762 §6.1: or they would wait for the rest."""
    seat = Seat(US)
    seat.run(3)
    name = str(seat.names.name_of(US))
    assert seat.hear(asking(name, 6, unicast=True)) == [(NEIGHBOUR, telling(name, US))]


def test_many_questions_are_not_answered_alone_without_end() -> None:
    seat = Seat()
    name = str(seat.names.name_of(US))
    replies = [seat.hear(asking(name, unicast=True)) for _ in range(100)]
    assert len([one for one in replies if one]) == MAX_REPLIES


def test_a_name_that_somebody_else_claims_is_defended_in_moderation() -> None:
    seat = Seat()
    seat.run(5)
    name = str(seat.names.name_of(US))
    before = len(seat.outputs)
    for _ in range(30):
        seat.hear(telling(name, "192.0.2.66"))
    seat.run(0.9)
    assert seat.said(before) == [(None, telling(name, US))]
    (note,) = seat.seen(records.Note)
    assert "192.0.2.66" in note.text
    assert seat.hear(telling(name, US)) == [], "our own words come back to us"


def test_an_interface_that_comes_again_gets_another_name() -> None:
    seat = Seat()
    name = seat.names.name_of(US)
    seat.names.interfaces((), seat.now)
    assert seat.outputs[-1] == CloseMulticast("a/mdns.1")
    seat.names.interfaces((US,), seat.now)
    assert seat.outputs[-1] == OpenMulticast("a/mdns.2", GROUP4, US)
    assert seat.names.name_of(US) != name


# --- the peer's names ----------------------------------------------------------------------------------------
def test_a_name_is_asked_for_on_every_link_and_found() -> None:
    seat = Seat(US, US6, hide=False, opens=False)
    assert seat.outputs == [], "nobody listens before there is something to ask"
    seat.find()
    seat.open_all()
    questions = [message for _, message in seat.said()]
    assert questions == [asking(THEIRS, 4, unicast=True), asking(THEIRS, 6, unicast=True)] * 2
    seat.hear(telling(THEIRS, "192.0.2.9"))
    assert seat.found == [(THEIRS, "192.0.2.9")]
    assert [out.key for out in seat.seen(CloseMulticast)] == ["a/mdns.1", "a/mdns.2"], "and nobody afterwards"
    (resolved,) = seat.seen(records.NameResolved)
    assert resolved == records.NameResolved(THEIRS, "mDNS", ("192.0.2.9",))


def test_it_is_asked_for_three_times_and_then_given_up_with_a_reason() -> None:
    seat = Seat(hide=False)
    began = seat.now
    seat.find()
    seat.open_all()
    times = []
    while not seat.found:
        before = len(seat.said())
        seat.run(0.25)
        times += [seat.now - began] * (len(seat.said()) - before)
    assert times == [at for at in ASK_AT if at]
    assert [all(q.unicast for q in message.questions) for _, message in seat.said()] == [True, False, False]
    assert seat.now - began == GIVE_UP
    assert seat.found == [(THEIRS, None)]
    (resolved,) = seat.seen(records.NameResolved)
    assert "nobody on our links answered" in resolved.error


def test_every_question_has_a_packet_of_its_own() -> None:
    """Browsers do not answer messages with two."""
    seat = Seat()
    seat.run(5)
    before = len(seat.outputs)
    for number in range(4):
        seat.names.find(f"n{number}.local", seat.now)
    seat.run(0)
    queries = [message.questions for _, message in seat.said(before)]
    assert queries == [(Question(f"n{number}.local", (4,), True),) for number in range(4)]


def test_a_name_found_before_is_known() -> None:
    seat = Seat()
    seat.find()
    seat.hear(telling(THEIRS, "192.0.2.9"))
    before = len(seat.said())
    seat.find()
    assert seat.found == [(THEIRS, "192.0.2.9")] * 2
    assert len(seat.said()) == before
    seat.run(TTL + 1)
    seat.find()
    assert len(seat.said()) > before, "for as long as its record lives"


def test_the_first_answer_counts_and_only_answers_to_questions() -> None:
    seat = Seat()
    seat.hear(telling(THEIRS, "192.0.2.66"))
    assert seat.found == []
    seat.find()
    seat.hear(telling("other.local", "192.0.2.66"))
    seat.hear(telling(THEIRS, "192.0.2.66", ttl=0))
    seat.hear(telling(THEIRS, "2001:db8::66"))
    assert seat.found == [], "taken back, or of a family that is of no use"
    seat.hear(telling(THEIRS, "192.0.2.9"))
    seat.hear(telling(THEIRS, "192.0.2.66"))
    assert seat.found == [(THEIRS, "192.0.2.9")]


def test_where_multicast_is_refused_the_reason_is_told_at_once() -> None:
    seat = Seat(hide=False, opens=False)
    seat.find()
    seat.names.handle_input(MulticastFailed("a/mdns.1", "no permission"), seat.now)
    seat.run(0)
    assert seat.found == [(THEIRS, None)]
    (resolved,) = seat.seen(records.NameResolved)
    assert resolved.error == "no multicast DNS: no permission"


def test_a_peer_with_many_names_is_heard_to_a_point() -> None:
    seat = Seat()
    refusals = [seat.find(f"n{number}.local") for number in range(30)]
    assert refusals.count(None) == MAX_NAMES
    assert "more than 16" in str(refusals[-1])
    for number in range(MAX_KNOWN + 30):
        seat.find(f"m{number}.local")
        seat.run(GIVE_UP + 1)
        seat.find(f"m{number}.local")
        seat.hear(telling(f"m{number}.local", "192.0.2.9"))
    assert len(seat.names._known) <= MAX_KNOWN


def test_closing_ends_the_asking() -> None:
    seat = Seat()
    seat.find()
    seat.names.close()
    before = len(seat.outputs)
    seat.run(20)
    assert seat.names.handle_input(MulticastOpened("a/mdns.1"), seat.now)
    assert (len(seat.outputs), seat.found) == (before, [])


# --- garbage -------------------------------------------------------------------------------------------------
def test_garbage_is_told_a_few_times() -> None:
    seat = Seat()
    for _ in range(100):
        assert seat.hear(b"garbage") == []
    assert len(seat.seen(records.Malformed)) == MAX_MALFORMED


MESSAGES = st.builds(
    MdnsMessage,
    st.booleans(),
    st.lists(st.builds(Question, st.sampled_from(["own.local", THEIRS]), st.just((4,)), st.booleans())).map(
        tuple
    ),
    st.lists(
        st.builds(
            HostRecord,
            st.sampled_from(["own.local", THEIRS]),
            st.sampled_from([US, US6, "224.0.0.1", "::"]),
            st.integers(0, 200),
        )
    ).map(tuple),
)


@given(st.lists(st.binary(max_size=80) | MESSAGES.map(mdns.serialize), max_size=12), st.integers(0, 65535))
def test_whatever_is_said_on_the_link_nothing_breaks_and_little_is_said_back(
    said: list[bytes], port: int
) -> None:
    seat = Seat()
    own = str(seat.names.name_of(US)).encode().removesuffix(b".local")
    seat.find()
    before = len(seat.said())
    for data in said:
        seat.hear(data.replace(b"\x03own", bytes([len(own)]) + own), Address("192.0.2.9", port))
    assert len(seat.said()) - before <= len(said) + 2
    seat.run(30)
    assert len(seat.found) == 1
