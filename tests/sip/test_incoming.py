"""Calls that come in: ringing, PRACK, picking up, turning down."""

from __future__ import annotations

from iceway.core.address import Transport
from iceway.core.machine import DatagramReceived, SendDatagram
from iceway.sip.useragent import (
    Answered,
    Ended,
    Provisional,
    ProvisionalAcknowledged,
)
from iceway.trace.records import CallState, SipReceived
from tests.sip.phones import ALICE, ANSWER, BOB, OFFER, Phones, both_transports


@both_transports
def test_early_answer_reliably_with_prack(transport: Transport) -> None:
    phones = Phones(transport)
    call = phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now, ANSWER)
    phones.run()
    (progress,) = phones.a.seen(Provisional)
    assert (progress.status, progress.sdp, progress.reliable) == (183, ANSWER, True)
    assert phones.b.seen(ProvisionalAcknowledged) == [ProvisionalAcknowledged(phones.bobs)]
    phones.bob.accept(phones.bobs, b"", phones.net.now)
    phones.run(5)
    assert phones.a.seen(Answered) == [Answered(call, None, progress.branch)], "the answer was in the 183"
    assert phones.a.said() == ["INVITE", "PRACK", "ACK"]
    assert phones.b.said() == ["183", "200", "200"]
    assert [r.state for r in phones.a.seen(CallState)] == ["trying", "early", "confirmed"]


def test_a_lost_183_is_repeated_until_its_prack_and_heard_once() -> None:
    phones = Phones()
    lost = {"183": 2, "PRACK": 1}

    def loses(packet: SendDatagram) -> bool:
        for word in lost:
            if word.encode() in packet.data.split(b"\r\n")[0] and lost[word] > 0:
                lost[word] -= 1
                return True
        return False

    phones.net.loses = loses
    phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now, ANSWER)
    phones.run(10)
    assert len(phones.a.seen(Provisional)) == 1
    assert len(phones.b.seen(ProvisionalAcknowledged)) == 1
    assert phones.b.said().count("183") >= 3


def test_picking_up_waits_for_the_prack_of_an_answer() -> None:
    phones = Phones()
    phones.calls()
    lossy = iter([True, False])
    phones.net.loses = lambda packet: b" 183 " in packet.data[:20] and next(lossy, False)
    phones.bob.ring(phones.bobs, phones.net.now, ANSWER)
    phones.bob.accept(phones.bobs, ANSWER, phones.net.now)
    phones.run(0.3)
    assert phones.b.said() == ["183"]
    phones.run(5)
    assert phones.b.said() == ["183", "183", "200", "200"]
    assert len(phones.a.seen(Answered)) == 1


def test_a_183_never_acknowledged_gives_the_call_up() -> None:
    phones = Phones()
    phones.net.loses = lambda packet: packet.data.startswith(b"PRACK")
    phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now, ANSWER)
    phones.run(60)
    assert [event.reason for event in phones.b.seen(Ended)] == ["no PRACK for our 183 in 32 s"]
    assert [event.status for event in phones.a.seen(Ended)] == [504]


def test_a_caller_without_100rel_gets_an_unreliable_183() -> None:
    phones = Phones()
    phones.net.loses = lambda packet: False
    phones.calls(None)  # without an offer we do not claim 100rel
    phones.bob.ring(phones.bobs, phones.net.now, OFFER)
    phones.run()
    assert [event.reliable for event in phones.a.seen(Provisional)] == [False]
    assert "PRACK" not in phones.a.said()


def test_a_stray_prack_is_answered_481() -> None:
    phones = Phones()
    phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now, ANSWER)
    phones.run()
    prack = next(r.text for r in phones.b.seen(SipReceived) if r.start_line.startswith("PRACK"))
    again = prack.replace("branch=z9hG4bK", "branch=z9hG4bKother").replace("RAck: ", "RAck: 9")
    phones.bob.handle_input(DatagramReceived(BOB, ALICE, again.encode()), phones.net.now)
    phones.run()
    assert phones.b.said()[-1] == "481"


@both_transports
def test_a_rejected_call(transport: Transport) -> None:
    phones = Phones(transport)
    call = phones.calls()
    phones.bob.reject(phones.bobs, 486, phones.net.now)
    phones.run()
    assert phones.a.seen(Ended) == [Ended(call, "486 Busy Here", 486, False)]
    assert phones.a.seen(CallState)[-1].state == "failed"
    phones.bob.accept(phones.bobs, ANSWER, phones.net.now)  # crosses the end: nothing happens
    phones.run()
    assert phones.b.said() == ["486"]


def test_a_connection_lost_while_ringing_ends_the_call_at_both_ends() -> None:
    phones = Phones(Transport.TCP)
    phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now)
    phones.run()
    phones.net.break_streams("alice")
    assert [event.reason for event in phones.a.seen(Ended)] == ["connection reset"]
    assert [event.reason for event in phones.b.seen(Ended)] == ["the caller is gone: connection reset"]
