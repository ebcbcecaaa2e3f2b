from __future__ import annotations

from iceway.core.address import Address
from iceway.explain.model import PathClass
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CallState,
    CandidateGathered,
    Note,
    PairChecked,
    Record,
    SipAuthenticationFailed,
    SipReceived,
    StunSent,
)
from iceway.tui.story import MAX_CALL_RECORDS, MAX_CALLS, MAX_LINES, Story
from tests.tui.fakes import ALICE, BOB, CAROL, FakeCall, FakeClient, host


class Told:
    """A story, told record by record."""

    def __init__(self) -> None:
        self.story = Story()
        self.count = 0

    def hears(self, *records: Record) -> list[str]:
        for record in records:
            self.count += 1
            self.story.hear(Entry(self.count, float(self.count), "alice", record))
        before = self.story.count
        self.story.tell()
        new = self.story.count - before
        return [line.text for line in list(self.story.lines)[-new:]] if new else []


def invite(call_id: str, caller: str) -> SipReceived:
    here = Address("192.0.2.1", 5061)
    return SipReceived(
        "tls", here, here, "INVITE sip:alice SIP/2.0", call_id, "1 INVITE", f"From: <{caller}>;tag=1\r\n"
    )


def test_what_happens_is_told_in_the_words_of_explanations() -> None:
    told = Told()
    assert told.hears(CallState("1", "trying", ALICE, BOB)) == ["Alice starts a call to Bob"]
    assert told.hears(CallState("1", "confirmed", ALICE, BOB)) == ["Alice is in the call with Bob"]
    assert [line.mood for line in told.story.lines] == ["", "good"]


def test_who_called_whom_is_told_call_by_call() -> None:
    told = Told()
    told.hears(CallState("1", "trying", ALICE, BOB))
    told.hears(invite("2", CAROL))
    assert told.hears(CallState("2", "trying", ALICE, CAROL)) == ["Alice is being called by Carol"]
    assert told.hears(CallState("1", "trying", ALICE, BOB)) == ["Alice starts a call to Bob"]


def test_packets_are_no_lines() -> None:
    told = Told()
    here = Address("192.0.2.1", 3478)
    assert told.hears(StunSent("udp", here, here, "Binding", "request", "0" * 24)) == []
    assert told.hears(PairChecked("call.1/ice", 1, 1, "ordinary")) == []


def test_everything_is_bounded() -> None:
    told = Told()
    told.hears(*(Note("info", "x") for _ in range(MAX_LINES + 10)))
    told.hears(*(PairChecked("call.1/ice", 1, 1, "ordinary") for _ in range(MAX_CALL_RECORDS + 10)))
    for number in range(MAX_CALLS + 5):
        told.hears(CandidateGathered(f"call.{number}/ice", host("192.0.2.1")))
    assert len(told.story.lines) == MAX_LINES
    assert told.story.path("call.1") is None  # the oldest made way
    assert told.story.path(f"call.{MAX_CALLS + 4}") is not None


def test_the_path_of_a_call_is_what_its_ice_found() -> None:
    told = Told()
    client = FakeClient(desk=None)  # type: ignore[arg-type]
    records: list[Record] = []
    client.records = lambda *found, node="alice": records.extend(found)  # type: ignore[method-assign]
    from tests.tui.fakes import finds_a_path

    finds_a_path(client, FakeCall("call.7", BOB, None))
    assert told.story.path("call.7") is None
    assert told.story.size("call.7") == 0
    told.hears(*records)
    one = told.story.path("call.7")
    assert one is not None
    assert one.path is PathClass.RELAY_UDP
    assert one is told.story.path("call.7")  # looked at again, found once
    assert told.story.path("call.8") is None


def test_a_wrong_password_and_a_ringing_phone_are_known() -> None:
    told = Told()
    told.hears(SipAuthenticationFailed("alice", None, "wrong password"))
    assert told.story.wrong_password
    told.hears(CallState("1", "trying", ALICE, BOB), CallState("1", "ringing", ALICE, BOB))
    assert told.story.ringing == {BOB}
    told.hears(CallState("1", "ended", ALICE, BOB))
    assert not told.story.ringing


def test_words_of_strangers_do_nothing_to_the_terminal() -> None:
    told = Told()
    told.story.say("bob\x1b[2J says")
    lines = told.hears(CallState("1", "failed", ALICE, "sip:\x1b]0;x\x07@example.test", "486 \x1b[1A"))
    assert not {"\x1b", "\x07"} & set("".join(lines) + told.story.lines[0].text)
