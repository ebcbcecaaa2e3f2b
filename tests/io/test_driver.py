from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import pytest

from iceway.core.address import Address
from iceway.core.errors import UsageError
from iceway.core.machine import (
    AddressesChanged,
    Answer,
    ClockSet,
    Connect,
    DatagramReceived,
    Input,
    Listen,
    ListenerOpened,
    OpenUdp,
    Resolve,
    Resolved,
    SendDatagram,
    SendStream,
    StreamAccepted,
    StreamConnected,
    StreamReceived,
    UdpOpened,
)
from iceway.io import driver as driver_module
from iceway.io.driver import Driver
from iceway.io.recorder import Recorder
from iceway.trace.records import Note, Started
from tests.io.harness import LOOPS, Toy, driven, run

LOOPBACK = Address("127.0.0.1", 0)


# --- the beginning and the clock --------------------------------------------------------------------------
def test_a_machine_first_hears_the_time_and_its_addresses() -> None:
    async def conversation() -> None:
        toy = Toy()
        clock = {"monotonic": lambda: 100.0, "wall": lambda: 1_700_000_100.0}
        async with driven(toy, addresses=lambda: ("10.0.0.5", "fd00::5"), **clock):
            assert toy.heard == [ClockSet(1_700_000_000.0), AddressesChanged(("10.0.0.5", "fd00::5"))]

    run(conversation())


def test_a_wall_clock_that_jumps_and_a_network_that_changes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "TICK", 0.01)

    async def conversation() -> None:
        toy = Toy()
        skew = [0.0]
        ips: list[tuple[str, ...]] = [("10.0.0.5",)]
        async with driven(toy, wall=lambda: time.monotonic() + skew[0], addresses=lambda: ips[0]):
            assert len(toy.all(ClockSet)) == 1
            skew[0] = 600.0
            await toy.hears(ClockSet, 2)
            skew[0] = 600.2  # a step of NTP, not worth a word
            ips[0] = ("10.0.0.6",)
            await toy.hears(AddressesChanged, 2)
        assert [round(event.wall_offset) for event in toy.all(ClockSet)] == [0, 600]
        assert toy.all(AddressesChanged)[-1] == AddressesChanged(("10.0.0.6",))

    run(conversation())


def test_what_the_kernel_tells_is_looked_at_without_waiting_for_the_next_look() -> None:
    async def conversation() -> None:
        toy = Toy()
        ips: list[tuple[str, ...]] = [("10.0.0.5",)]
        told: list[Callable[[], None]] = []
        stopped: list[bool] = []

        def watch(loop: asyncio.AbstractEventLoop, changed: Callable[[], None]) -> Callable[[], None]:
            told.append(changed)
            return lambda: stopped.append(True)

        async with driven(toy, addresses=lambda: ips[0], watch=watch):
            told[0]()
            assert len(toy.all(AddressesChanged)) == 1, "nothing is different"
            ips[0] = ("10.0.0.6",)
            told[0]()
            assert toy.all(AddressesChanged)[-1] == AddressesChanged(("10.0.0.6",))
        assert stopped
        told[0]()

    run(conversation())


# --- timers -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("loop", LOOPS)
def test_the_timer_comes_when_it_is_wanted_and_never_early(loop: str) -> None:
    async def conversation() -> None:
        toy = Toy()
        async with driven(toy) as (driver,):
            for number, delay in enumerate((0.02, 0.0013, 0.0), 1):

                def arm(now: float, delay: float = delay) -> float:
                    toy.timeout = now + delay
                    return toy.timeout

                wanted = driver.call(arm)
                await toy.until(lambda number=number: len(toy.timeouts) == number)
                assert toy.timeouts[-1] >= wanted

    run(conversation(), loop)


def test_a_deadline_moved_closer_is_kept_and_one_moved_away_or_cancelled_does_not_fire() -> None:
    async def conversation() -> None:
        toy = Toy()
        async with driven(toy) as (driver,):

            def want(delay: float | None) -> None:
                def set_timeout(now: float) -> None:
                    toy.timeout = None if delay is None else now + delay

                driver.call(set_timeout)

            want(3600)
            want(0.005)
            await toy.until(lambda: toy.timeouts)
            want(0.005)
            want(0.03)
            start = driver.now()
            await toy.until(lambda: len(toy.timeouts) == 2)
            assert driver.now() - start >= 0.03
            want(0.001)
            want(None)
            waiting = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.01, waiting.set_result, None)
            await waiting
            assert len(toy.timeouts) == 2

    run(conversation())


# --- order ------------------------------------------------------------------------------------------------
def test_outputs_are_carried_out_in_order_even_when_handling_one_causes_more() -> None:
    """An event's handler gives a command; what that emits comes after what was queued before it."""
    seen: list[object] = []

    async def conversation() -> None:
        toy = Toy()

        def on_event(event: object, now: float) -> None:
            seen.append(event)
            if event == "first":
                driver.call(lambda now: toy.emit("caused by first"))
                seen.append("handler of first ends")

        driver = Driver(toy, on_event=on_event)
        async with driver:

            def say(now: float) -> None:
                for word in ("first", "second"):
                    toy.emit(word)

            driver.call(say)

    run(conversation())
    assert seen == ["first", "handler of first ends", "second", "caused by first"]


def test_a_socket_that_opens_at_once_is_told_after_the_queue_is_empty() -> None:
    async def conversation() -> None:
        toy = Toy()
        heard_at: list[int] = []
        driver = Driver(toy, on_event=lambda event, now: heard_at.append(len(toy.heard)))
        async with driver:

            def open_and_say(now: float) -> None:
                toy.emit(OpenUdp("u", LOOPBACK))
                toy.emit("still before UdpOpened")

            driver.call(open_and_say)
            assert heard_at == [2]  # the clock and the addresses
            assert isinstance(toy.heard[2], UdpOpened)

    run(conversation())


def test_a_command_returns_what_the_machine_returned_and_raises_what_it_raised() -> None:
    async def conversation() -> None:
        toy = Toy()
        async with driven(toy) as (driver,):
            assert driver.call(lambda now: now <= driver.now()) is True

            def misuse(now: float) -> None:
                raise UsageError("not registered yet")

            with pytest.raises(UsageError, match="not registered yet"):
                driver.call(misuse)

    run(conversation())


# --- records ----------------------------------------------------------------------------------------------
def test_records_are_stamped_with_time_and_node_and_events_go_to_the_program() -> None:
    async def conversation() -> None:
        toy, recorder, events = Toy(), Recorder(keep=True), []
        driver = Driver(
            toy,
            recorder=recorder,
            node="edge",
            on_event=lambda event, now: events.append((event, now)),
            monotonic=lambda: 7.5,
        )
        async with driver:

            def act(now: float) -> None:
                toy.emit(Started("edge", "0.1.0"))
                toy.emit("an event")

            driver.call(act)
        assert [(e.id, e.at, e.node, e.record) for e in recorder.entries] == [
            (1, 7.5, "edge", Started("edge", "0.1.0"))
        ]
        assert events == [("an event", 7.5)]

    run(conversation())


# --- bugs -------------------------------------------------------------------------------------------------
class Buggy(Toy):
    def handle_input(self, event: Input, now: float) -> None:
        super().handle_input(event, now)
        if isinstance(event, DatagramReceived) and event.data == b"crash":
            raise ZeroDivisionError("of this test")

    def handle_timeout(self, now: float) -> None:
        super().handle_timeout(now)
        self.timeout = now
        raise ZeroDivisionError("of this test")


def test_a_bug_in_a_machine_is_logged_and_recorded_and_the_next_datagram_is_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def conversation() -> None:
        toy, recorder = Buggy(), Recorder(keep=True)
        async with driven(toy, recorder=recorder, node="edge") as (driver,):
            driver.call(lambda now: toy.emit(OpenUdp("u", LOOPBACK)))
            local = (await toy.hears(UdpOpened)).local
            for word in (b"crash", b"fine"):
                driver.call(lambda now, word=word: toy.emit(SendDatagram(local, local, word)))
            assert (await toy.hears(DatagramReceived, 2)).data == b"fine"
        (note,) = [entry.record for entry in recorder.entries if isinstance(entry.record, Note)]
        assert note.level == "error"
        assert "DatagramReceived" in note.text

    with caplog.at_level(logging.ERROR, "iceway"):
        run(conversation())
    assert "ZeroDivisionError: of this test" in caplog.text


def test_a_machine_that_raises_at_its_timeout_is_not_woken_in_a_frenzy(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver_module, "_AFTER_A_BUG", 0.02)

    async def conversation() -> None:
        toy = Buggy()
        async with driven(toy) as (driver,):

            def arm(now: float) -> None:
                toy.timeout = now

            driver.call(arm)
            await toy.until(lambda: len(toy.timeouts) == 3)
        gaps = [b - a for a, b in zip(toy.timeouts, toy.timeouts[1:], strict=False)]
        assert min(gaps) >= 0.02

    with caplog.at_level(logging.CRITICAL, "iceway"):
        run(conversation())


class Broken(Toy):
    """Raises where a driver asks rather than tells."""

    broken = False

    def poll_output(self) -> object | None:
        if self.broken:
            raise ZeroDivisionError("of this test")
        return super().poll_output()

    def poll_timeout(self) -> float | None:
        if self.broken:
            raise ZeroDivisionError("of this test")
        return super().poll_timeout()


def test_a_machine_that_cannot_be_asked_is_asked_again_later(caplog: pytest.LogCaptureFixture) -> None:
    async def conversation() -> None:
        toy, events = Broken(), []
        driver = Driver(toy, on_event=lambda event, now: events.append(event))
        async with driver:
            toy.broken = True
            driver.call(lambda now: toy.emit("kept"))
            assert events == []
            toy.broken = False
            driver.call(lambda now: None)
            assert events == ["kept"]

    run(conversation())
    assert "draining" in caplog.text
    assert "asking for the next timeout" in caplog.text


def test_a_bug_in_the_event_handler_does_not_stop_the_machine(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[object] = []

    def on_event(event: object, now: float) -> None:
        heard.append(event)
        if event == 1:
            raise ZeroDivisionError

    async def conversation() -> None:
        toy = Toy()
        async with driven(toy, on_event=on_event) as (driver,):

            def say(now: float) -> None:
                toy.emit(1)
                toy.emit(2)

            driver.call(say)

    run(conversation())
    assert heard == [1, 2]
    assert "carrying out int" in caplog.text


# --- look-ups ---------------------------------------------------------------------------------------------
class Book:
    """A resolver that knows one name, breaks at another, and never answers for a third."""

    async def resolve(self, name: str, record_type: str) -> tuple[tuple[Answer, ...], str | None]:
        match name:
            case "edge.test":
                return (Answer("192.0.2.7"),), None
            case "bug.test":
                raise ZeroDivisionError
            case _:
                await asyncio.Event().wait()
                raise AssertionError


def test_names_are_looked_up_and_what_is_pending_ends_with_the_driver(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def conversation() -> None:
        toy = Toy()
        async with driven(toy, resolver=Book()) as (driver,):

            def ask(now: float) -> None:
                for name in ("edge.test", "bug.test", "silent.test"):
                    toy.emit(Resolve(f"k/{name}", name, "A"))

            driver.call(ask)
            await toy.hears(Resolved, 2)
            assert toy.all(Resolved) == [
                Resolved("k/edge.test", "edge.test", "A", (Answer("192.0.2.7"),)),
                Resolved("k/bug.test", "bug.test", "A", (), "internal error"),
            ]

    run(conversation())


def test_without_a_resolver_names_have_no_answer() -> None:
    async def conversation() -> None:
        toy = Toy()
        async with driven(toy) as (driver,):
            driver.call(lambda now: toy.emit(Resolve("k", "edge.test", "A")))
            assert (await toy.hears(Resolved)).error == "no resolver is configured"

    run(conversation())


# --- the end ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("loop", LOOPS)
def test_stopping_sends_what_was_sent_closes_everything_and_tells_the_machine_nothing(loop: str) -> None:
    async def conversation() -> None:
        server, client = Toy(), Toy()
        async with driven(server) as (at_server,):
            driver = Driver(client)
            await driver.start()
            at_server.call(lambda now: server.emit(Listen("door", LOOPBACK)))
            there = (await server.hears(ListenerOpened)).local

            def get_going(now: float) -> None:
                client.emit(OpenUdp("u", LOOPBACK))
                client.emit(Listen("l", LOOPBACK))
                client.emit(Connect("c", there))

            driver.call(get_going)
            await client.hears(StreamConnected)
            await server.hears(StreamAccepted)
            driver.call(lambda now: client.emit(SendStream("c", b"bye" * 100_000)))
            driver.call(lambda now: client.emit(Connect("pending", there)))
            told = len(client.heard)
            await driver.stop()
            await driver.stop()

            await server.until(lambda: sum(len(e.data) for e in server.all(StreamReceived)) == 300_000)
            assert len(client.heard) == told
            with pytest.raises(UsageError, match="not running"):
                driver.call(lambda now: None)
            # Its addresses are free again.
            at_server.call(lambda now: server.emit(OpenUdp("u", client.all(UdpOpened)[0].local)))
            at_server.call(lambda now: server.emit(Listen("l", client.all(ListenerOpened)[0].local)))
            assert len(server.all(UdpOpened)) == 1
            assert len(server.all(ListenerOpened)) == 2

    run(conversation(), loop)


def test_stopping_is_bounded_when_a_peer_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "STOP_GRACE", 0.05)

    async def conversation() -> None:
        toy = Toy()
        driver = Driver(toy)
        await driver.start()
        driver.call(lambda now: toy.emit(Listen("door", LOOPBACK)))
        _, writer = await asyncio.open_connection(*(await toy.hears(ListenerOpened)).local)
        await toy.hears(StreamAccepted)
        driver.call(lambda now: toy.emit(SendStream("door/1", bytes(7_000_000))))
        async with asyncio.timeout(2):
            await driver.stop()
        writer.transport.abort()

    run(conversation())


def test_a_driver_starts_once() -> None:
    async def conversation() -> None:
        async with driven(Toy()) as (driver,):
            with pytest.raises(UsageError, match="starts once"):
                await driver.start()

    run(conversation())


def test_a_stream_name_in_use_is_a_bug_of_the_machine_and_the_first_stream_lives(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def conversation() -> None:
        toy = Toy()
        async with driven(toy) as (driver,):
            driver.call(lambda now: toy.emit(Listen("door", LOOPBACK)))
            there = (await toy.hears(ListenerOpened)).local
            for _ in range(2):
                driver.call(lambda now: toy.emit(Connect("c", there)))
            await toy.hears(StreamConnected)
            await toy.hears(StreamAccepted)
            driver.call(lambda now: toy.emit(SendStream("c", b"alive")))
            assert (await toy.hears(StreamReceived)).stream == "door/1"

    run(conversation())
    assert "stream c is in use" in caplog.text
