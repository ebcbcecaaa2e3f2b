from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import cast

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from iceway.core.address import Address
from iceway.core.machine import Answer
from iceway.io.driver import Driver
from iceway.io.resolver import LOOKUP_TIMEOUT, MAX_ANSWERS, SILENT_TIMEOUT, Resolver
from iceway.sip.locate import Locator, NotLocated
from tests.io.harness import LOOPS, run

Zone = Callable[[dns.message.Message], dns.message.Message | bytes | None]


@asynccontextmanager
async def name_server(zone: Zone) -> AsyncIterator[Address]:
    """Answers on a port of the loopback; None answers nothing, bytes are sent as they are."""

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.DatagramTransport, transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            answer = zone(dns.message.from_wire(data))
            if answer is not None:
                self.transport.sendto(answer if isinstance(answer, bytes) else answer.to_wire(), addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    try:
        yield Address(*transport.get_extra_info("sockname"))
    finally:
        transport.close()


def zone_of(*lines: tuple[str, str, str]) -> Zone:
    """A zone of (name, type, right-hand side) lines; other names do not exist."""

    def answer(query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        asked = query.question[0]
        name, kind = asked.name.to_text(omit_final_dot=True).lower(), asked.rdtype.name
        values = [value for line_name, line_kind, value in lines if (line_name, line_kind) == (name, kind)]
        if values:
            response.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *values))
        elif not any(line_name == name for line_name, _, _ in lines):
            response.set_rcode(dns.rcode.NXDOMAIN)
        return response

    return answer


def ask(zone: Zone, name: str, kind: str, loop: str = "uvloop") -> tuple[tuple[Answer, ...], str | None]:
    async def conversation() -> tuple[tuple[Answer, ...], str | None]:
        async with name_server(zone) as server:
            return await Resolver([server], hosts=None, try_timeout=0.05, lookup_timeout=0.1).resolve(
                name, kind
            )

    return run(conversation(), loop)


ZONE = zone_of(
    ("av.example.test", "A", "198.51.100.2"),
    ("av.example.test", "A", "198.51.100.3"),
    ("av.example.test", "AAAA", "2001:DB8::0:2"),
    ("_sip._tls.example.test", "SRV", "10 60 443 Edge.example.test."),
    ("_sip._tls.example.test", "SRV", "20 0 5061 backup.example.test."),
    ("_none._tls.example.test", "SRV", "0 0 0 ."),
    ("example.test", "NAPTR", '100 10 "S" "RELAY:turn.udp" "" _turn._udp.Example.test.'),
    ("example.test", "NAPTR", '200 10 "" "RELAY:turn.tls" "!x!y!" .'),
    *(("many.example.test", "A", f"10.0.{number}.1") for number in range(200)),
)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("av.example.test", "A", {Answer("198.51.100.2"), Answer("198.51.100.3")}),
        ("AV.Example.Test.", "AAAA", {Answer("2001:db8::2")}),
        (
            "_sip._tls.example.test",
            "SRV",
            {
                Answer("edge.example.test", port=443, priority=10, weight=60),
                Answer("backup.example.test", port=5061, priority=20, weight=0),
            },
        ),
        (
            "example.test",
            "NAPTR",
            {
                Answer(
                    "_turn._udp.example.test", order=100, preference=10, flags="S", service="RELAY:turn.udp"
                ),
                Answer(".", order=200, preference=10, service="RELAY:turn.tls", regexp="!x!y!"),
            },
        ),
        ("_none._tls.example.test", "SRV", {Answer(".")}),  # RFC 2782: decidedly not available
        ("av.example.test", "SRV", set()),
        ("nobody.example.test", "A", set()),
    ],
)
def test_answers(loop: str, name: str, kind: str, expected: set[Answer]) -> None:
    answers, error = ask(ZONE, name, kind, loop)
    assert error is None
    assert set(answers) == expected


def test_answers_are_bounded() -> None:
    answers, _ = ask(ZONE, "many.example.test", "A")
    assert len(answers) == MAX_ANSWERS


def test_addresses_need_no_server() -> None:
    def nobody(query: dns.message.Message) -> None:
        raise AssertionError("asked a server")

    assert ask(nobody, "192.0.2.1", "A") == ((Answer("192.0.2.1"),), None)
    assert ask(nobody, "2001:DB8::1", "AAAA") == ((Answer("2001:db8::1"),), None)
    assert ask(nobody, "192.0.2.1", "AAAA") == ((), None)


def test_a_server_that_fails_or_is_silent_is_told_in_words() -> None:
    def failing(query: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.SERVFAIL)
        return response

    assert ask(failing, "av.example.test", "A") == ((), "SERVFAIL")
    assert ask(lambda query: None, "av.example.test", "A") == ((), "timed out")


@pytest.mark.parametrize("garbage", [b"", b"\x00", bytes(12), b"\xff" * 600])
def test_garbage_from_a_server_is_no_answer(garbage: bytes) -> None:
    answers, error = ask(lambda query: query.id.to_bytes(2, "big") + garbage, "av.example.test", "A")
    assert answers == ()
    assert error


@pytest.mark.parametrize(
    "name", ["x" * 64 + ".test", "a..test", ".".join(["abcdefg"] * 40), "\ud800.test", "\\"]
)
def test_what_is_no_name_is_an_error_not_an_exception(name: str) -> None:
    answers, error = ask(ZONE, name, "A")
    assert answers == ()
    assert error
    assert ask(ZONE, "av.example.test", "TXT") == ((), "no look-up of TXT records")


def test_the_hosts_file_comes_first_for_addresses(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text(
        "# a comment\n10.0.0.10 frontend.example.test frontend # the front end\n\n"
        "2001:db8::10 frontend\nnonsense here\n10.0.0.11\n"
    )

    async def conversation() -> None:
        resolver = Resolver([Address("127.0.0.1", 9)], hosts=hosts, try_timeout=0.05, lookup_timeout=0.05)
        assert await resolver.resolve("Frontend.example.test.", "A") == ((Answer("10.0.0.10"),), None)
        assert await resolver.resolve("frontend", "AAAA") == ((Answer("2001:db8::10"),), None)
        assert await resolver.resolve("frontend.example.test", "AAAA") == ((), None)
        assert (await resolver.resolve("here", "A"))[1] is not None

    run(conversation())


def test_a_machine_without_name_servers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import dns.resolver

    def unconfigured(*_: object) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver.BaseResolver, "read_resolv_conf", unconfigured)
    answers, error = run(Resolver(hosts=None).resolve("av.example.test", "A"))
    assert answers == ()
    assert error is not None
    assert "/etc/resolv.conf" in error


# --- several name servers ------------------------------------------------------------------------------------
def silent(query: dns.message.Message) -> None:
    return None


def failing(query: dns.message.Message) -> dns.message.Message:
    response = dns.message.make_response(query)
    response.set_rcode(dns.rcode.SERVFAIL)
    return response


def ask_all(*zones: Zone, names: tuple[str, ...] = ("av.example.test",)) -> tuple[list[object], list[float]]:
    """Names asked one after the other of these servers; the outcomes, and how long each took."""

    async def conversation() -> tuple[list[object], list[float]]:
        async with AsyncExitStack() as stack:
            servers = [await stack.enter_async_context(name_server(zone)) for zone in zones]
            resolver = Resolver(servers, hosts=None, head_start=0.05, try_timeout=1.0, lookup_timeout=2.0)
            outcomes: list[object] = []
            times = []
            for name in names:
                began = time.monotonic()
                outcomes.append(await resolver.resolve(name, "A"))
                times.append(time.monotonic() - began)
            return outcomes, times

    return run(conversation())


@pytest.mark.parametrize("first", [silent, failing])
def test_a_bad_name_server_costs_next_to_nothing_beside_a_good_one(first: Zone) -> None:
    names = ("av.example.test", "nobody.example.test")
    (found, missing), times = ask_all(first, ZONE, names=names)
    assert {answer.data for answer in found[0]} == {"198.51.100.2", "198.51.100.3"}
    assert missing == ((), None)
    assert max(times) < 0.8


def test_one_that_refuses_says_more_than_one_that_is_silent() -> None:
    (outcome,), _ = ask_all(silent, failing)
    assert outcome == ((), "SERVFAIL")


def test_where_nobody_answers_the_second_question_waits_less_than_the_first() -> None:
    outcomes, times = ask_all(silent, names=("one.test", "two.test"))
    assert outcomes == [((), "timed out")] * 2
    assert times[0] >= 1.9
    assert times[1] < 1.6


def test_the_search_for_a_domain_ends_soon_where_dns_is_dead() -> None:
    """Every client starts with it: by SRV, then by address, in real time and with the bounds that programs have."""

    async def conversation() -> tuple[float, NotLocated]:
        over: asyncio.Future[NotLocated] = asyncio.get_running_loop().create_future()
        locator = Locator("find", random.Random(1))
        async with name_server(silent) as server, name_server(silent) as spare:
            driver = Driver(
                locator,
                resolver=Resolver([server, spare], hosts=None),
                on_event=lambda event, now: over.set_result(event),
            )
            async with driver:
                began = driver.now()
                driver.call(lambda now: locator.locate_domain("example.test", now))
                said = await asyncio.wait_for(over, 10)
                return driver.now() - began, said

    took, said = run(conversation())
    assert isinstance(said, NotLocated)
    assert "timed out" in said.reason
    assert LOOKUP_TIMEOUT + SILENT_TIMEOUT <= 4.0
    assert took < 5.0, "and what a busy machine takes"
