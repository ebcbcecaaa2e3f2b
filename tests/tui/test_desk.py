"""The phone without a screen: what it asks of the client, and what it holds for whoever shows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from iceway.client import events
from iceway.client.run import RegistrationFailed
from iceway.core.errors import EnvironmentFailure, UsageError
from iceway.ice.events import CandidatePath
from iceway.trace.records import CallState, SipAuthenticationFailed
from iceway.tui.card import Card, state_of
from iceway.tui.contacts import Contact
from iceway.tui.desk import Desk
from tests.tui.fakes import ALICE, BOB, CAROL, FakeCall, FakeClient, desk, until

Scene = Callable[[Desk, list[FakeClient]], Coroutine[Any, Any, None]]


async def settled() -> None:
    """Everything that can happen now has."""
    for _ in range(20):
        await asyncio.sleep(0)


def on(tmp_path: Path, scene: Scene, *refusals: str) -> Desk:
    """A desk at work, until the scene is over."""
    one, clients = desk(tmp_path, *refusals)

    async def live() -> None:
        running = asyncio.create_task(one.run())
        await until(lambda: one.line.state != "connecting")
        try:
            await scene(one, clients)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await one.leave()
            await settled()

    asyncio.run(live())
    return one


async def talking(one: Desk, clients: list[FakeClient], peer: str = BOB) -> Card:
    card = await one.call(peer)
    clients[0].calls[-1].is_answered()
    await settled()
    return card


def test_a_call_goes_from_dialling_to_its_place_among_the_recent(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        card = await one.call("bob")
        live = clients[0].calls[0]
        assert live.peer == BOB
        assert one.chosen is card
        assert state_of(card, one.story) == "calling"
        clients[0].records(CallState("1", "ringing", ALICE, BOB))
        assert state_of(card, one.story) == "ringing"
        live.is_answered()
        await settled()
        assert state_of(card, one.story) == "talking"
        one.clock.now += 42  # type: ignore[attr-defined]
        live.ends("they hung up")
        await settled()
        assert state_of(card, one.story) == "over"
        (recent,) = one.book.recent
        assert (recent.address, recent.answered, recent.seconds, recent.reason) == (
            BOB,
            True,
            42.0,
            "they hung up",
        )
        one.dismiss(card)
        assert one.cards == []
        assert one.chosen is None

    on(tmp_path, scene)


def test_whoever_is_typed_is_called(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        one.book.put(Contact("Bobby Tables", "sip:bob@other.test"))
        assert one.address("bobby tables") == "sip:bob@other.test"
        assert one.address("bob") == BOB
        assert one.address("bob@other.test") == "sip:bob@other.test"
        assert one.address(" sips:bob@other.test ") == "sips:bob@other.test"
        with pytest.raises(UsageError, match="nobody to call"):
            await one.call("  ")

    on(tmp_path, scene)


def test_a_call_that_comes_in_is_answered_and_the_other_one_held(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        first = await talking(one, clients)
        live = clients[0].rings(CAROL, waiting=True)
        await settled()
        card = one.cards[1]
        assert card.rings
        assert state_of(card, one.story) == "waiting"
        assert one.chosen is first  # who talks is not disturbed
        one.answer(card)
        await settled()
        assert live.asked == ["take"]
        assert one.chosen is card
        live.hang_up()
        await settled()
        assert one.chosen is first

    on(tmp_path, scene)


def test_declining_and_giving_up_say_so_to_the_other_side(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        for deed, said in ((one.decline, "refuse 603"), (one.hang_up, "refuse 486")):
            live = clients[0].rings(CAROL)
            await settled()
            deed(one.cards[-1])
            await settled()
            assert live.asked == [said]
        assert [recent.answered for recent in one.book.recent] == [False, False]
        card = await one.call("bob")
        one.hang_up(card)
        assert clients[0].calls[-1].asked == ["hang up"]

    on(tmp_path, scene)


def test_each_of_two_calls_of_one_caller_has_its_own_sound(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        gone = one.attend(CAROL)  # a call that never came to ringing
        gone.sink.close()
        calls = [clients[0].rings(CAROL), clients[0].rings(CAROL)]
        await settled()
        assert [card.voice for card in one.cards] == [live.media for live in calls]

    on(tmp_path, scene)


def test_mute_hold_and_keys(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        card = await one.call("bob")
        with pytest.raises(UsageError, match="not answered yet"):
            one.hold(card)
        live = clients[0].calls[0]
        live.is_answered()
        await settled()
        one.mute(card)
        one.mute(card)
        one.hold(card)
        assert state_of(card, one.story) == "on hold"
        live.held_there = True
        assert state_of(card, one.story) == "both hold"
        one.hold(card)
        assert state_of(card, one.story) == "held by them"
        one.press(card, "5")
        assert card.keys_sent == "5"
        one.news(live, events.CallDigit("call.1", "#", 0.1))  # type: ignore[arg-type]
        assert card.keys_heard == "#"
        assert live.asked == ["mute True", "mute False", "hold", "resume", "keys 5"]

    on(tmp_path, scene)


def test_one_talks_with_one_at_a_time(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        bob = await talking(one, clients)
        carol = await talking(one, clients, CAROL)
        assert bob.live.held_here
        one.hold(carol)
        one.hold(bob)
        assert not bob.live.held_here
        assert carol.live.held_here
        one.choose(carol)
        one.hold(carol)
        assert bob.live.held_here

    on(tmp_path, scene)


def test_a_recording_goes_where_recordings_go(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        one.book.put(Contact("Bob/../../x", BOB))
        card = await talking(one, clients)
        one.record(card)
        clients[0].calls[0].talks(1000)
        one.record(card)
        assert card.voice.recording is None
        (file,) = (tmp_path / "recordings").iterdir()
        assert file.stat().st_size == 44 + 1920

    on(tmp_path, scene)


def test_a_recording_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        card = await talking(one, clients)
        (tmp_path / "recordings").write_text("a file")
        with pytest.raises((EnvironmentFailure, Exception), match="cannot be made"):
            one.record(card)

    on(tmp_path, scene)


def test_what_befalls_a_call_is_on_its_card(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        card = await talking(one, clients)
        live: Any = clients[0].calls[0]
        one.news(live, events.CallPathless("call.1", 8.0, "3 pairs"))
        assert card.trouble == "no path after 8 s: 3 pairs"
        one.news(live, events.CallInterrupted("call.1", "silence\x1b"))
        assert state_of(card, one.story) == "path lost"
        assert "\x1b" not in card.trouble
        path: Any = CandidatePath
        one.news(live, events.CallRestored("call.1", path))
        assert state_of(card, one.story) == "talking"
        assert card.trouble == ""
        one.news(live, events.CallKeyless("call.1", "no DTLS"))
        assert "no sound: no DTLS" in card.trouble
        stranger: Any = FakeCall("call.9", BOB, None)
        one.news(stranger, events.CallKeyless("call.9", "x"))

    on(tmp_path, scene)


def test_transfers_are_told_and_fail_with_their_reason(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        card = await talking(one, clients)
        live: Any = clients[0].calls[0]
        one.transfer(card, "sip:erin@other.test")
        assert live.asked[-1] == "transfer sip:erin@other.test"
        one.news(live, events.TransferProgress("call.1", 180, "Ringing"))
        one.news(live, events.TransferFailed("call.1", 486, "Busy\x1b"))
        assert card.trouble == "not transferred: 486 Busy␛"
        live.is_transferred()
        await settled()
        assert not card.transferring
        one.news(live, events.CallTransferred("call.1", "sip:erin@other.test"))
        assert "talks with sip:erin@other.test now" in one.story.lines[-1].text

    on(tmp_path, scene)


def test_who_is_passed_on_to_us_takes_the_place_of_the_other_with_the_same_sound(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        bob = await talking(one, clients)
        successor: Any = FakeCall("call.2", CAROL, clients[0].calls[0].media)
        one.news(successor, events.SuccessorBegun("call.2", "call.1", CAROL))
        carol = one.cards[1]
        assert one.chosen is bob  # until she answers
        assert carol.voice is bob.voice
        successor.is_answered()
        one.news(successor, events.SuccessorInPlace("call.2", "call.1"))
        await settled()
        assert one.chosen is carol
        assert state_of(carol, one.story) == "talking"
        successor.ends("over")

    on(tmp_path, scene)


def test_pictures_of_ours_begin_anew_with_a_stream_both_ways(tmp_path: Path) -> None:
    """What the caller shows is only watched, until we show something, too."""

    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        live: Any = clients[0].rings(BOB)
        await settled()
        card = one.cards[0]
        one.answer(card)
        live.streams = ("audio", "video")
        assert live.pictures["video"].source is None
        dropped = live.drop

        def agreed_later(kind: str) -> None:
            dropped(kind)
            live.streams = ("audio", "video")  # the other side has not agreed yet

        live.drop = agreed_later
        one.show(card, "video")
        await until(lambda: "drop video" in live.asked)
        await settled()
        assert "add video" not in live.asked
        live.streams = ("audio",)
        one.news(live, events.CallStreams("call.1", live.streams))
        await until(lambda: "add video" in live.asked)
        await settled()
        assert live.pictures["video"].source is card.gear.watched["video"].shows
        assert card.shows == {"video"}

    on(tmp_path, scene)


def test_a_camera_that_is_not_there_is_said_on_the_card(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        card = await talking(one, clients)

        def missing(kind: str, watched: object) -> Any:
            raise EnvironmentFailure("there is no camera /dev/video0", "Plug one in.")

        one.options.pictures = missing
        one.show(card, "video")
        await until(lambda: card.trouble)
        assert card.trouble == "there is no camera /dev/video0. Plug one in."
        assert card.shows == set()

    on(tmp_path, scene)


# --- the line -------------------------------------------------------------------------------------------
def test_a_server_that_cannot_be_reached_is_tried_again(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        assert one.line.state == "down"
        assert one.line.reason == "connection refused"
        assert one.line.advice
        await until(lambda: one.line.retry_at)
        with pytest.raises(UsageError, match="not registered"):
            await one.call("bob")
        one.retry()
        await until(lambda: one.line.state == "registered")
        assert [client.asked for client in clients] == [["start"], ["start"]]

    on(tmp_path, scene, "connection refused")


def test_a_wrong_password_is_not_tried_again_by_itself(tmp_path: Path) -> None:
    """Front ends lock out whoever guesses."""

    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        one.retry()
        await until(lambda: len(clients) == 2 and one.line.state == "registered")
        clients[1].records(SipAuthenticationFailed("alice", None, "wrong password"))
        clients[1].waiting.put_nowait(RegistrationFailed("403"))
        await until(lambda: one.line.state == "down")
        await settled()
        assert one.line.retry_at is None

    on(tmp_path, scene, "no answer")


def test_it_is_known_by_which_way_one_came_in_and_what_is_missing(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        connect: Any = one._connect

        def from_outside(desk: Desk) -> Any:
            client = connect(desk)
            client.ready = events.Ready(outside=True, relay_trouble="the front end names no relay service")
            return client

        one._connect = from_outside
        clients[0].waiting.put_nowait(RegistrationFailed("gone"))
        await until(lambda: one.line.retry_at)
        one.retry()
        await until(lambda: one.line.state == "registered")
        assert one.line.reason == "through the edge"
        assert one.story.lines[-1].text == (
            "calls have no relay to fall back on: the front end names no relay service"
        )

    on(tmp_path, scene)


def test_a_lost_registration_is_shown_and_comes_back(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        one.registration("the connection was closed")
        assert (one.line.state, one.line.reason) == ("lost", "the connection was closed")
        one.registration(None)
        assert one.line.state == "registered"

    on(tmp_path, scene)


def test_who_wants_quiet_has_it_on_every_registration(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        one.disturb(True)
        clients[0].waiting.put_nowait(RegistrationFailed("gone"))
        await until(lambda: one.line.retry_at)
        one.retry()
        await until(lambda: len(clients) == 2 and one.line.state == "registered")
        assert "quiet True" in clients[0].asked
        assert "quiet True" in clients[1].asked
        one.disturb(False)
        assert clients[1].asked[-1] == "quiet False"

    on(tmp_path, scene)


def test_leaving_hangs_up_and_signs_off_once(tmp_path: Path) -> None:
    async def scene(one: Desk, clients: list[FakeClient]) -> None:
        await talking(one, clients)
        await one.leave()
        await one.leave()
        assert clients[0].asked == ["start", "stop"]
        assert clients[0].calls[0].end_reason == "hung up here"

    on(tmp_path, scene)
