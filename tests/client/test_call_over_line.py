"""One call over its line, SIP scripted: forks, odd answers, ends that cross, ICE restarts."""

from __future__ import annotations

import random
from collections import deque

import pytest

from iceway.client import events
from iceway.client.call import Call, Phase
from iceway.client.config import PhoneConfig
from iceway.client.line import Line
from iceway.client.media import Media
from iceway.core.address import Address
from iceway.core.errors import UsageError
from iceway.core.machine import CloseUdp, OpenUdp, SendDatagram, UdpOpened
from iceway.ice.candidate import Candidate, CandidateType
from iceway.ice.config import IceServer, ServerKind
from iceway.ice.events import CandidatePath
from iceway.io.selfsigned import media_identity
from iceway.media.description import AudioNegotiation
from iceway.media.dtls import DtlsIdentity
from iceway.media.files import MemorySink, SilenceSource
from iceway.sip.useragent import (
    Answered,
    Ended,
    Incoming,
    Provisional,
    ReinviteAnswered,
    ReinviteFailed,
    ReinviteReceived,
)
from iceway.trace.records import Note
from iceway.wire.sdp import IceParameters
from iceway.wire.sip import NameAddr, Request

HERE = Address("192.0.2.1", 40000)


class Ear(MemorySink):
    """Counts how often it was closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


class ScriptedAgent:
    """A user agent that writes down what it is told."""

    def __init__(self) -> None:
        self.said: list[tuple[object, ...]] = []
        self.takes = False

    def call_id(self, key: str) -> str:
        return f"id of {key}"

    def invite(self, target: str, offer: bytes | None, now: float, fields: object = ()) -> str:
        self.said.append(("invite", offer))
        return f"sip.{self.words().count('invite')}"

    def ring(self, call: str, now: float, sdp: bytes | None = None) -> None:
        self.said.append(("ring", sdp))

    def accept(self, call: str, sdp: bytes, now: float) -> None:
        self.said.append(("accept", sdp))

    def reject(self, call: str, status: int, now: float, reason: str | None = None) -> None:
        self.said.append(("reject", status, reason))

    def hang_up(self, call: str, now: float, reason: str | None = None) -> None:
        self.said.append(("hang up", reason))

    def answer_reinvite(self, call: str, sdp: bytes, now: float) -> None:
        self.said.append(("answer", sdp))

    def reinvite(self, call: str, sdp: bytes, now: float) -> None:
        self.said.append(("reinvite", sdp))

    def withdraw_reinvite(self, call: str, now: float) -> None:
        self.said.append(("withdraw",))

    def reject_reinvite(self, call: str, status: int, now: float) -> None:
        self.said.append(("reject reinvite", status))

    def probe_uplink(self, now: float) -> None:
        pass

    def takes_info(self, call: str, package: str, branch: str | None = None) -> bool:
        return self.takes

    def inform(
        self, call: str, package: str, content_type: str, body: bytes, now: float, branch: str | None
    ) -> None:
        self.said.append(("inform", body))

    def words(self) -> list[object]:
        return [words[0] for words in self.said]

    def last(self, what: str) -> str:
        return next(str(words[1], "utf-8") for words in reversed(self.said) if words[0] == what)  # type: ignore[arg-type]


class End:
    """The other side of an offer or answer, reachable at one address."""

    def __init__(self, name: str, port: int) -> None:
        self.address = Address("192.0.2.2", port)
        self.negotiation = AudioNegotiation(random.Random(name))
        self.name = name

    def ice(self, remote: tuple[tuple[int, Address], ...] = ()) -> IceParameters:
        candidate = f"1 1 UDP 2130706431 {self.address.ip} {self.address.port} typ host"
        return IceParameters(f"{self.name}ufrag", f"{self.name}passwordof22characters", (candidate,), remote)

    def offers(self, remote: tuple[tuple[int, Address], ...] = ()) -> bytes:
        return self.negotiation.offer(self.ice(remote), self.address).encode()

    def answers(self, offer: str) -> bytes:
        self.negotiation.receive_offer(offer)
        return self.negotiation.answer(self.ice(), self.address).encode()


class Desk:
    """One call with its line and agent; time passes when told to."""

    dead_server = (IceServer(ServerKind.STUN, address=Address("192.0.2.99", 3478)),)

    def __init__(self, *, incoming: bool = False, certificate: DtlsIdentity | None = None) -> None:
        self.user_agent = ScriptedAgent()
        self.line = Line(self)  # type: ignore[arg-type]
        self.now = 0.0
        self.out: deque[object] = deque()
        self.ear = Ear()
        self.call = Call(
            "call.1",
            PhoneConfig("sip:alice@example.test", "-", certificate=certificate),
            random.Random(1),
            self.line,
            peer="sip:bob@example.test",
            media=Media(SilenceSource(), self.ear, SilenceSource()),
            incoming=incoming,
        )

    def begin(self) -> None:
        self.call.begin((HERE.ip,), (), self.now)
        self.run(0.1)

    def comes_in(self, offer: bytes) -> bool:
        caller = NameAddr("sip:bob@example.test")
        incoming = Incoming("sip.1", caller, offer, Request("INVITE", "sip:alice@example.test"))
        rings = self.line.ring_in(self.call, incoming, self.now)
        if rings:
            self.begin()
        return rings

    def hears(self, *happenings: object) -> None:
        for event in happenings:
            self.line.deliver(event, self.now)  # type: ignore[arg-type]
        self.run(0.0)

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while True:
            while (output := self.call.poll_output()) is not None:
                self.out.append(output)
                if isinstance(output, OpenUdp):
                    self.call.handle_input(UdpOpened(output.key, HERE), self.now)
            at = self.call.poll_timeout()
            if at is None or at > end:
                self.now = end
                return
            self.now = max(self.now, at)
            self.call.handle_timeout(self.now)

    def reached(self) -> set[Address]:
        """Whom the call has sent anything since it was last asked."""
        found = {output.remote for output in self.out if isinstance(output, SendDatagram)}
        self.out.clear()
        return found

    def seen(self, kind: type) -> list[object]:
        return [output for output in self.out if isinstance(output, kind)]


def calling() -> Desk:
    desk = Desk()
    desk.begin()
    assert desk.user_agent.words() == ["invite"]
    return desk


# --- answers ----------------------------------------------------------------------------------------------
def test_the_branch_that_picks_up_is_talked_to_though_another_rang_later() -> None:
    desk, first, second = calling(), End("first", 5001), End("second", 5002)
    offer = desk.user_agent.last("invite")
    desk.hears(Provisional("sip.1", 183, first.answers(offer), True, "first"))
    desk.hears(Provisional("sip.1", 183, second.answers(offer), True, "second"))
    desk.run(1)
    desk.reached()
    desk.hears(Answered("sip.1", None, "first"))
    desk.run(1)
    assert desk.reached() == {first.address}
    assert desk.call.phase is Phase.CONFIRMED


def test_a_200_without_183_before_it() -> None:
    desk, bob = calling(), End("bob", 5001)
    desk.hears(Answered("sip.1", bob.answers(desk.user_agent.last("invite")), "b"))
    desk.run(1)
    assert desk.call.answered
    assert desk.reached() == {bob.address}


def test_an_answer_without_any_description_ends_the_call() -> None:
    desk = calling()
    desk.hears(Provisional("sip.1", 180, None, False, "b"), Answered("sip.1", None, "b"))
    assert desk.call.end_reason == "the other side answered without a session description"
    assert desk.user_agent.words() == ["invite", "hang up"]
    assert desk.ear.closed == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"rubbish", "cannot be read"), (b"", "cannot be read")],
)
def test_an_answer_that_makes_no_sense_ends_the_call_and_what_crosses_it_finds_nobody(
    answer: bytes, reason: str
) -> None:
    desk, bob = calling(), End("bob", 5001)
    good = bob.answers(desk.user_agent.last("invite"))
    # Both are there before the call is heard of again, as when they come in one TCP segment.
    desk.hears(Provisional("sip.1", 183, answer, True, "b"), Answered("sip.1", None, "b"))
    desk.hears(Answered("sip.1", good, "c"))
    assert reason in desk.call.end_reason
    assert desk.user_agent.words() == ["invite", "hang up"]
    assert len(desk.seen(events.CallEnded)) == 1
    assert isinstance(desk.seen(events.CallEnded)[0], events.CallEnded)
    assert not desk.seen(events.CallAnswered)


def test_an_early_answer_that_makes_no_sense_leaves_the_other_ends_ringing() -> None:
    for early in (b"rubbish", End("carol", 5002).negotiation):
        desk, bob = calling(), End("bob", 5001)
        offer = desk.user_agent.last("invite")
        if not isinstance(early, bytes):
            early.receive_offer(offer)
            early = early.answer(None, Address("192.0.2.3", 5002)).encode()  # without ICE
        desk.hears(Provisional("sip.1", 183, early, True, "a"))
        assert not desk.call.ended
        desk.hears(Answered("sip.1", bob.answers(offer), "b"))
        assert desk.call.answered
        assert desk.call.streams == ("audio",)


def test_an_answer_without_ice_ends_the_call() -> None:
    desk, bob = calling(), End("bob", 5001)
    bob.negotiation.receive_offer(desk.user_agent.last("invite"))
    desk.hears(Answered("sip.1", bob.negotiation.answer(None, bob.address).encode(), "b"))
    assert "does not speak ICE" in desk.call.end_reason


@pytest.mark.parametrize("status", [488, 606])
def test_who_takes_no_keys_in_sdp_is_offered_dtls_alone(status: int) -> None:
    """As phones whose DTLS is mandatory want it."""
    desk = Desk(certificate=media_identity())
    desk.begin()
    first = desk.user_agent.last("invite")
    assert "a=crypto:" in first
    assert "a=fingerprint:" in first
    desk.hears(Ended("sip.1", f"{status} Not Acceptable", status, False))
    again = desk.user_agent.last("invite")
    assert desk.user_agent.words() == ["invite", "invite"]
    assert "a=crypto:" not in again
    assert "\r\nm=audio 40000 UDP/TLS/RTP/SAVP " in again
    assert ufrag(again) == ufrag(first)
    desk.hears(Ended("sip.1", "late", 500, False))
    assert not desk.call.ended
    desk.hears(Ended("sip.2", f"{status} Not Acceptable", status, False))
    assert desk.seen(events.CallEnded)


def test_a_refusal_that_other_keys_would_not_cure_ends_the_call() -> None:
    desk = calling()
    desk.hears(Ended("sip.1", "488 Not Acceptable Here", 488, False))
    assert desk.user_agent.words() == ["invite"]
    assert desk.seen(events.CallEnded)


# --- calls that come in -----------------------------------------------------------------------------------
def test_a_caller_without_ice_is_refused_with_the_reason() -> None:
    desk, bob = Desk(incoming=True), End("bob", 5001)
    assert not desk.comes_in(bob.negotiation.offer(None, bob.address).encode())
    ((what, status, reason),) = desk.user_agent.said
    assert (what, status) == ("reject", 488)
    assert "ICE" in str(reason)
    assert desk.call.finished
    assert desk.ear.closed == 1


def test_picked_up_before_candidates_are_there_it_is_accepted_once_with_them() -> None:
    desk, bob = Desk(incoming=True), End("bob", 5001)
    caller = NameAddr("sip:bob@example.test")
    desk.line.ring_in(
        desk.call, Incoming("sip.1", caller, bob.offers(), Request("INVITE", "sip:a@b")), desk.now
    )
    desk.call.pick_up(desk.now)
    desk.call.pick_up(desk.now)
    assert desk.user_agent.words() == ["ring"]
    desk.begin()
    desk.call.pick_up(desk.now)
    assert desk.user_agent.words() == ["ring", "accept"]
    assert f"{HERE.ip} {HERE.port} typ host" in desk.user_agent.last("accept")


def test_refusing_what_was_picked_up_hangs_up() -> None:
    desk, bob = Desk(incoming=True), End("bob", 5001)
    assert desk.comes_in(bob.offers())
    desk.call.pick_up(desk.now)
    desk.call.refuse(486, "Busy Here", desk.now)
    assert desk.user_agent.words() == ["ring", "ring", "accept", "hang up"]
    desk.call.refuse(486, "Busy Here", desk.now)
    desk.call.hang_up(desk.now)
    assert desk.user_agent.words()[-2:] == ["accept", "hang up"]


def test_calls_of_ours_are_not_ours_to_answer() -> None:
    desk = calling()
    with pytest.raises(UsageError):
        desk.call.pick_up(desk.now)
    with pytest.raises(UsageError):
        desk.call.refuse(486, "Busy Here", desk.now)


def test_hung_up_while_candidates_are_gathered() -> None:
    desk = Desk()
    desk.call.begin((HERE.ip,), (), desk.now)
    desk.call.hang_up(desk.now)
    desk.run(60)  # its socket opens after that, and is closed at once
    assert len(desk.seen(CloseUdp)) == 1
    assert desk.user_agent.said == []
    assert desk.call.finished
    assert desk.call.poll_timeout() is None
    assert desk.ear.closed == 1


# --- re-INVITEs -------------------------------------------------------------------------------------------
def talking() -> tuple[Desk, End]:
    """A call that came in and was picked up."""
    desk, bob = Desk(incoming=True), End("bob", 5001)
    assert desk.comes_in(bob.offers())
    desk.call.pick_up(desk.now)
    desk.call.confirmed(desk.now)
    return desk, bob


def test_an_ice_restart_is_answered_with_all_candidates_once_also_after_settling() -> None:
    desk, bob = talking()
    default = ((1, HERE),)
    desk.hears(ReinviteReceived("sip.1", bob.offers(remote=default)))
    assert desk.user_agent.last("answer").count("a=candidate:") == 1
    before = desk.user_agent.last("answer")
    bob.name, bob.address = "moved", Address("192.0.2.2", 6001)
    desk.reached()
    desk.hears(ReinviteReceived("sip.1", bob.offers()))
    desk.run(5)
    assert desk.user_agent.words()[-2:] == ["answer", "answer"]
    again = desk.user_agent.last("answer")
    assert "a=remote-candidates" not in again
    assert ufrag(again) != ufrag(before)
    assert bob.address in desk.reached()
    assert desk.call.phase is Phase.CONFIRMED  # the new pair is settled anew


def test_an_ice_restart_that_the_end_of_the_call_overtakes_is_not_answered() -> None:
    desk, bob = talking()
    bob.name = "moved"
    words = desk.user_agent.words()
    desk.hears(ReinviteReceived("sip.1", bob.offers()), Ended("sip.1", "the other side hung up", 0, False))
    desk.hears(ReinviteReceived("sip.1", bob.offers()))
    desk.run(60)
    assert desk.user_agent.words()[: len(words) + 1] in (words, [*words, "answer"])
    assert desk.call.finished
    assert desk.ear.closed == 1


def ufrag(description: str) -> str:
    return next(line for line in description.splitlines() if line.startswith("a=ice-ufrag"))


# --- ICE restarts of ours ---------------------------------------------------------------------------------
def interrupted(*, incoming: bool = True) -> tuple[Desk, End]:
    """A call whose path was there, and whose interface is gone; another one has come."""
    desk, bob = (Desk(incoming=True), End("bob", 5001)) if incoming else (calling(), End("bob", 5001))
    if incoming:
        assert desk.comes_in(bob.offers())
        desk.call.pick_up(desk.now)
        desk.call.confirmed(desk.now)
    else:
        desk.hears(Answered("sip.1", bob.answers(desk.user_agent.last("invite")), "b"))
    desk.call._keeper.usable(path_to(bob), desk.now)
    desk.run(0.1)
    desk.call._keeper.lost("the interface is gone", desk.now, ours=True)
    desk.run(0.1)
    return desk, bob


def path_to(bob: End) -> CandidatePath:
    ours = Candidate(CandidateType.HOST, HERE, 1, "1")
    return CandidatePath(1, ours, Candidate(CandidateType.HOST, bob.address, 1, "1"))


def test_a_restart_of_ours_offers_everything_under_new_credentials() -> None:
    desk, bob = interrupted()
    before, offer = desk.user_agent.last("ring"), desk.user_agent.last("reinvite")
    assert ufrag(offer) != ufrag(before)
    assert "a=remote-candidates" not in offer
    assert f"{HERE.ip} {HERE.port} typ host" in offer
    assert len(desk.seen(events.CallInterrupted)) == 1
    bob.name, bob.address = "moved", Address("192.0.2.2", 6001)
    desk.reached()
    desk.hears(ReinviteAnswered("sip.1", bob.answers(offer)))
    desk.run(1)
    assert desk.reached() == {bob.address}
    assert not desk.call.ended


def test_when_both_restart_the_offer_that_comes_through_is_answered_with_what_ours_would_have_said() -> None:
    desk, bob = interrupted()
    ours = desk.user_agent.last("reinvite")
    bob.name = "moved"
    desk.hears(ReinviteReceived("sip.1", bob.offers()))
    assert desk.user_agent.words()[-2:] == ["withdraw", "answer"]
    assert ufrag(desk.user_agent.last("answer")) == ufrag(ours)
    desk.run(1)
    assert bob.address in desk.reached()
    assert desk.user_agent.words().count("reinvite") == 1


def test_a_settling_offer_that_crosses_our_restart_is_told_to_wait() -> None:
    desk, bob = interrupted()
    desk.hears(ReinviteReceived("sip.1", bob.offers(remote=((1, HERE),))))
    assert desk.user_agent.said[-1] == ("reject reinvite", 491)


def asked_for_an_offer() -> tuple[Desk, End]:
    desk, bob = calling(), End("bob", 5001)
    desk.hears(Answered("sip.1", bob.answers(desk.user_agent.last("invite")), "b"))
    desk.run(1)
    desk.hears(ReinviteReceived("sip.1", None))
    desk.run(0.5)
    return desk, bob


def test_who_asks_for_an_offer_gets_one_in_the_answer() -> None:
    desk, _ = asked_for_an_offer()
    assert desk.user_agent.words().count("answer") == 1
    assert "reinvite" not in desk.user_agent.words()
    assert ufrag(desk.user_agent.last("answer")) != ufrag(desk.user_agent.last("invite"))
    desk.hears(ReinviteReceived("sip.1", None))
    assert desk.user_agent.said[-1] == ("reject reinvite", 491)
    carol = End("carol", 5002)
    desk.reached()
    desk.hears(ReinviteAnswered("sip.1", carol.answers(desk.user_agent.last("answer"))))
    desk.run(1)
    assert carol.address in desk.reached(), "whoever answers is talked to"
    assert not desk.call.ended


@pytest.mark.parametrize(
    "happening",
    [
        ReinviteAnswered("sip.1", None),
        ReinviteAnswered("sip.1", b"rubbish"),
        ReinviteFailed("sip.1", 503, "the connection is gone"),
    ],
)
def test_an_offer_that_was_asked_for_and_is_not_answered_is_made_again(happening: object) -> None:
    """Our end has restarted ICE, so theirs has to hear of it."""
    desk, _ = asked_for_an_offer()
    desk.hears(happening)
    desk.run(2)
    assert desk.user_agent.words().count("reinvite") == 1
    assert ufrag(desk.user_agent.last("reinvite")) != ufrag(desk.user_agent.last("answer"))


def test_who_answers_it_without_a_restart_is_asked_to() -> None:
    desk, bob = asked_for_an_offer()
    desk.hears(ReinviteAnswered("sip.1", bob.answers(desk.user_agent.last("answer"))))
    desk.run(2)
    assert desk.user_agent.words().count("reinvite") == 1


@pytest.mark.parametrize("incoming", [True, False])
def test_a_restart_that_fails_on_its_way_is_tried_again(incoming: bool) -> None:
    desk, _ = interrupted(incoming=incoming)
    first = desk.user_agent.last("reinvite")
    desk.hears(ReinviteFailed("sip.1", 503, "the connection is gone"))
    desk.run(1.5)
    assert desk.user_agent.words().count("reinvite") == 2
    assert ufrag(desk.user_agent.last("reinvite")) != ufrag(first)


def test_whoever_refuses_a_restart_is_not_asked_again_and_the_call_ends_with_the_cause() -> None:
    desk, _ = interrupted()
    desk.hears(ReinviteFailed("sip.1", 488, "Not Acceptable Here"))
    desk.run(60)
    assert desk.user_agent.words().count("reinvite") == 1
    assert desk.call.end_reason == "the interface is gone, and no other way was found in 30 s"


def test_an_answer_that_does_not_restart_is_no_answer() -> None:
    desk, bob = interrupted()
    desk.hears(ReinviteAnswered("sip.1", bob.answers(desk.user_agent.last("reinvite"))))
    assert any("without restarting" in note.text for note in desk.seen(Note) if isinstance(note, Note))
    desk.run(60)
    assert "no other way was found" in desk.call.end_reason


def test_an_answer_to_a_restart_that_makes_no_sense_is_followed_by_another_attempt() -> None:
    desk, _ = interrupted()
    desk.hears(ReinviteAnswered("sip.1", b"rubbish"))
    desk.run(1.5)
    assert desk.user_agent.words().count("reinvite") == 2


def test_a_path_lost_while_it_rings_waits_for_the_answer() -> None:
    desk, bob = calling(), End("bob", 5001)
    offer = desk.user_agent.last("invite")
    desk.hears(Provisional("sip.1", 183, bob.answers(offer), True, "b"))
    desk.call._keeper.usable(path_to(bob), desk.now)
    desk.call._keeper.lost("the interface is gone", desk.now, ours=True)
    desk.run(2)
    assert "reinvite" not in desk.user_agent.words()
    desk.hears(Answered("sip.1", None, "b"))
    desk.run(0.1)
    assert desk.user_agent.words().count("reinvite") == 1
