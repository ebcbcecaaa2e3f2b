"""INFO with packages (RFC 6086): before and after the answer, both ways, and what is refused."""

from __future__ import annotations

import pytest

from iceway.sip.useragent import InfoAnswered, InfoReceived, Provisional
from iceway.trace.records import SipSent
from tests.sip.phones import ANSWER, OFFER, Phones

PACKAGES = {"info_packages": ("trickle-ice",), "option_tags": ("trickle-ice",)}


def phones() -> Phones:
    return Phones(**PACKAGES)  # type: ignore[arg-type]


def test_the_called_one_may_inform_once_the_caller_knows_the_dialog() -> None:
    pair = phones()
    call = pair.calls()
    assert pair.bob.takes_info(pair.bobs, "trickle-ice")
    assert not pair.bob.takes_info(pair.bobs, "dtmf")
    pair.bob.inform(pair.bobs, "trickle-ice", "text/plain", b"first", pair.net.now)
    pair.run()
    assert not pair.a.seen(InfoReceived), "nothing says yet that the caller knows bob's tag"
    pair.bob.ring(pair.bobs, pair.net.now, ANSWER)
    pair.run()
    assert pair.a.seen(InfoReceived) == [InfoReceived(call, "trickle-ice", "text/plain", b"first")]
    assert pair.b.seen(InfoAnswered) == [InfoAnswered(pair.bobs, 200, "OK")]


def test_the_caller_may_inform_in_the_early_dialog() -> None:
    pair = phones()
    call = pair.calls()
    assert not pair.alice.takes_info(call, "trickle-ice")
    pair.bob.ring(pair.bobs, pair.net.now, ANSWER)
    pair.run()
    (progress,) = pair.a.seen(Provisional)
    assert not pair.alice.takes_info(call, "trickle-ice", "another branch")
    assert pair.alice.takes_info(call, "trickle-ice", progress.branch)
    pair.alice.inform(call, "trickle-ice", "text/plain", b"more", pair.net.now, progress.branch)
    pair.run()
    (heard,) = pair.b.seen(InfoReceived)
    assert (heard.call, heard.body) == (pair.bobs, b"more")
    (sent,) = (record.text for record in pair.a.seen(SipSent) if record.text.startswith("INFO"))
    assert "\r\nInfo-Package: trickle-ice\r\n" in sent
    assert "\r\nContent-Disposition: Info-Package\r\n" in sent


def test_both_inform_during_the_call() -> None:
    pair = phones()
    call = pair.answered()
    pair.alice.inform(call, "trickle-ice", "text/plain", b"to bob", pair.net.now)
    pair.bob.inform(pair.bobs, "trickle-ice", "text/plain", b"to alice", pair.net.now)
    pair.run()
    assert [heard.body for heard in pair.b.seen(InfoReceived)] == [b"to bob"]
    assert [heard.body for heard in pair.a.seen(InfoReceived)] == [b"to alice"]


def test_picked_up_at_once_it_waits_for_the_ack() -> None:
    pair = phones()
    pair.calls()
    pair.bob.inform(pair.bobs, "trickle-ice", "text/plain", b"first", pair.net.now)
    pair.bob.accept(pair.bobs, ANSWER, pair.net.now)
    pair.run()
    assert [heard.body for heard in pair.a.seen(InfoReceived)] == [b"first"]


def test_whoever_names_no_packages_takes_none_and_says_so() -> None:
    pair = Phones()
    call = pair.answered()
    assert not pair.alice.takes_info(call, "trickle-ice")
    pair.alice.inform(call, "trickle-ice", "text/plain", b"all the same", pair.net.now)
    pair.run()
    assert not pair.b.seen(InfoReceived)
    assert [answer.status for answer in pair.a.seen(InfoAnswered)] == [469]


@pytest.mark.parametrize(("body", "status"), [(b"", 200), (b"Signal=5", 415)])
def test_info_as_it_was_before_packages(body: bytes, status: int) -> None:
    pair = phones()
    call = pair.answered()
    pair.alice.inform(call, "", "application/dtmf-relay", body, pair.net.now)
    pair.run()
    assert not pair.b.seen(InfoReceived)
    assert [answer.status for answer in pair.a.seen(InfoAnswered)] == [status]


def test_a_call_that_is_over_takes_nothing_more() -> None:
    pair = phones()
    call = pair.answered()
    pair.bob.bye(pair.bobs, pair.net.now)
    pair.run()
    assert not pair.alice.takes_info(call, "trickle-ice")
    pair.alice.inform(call, "trickle-ice", "text/plain", b"too late", pair.net.now)
    pair.run()
    assert "INFO" not in pair.a.said()


def test_an_option_that_the_owner_understands_may_be_required() -> None:
    pair = phones()
    pair.alice.invite("sip:bob@example.test", OFFER, pair.net.now, (("Require", "trickle-ice"),))
    pair.run()
    assert "420" not in pair.b.said()


def test_types_without_a_package_are_taken_by_whoever_says_so() -> None:
    pair = Phones(info_types=("application/dtmf-relay",))  # type: ignore[arg-type]
    call = pair.answered()
    pair.alice.inform(call, "", "application/DTMF-relay; charset=x", b"Signal=5", pair.net.now)
    pair.alice.inform(call, "", "text/plain", b"Signal=5", pair.net.now)
    pair.run()
    assert pair.b.seen(InfoReceived) == [InfoReceived(pair.bobs, "", "application/dtmf-relay", b"Signal=5")]
    assert sorted(answer.status for answer in pair.a.seen(InfoAnswered)) == [200, 415]
