"""Calls that come in: ringing, PRACK, picking up, turning down."""

from __future__ import annotations

from iceway.core.address import Transport
from iceway.core.machine import DatagramReceived, SendDatagram
from iceway.sip.dialog import Dialog
from iceway.sip.endpoint import Target
from iceway.sip.useragent import Answered, Confirmed, Ended, Provisional, ProvisionalAcknowledged
from iceway.trace.records import CallState, SipReceived
from iceway.wire.sip import Headers, Request, Response, parse_message
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


def test_several_reliable_responses_go_out_one_at_a_time() -> None:
    phones = Phones()
    phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now, ANSWER)
    phones.bob.ring(phones.bobs, phones.net.now, ANSWER)
    phones.net.settle()
    assert phones.b.said() == ["183"]
    phones.run()
    assert phones.b.said() == ["183", "200", "183", "200"]
    assert [event.reliable for event in phones.a.seen(Provisional)] == [True, True]


def test_a_call_cancelled_while_the_answer_waits_for_its_prack() -> None:
    phones = Phones()
    call = phones.calls()
    lost = iter([True])
    phones.net.loses = lambda packet: packet.data.startswith(b"PRACK") and next(lost, False)
    phones.bob.ring(phones.bobs, phones.net.now, ANSWER)
    phones.bob.accept(phones.bobs, ANSWER, phones.net.now)
    phones.bob.ring(phones.bobs, phones.net.now)  # too late: it is being picked up
    phones.run(0.1)
    phones.alice.cancel(call, phones.net.now)
    phones.run(60)
    assert [event.status for event in phones.b.seen(Ended)] == [487]
    assert [event.status for event in phones.a.seen(Ended)] == [487]
    assert "481" in phones.b.said(), "to the PRACK that came when all was over"
    assert not phones.a.seen(Answered)


def test_an_incoming_call_nobody_picks_up() -> None:
    phones = Phones()
    phones.bob._switch.answer_timeout = 10.0
    phones.calls()
    phones.run(11)
    assert [event.reason for event in phones.b.seen(Ended)] == ["not answered in 10 s"]
    assert [event.status for event in phones.a.seen(Ended)] == [480]


def test_hanging_up_fits_every_phase() -> None:
    phones = Phones()
    phones.calls()
    phones.bob.hang_up(phones.bobs, phones.net.now, "busy elsewhere")
    phones.run()
    assert [event.reason for event in phones.a.seen(Ended)] == ["603 busy elsewhere"]
    phones.bob.hang_up(phones.bobs, phones.net.now)
    call = phones.calls()
    phones.alice.hang_up(call, phones.net.now)
    phones.run(1)
    assert [event.status for event in phones.a.seen(Ended)] == [603, 487]


def test_an_offer_in_a_reliable_183_is_answered_in_its_prack() -> None:
    phones = Phones()
    phones.alice.endpoint.open_flow(Target(BOB, Transport.UDP), phones.net.now)
    invite = Request(
        "INVITE",
        "sip:bob@example.test",
        headers=Headers.of(
            ("Max-Forwards", "70"),
            ("From", "<sip:alice@example.test>;tag=a"),
            ("To", "<sip:bob@example.test>"),
            ("Call-ID", "offerless"),
            ("CSeq", "1 INVITE"),
            ("Contact", "<sip:alice@192.0.2.1>"),
            ("Supported", "100rel"),
        ),
    )
    phones.alice.endpoint.request(invite, Target(BOB, Transport.UDP), phones.net.now)
    phones.run()
    phones.bob.ring(phones.bobs, phones.net.now, OFFER)
    phones.run()
    progress = next(
        message
        for r in phones.a.seen(SipReceived)
        if (message := parse_message(r.text.encode())).headers.get("RSeq") is not None
    )
    assert isinstance(progress, Response)
    dialog = Dialog.from_response(invite, progress, None)
    prack = dialog.request("PRACK").with_header("RAck", f"{progress.rseq} 1 INVITE")
    prack = prack.with_body(ANSWER, "application/sdp")
    phones.alice.endpoint.request(prack, Target(BOB, Transport.UDP), phones.net.now)
    phones.run()
    assert phones.b.seen(ProvisionalAcknowledged) == [ProvisionalAcknowledged(phones.bobs, ANSWER)]
    phones.bob.accept(phones.bobs, OFFER, phones.net.now)
    phones.run()
    ack = dialog.request("ACK", 1)
    phones.alice.endpoint.send_ack(ack, Target(BOB, Transport.UDP), phones.net.now)
    phones.run()
    assert phones.b.seen(Confirmed) == [Confirmed(phones.bobs, None)], "nothing was left to answer"


def test_a_further_offer_in_a_prack_is_not_taken() -> None:
    phones = Phones()
    phones.net.loses = lambda packet: packet.data.startswith(b"PRACK")
    call = phones.calls()
    phones.bob.ring(phones.bobs, phones.net.now, ANSWER)
    phones.run()
    phones.net.loses = lambda packet: False
    (dialog,) = phones.alice._calls[call].dialogs
    progress = parse_message(phones.a.seen(SipReceived)[-1].text.encode())
    prack = dialog.request("PRACK").with_header("RAck", f"{progress.rseq} {progress.cseq.number} INVITE")
    prack = prack.with_body(b"another offer", "application/sdp")
    phones.alice.endpoint.request(prack, Target(BOB, Transport.UDP), phones.net.now)
    phones.run()
    assert "488" in phones.b.said()
