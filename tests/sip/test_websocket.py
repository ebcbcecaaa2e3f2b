"""SIP in WebSockets (RFC 6455, RFC 7118): the handshake, messages whole and in pieces, farewells, and rubbish."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Opcode

from iceway.core.address import Address, Transport
from iceway.core.machine import StreamCongested, StreamReceived, TlsServer
from iceway.sip.endpoint import Endpoint, FlowClosed, FlowOpened, Listening, RequestReceived, Target
from iceway.sip.websocket import MAX_HANDSHAKE, WebSocket, WebSocketConfig
from iceway.trace.records import ConnectionOpened, Malformed, SipReceived
from iceway.web.pages import Page, Pages
from iceway.wire.sip import Keepalive, MalformedMessage, make_response
from tests.sip.bench import Bench, Peer
from tests.sip.browser import Browser
from tests.sip.pair import a_request

SERVER = Address("198.51.100.1", 443)
OPTIONS = [
    "OPTIONS sip:example.test SIP/2.0",
    "Via: SIP/2.0/WSS df7jal23ls0d.invalid;branch=z9hG4bK1",
    "From: <sip:alice@example.test>;tag=a",
    "To: <sip:example.test>",
    "Call-ID: c1",
    "CSeq: 1 OPTIONS",
    "Max-Forwards: 70",
]


class Door:
    """An endpoint that takes WebSockets, on a bench."""

    def __init__(self, config: WebSocketConfig | None = None) -> None:
        self.endpoint = Endpoint("edge", random.Random(1))
        self.bench = Bench(self.endpoint, ip=SERVER.ip)
        tls = TlsServer("edge", anonymous=True)
        self.endpoint.listen(Transport.TLS, SERVER, 0.0, tls, config or WebSocketConfig())
        self.bench.settle()

    def seen(self, kind: type) -> list[object]:
        return [event for event in [*self.bench.events, *self.bench.records] if isinstance(event, kind)]

    def closed(self) -> str:
        (event,) = self.seen(FlowClosed)
        assert isinstance(event, FlowClosed)
        return event.reason

    def connects(self) -> Peer:
        return self.bench.connects("192.0.2.10")

    def browser(self, **handshake: str) -> Browser:
        return Browser(self.connects(), **handshake)

    def answers(self, status: int) -> None:
        (asked,) = self.seen(RequestReceived)
        assert isinstance(asked, RequestReceived)
        self.endpoint.respond(asked.transaction, make_response(asked.request, status, to_tag="e"), 0.0)
        self.bench.settle()


# --- conversations --------------------------------------------------------------------------------------
def test_a_browser_shakes_hands_asks_and_is_answered() -> None:
    door = Door()
    browser = door.browser()
    assert browser.protocol.subprotocol == "sip"
    browser.says(*OPTIONS)
    (asked,) = door.seen(RequestReceived)
    assert isinstance(asked, RequestReceived)
    assert asked.flow.websocket
    assert str(asked.request.top_via).startswith("SIP/2.0/WSS df7jal23ls0d.invalid")
    assert asked.request.top_via.received == "192.0.2.10"
    door.answers(200)
    assert browser.hears_response(200).call_id == "c1"
    assert browser.frames[-1].opcode is Opcode.TEXT
    (record,) = door.seen(SipReceived)
    assert isinstance(record, SipReceived)
    assert record.transport == "wss"
    (opened,) = door.seen(ConnectionOpened)
    assert isinstance(opened, ConnectionOpened)
    assert opened.transport == "wss"


def test_a_request_of_ours_goes_to_the_browser_with_wss_in_its_via() -> None:
    door = Door()
    browser = door.browser()
    (opened,) = door.seen(FlowOpened)
    assert isinstance(opened, FlowOpened)
    door.endpoint.request(a_request(), Target.over(opened.flow), 0.0)
    door.bench.settle()
    assert browser.hears_request("OPTIONS").top_via.transport == "WSS"


def test_what_is_not_utf8_goes_out_in_binary() -> None:
    door = Door()
    browser = door.browser()
    (opened,) = door.seen(FlowOpened)
    assert isinstance(opened, FlowOpened)
    body = b"\xff\x00" * 20
    door.endpoint.request(
        a_request().with_body(body, "application/octet-stream"), Target.over(opened.flow), 0.0
    )
    door.bench.settle()
    assert browser.hears_request("OPTIONS").body == body
    assert browser.frames[-1].opcode is Opcode.BINARY


def test_bytes_may_come_one_by_one_and_messages_in_fragments_with_a_ping_between() -> None:
    door = Door()
    browser = Browser(door.connects(), chunk=1)
    message = "\r\n".join([*OPTIONS, "", ""]).encode()
    browser.protocol.send_binary(message[:50], fin=False)
    browser.protocol.send_ping(b"there?")
    browser.protocol.send_continuation(message[50:], fin=True)
    browser.flush()
    assert browser.frames[-1].opcode is Opcode.PONG
    assert browser.frames[-1].data == b"there?"
    assert len(door.seen(RequestReceived)) == 1


def test_a_message_needs_no_content_length() -> None:
    """The WebSocket says where it ends (RFC 7118 §5.2.4)."""
    door = Door()
    browser = door.browser()
    browser.sends("\r\n".join([*OPTIONS, "Content-Type: text/plain", "", "hello"]).encode())
    (asked,) = door.seen(RequestReceived)
    assert isinstance(asked, RequestReceived)
    assert asked.request.body == b"hello"


def test_no_message_is_sent_before_the_handshake_is_over() -> None:
    door = Door()
    peer = door.connects()
    (opened,) = door.seen(FlowOpened)
    assert isinstance(opened, FlowOpened)
    assert door.endpoint.flow(opened.flow.id) is None
    Browser(peer)
    assert door.endpoint.flow(opened.flow.id) is not None


def test_listening_tells_that_it_is_for_websockets() -> None:
    (listening,) = Door().seen(Listening)
    assert isinstance(listening, Listening)
    assert (listening.transport, listening.websocket) == (Transport.TLS, True)


# --- keep-alive: RFC 7118 §6 ----------------------------------------------------------------------------
def test_we_ping_and_a_browser_that_is_gone_is_noticed() -> None:
    door = Door()
    browser = door.browser()
    door.bench.waits(1000)
    assert not door.seen(FlowClosed), "its pongs keep it from being idle"
    assert browser.frames[0].opcode is Opcode.PING
    browser.asleep = True
    door.bench.waits(40)
    assert door.closed() == "no answer to a keep-alive in 10 s"


def test_a_ping_of_line_feeds_is_answered_with_one() -> None:
    door = Door()
    browser = door.browser()
    browser.sends(b"\r\n\r\n")
    assert browser.frames[-1].data == b"\r\n"
    assert not door.seen(Malformed)


# --- farewells ------------------------------------------------------------------------------------------
def test_a_browser_that_says_goodbye_hears_it_back() -> None:
    door = Door()
    browser = door.browser()
    browser.protocol.send_close(1001, "page closed")
    browser.flush()
    assert browser.protocol.close_rcvd is not None
    assert browser.protocol.close_rcvd.code == 1001
    assert "closed by peer (1001" in door.closed()


def test_we_say_goodbye_with_the_reason() -> None:
    door = Door()
    browser = door.browser()
    door.endpoint.close(0.0)
    door.bench.settle()
    assert browser.protocol.close_rcvd is not None
    assert (browser.protocol.close_rcvd.code, browser.protocol.close_rcvd.reason) == (1001, "closed by us")


# --- the door is narrow ---------------------------------------------------------------------------------
def test_other_paths_are_404_and_closed() -> None:
    door = Door(WebSocketConfig(path="/sip"))
    assert door.browser(path="/").refusal == 404
    assert door.closed() == "no WebSocket at the path asked for"
    assert Door(WebSocketConfig(path="/sip")).browser(path="/sip?x=1").refusal is None


def test_pages_of_other_origins_are_refused_and_programs_are_not() -> None:
    config = WebSocketConfig(origins=("https://phone.example.test",))
    assert Door(config).browser(origin="https://evil.test").refusal == 403
    assert Door(config).browser(origin="https://phone.example.test").refusal is None
    assert Door(config).browser().refusal is None


def test_where_none_are_named_only_pages_of_this_door_may_connect() -> None:
    assert Door().browser(origin="https://edge.example.test").refusal is None
    assert Door().browser(origin="https://edge.example.test:444").refusal == 403
    assert Door().browser(origin="http://edge.example.test").refusal == 403
    assert Door().browser(origin="null").refusal == 403
    assert Door(WebSocketConfig(origins=("*",))).browser(origin="null").refusal is None


def test_another_subprotocol_is_refused() -> None:
    door = Door()
    assert door.browser(subprotocol="chat").refusal == 400
    assert door.closed().startswith("refused: ")


def test_a_web_browser_is_told_that_this_is_no_web_server() -> None:
    door = Door()
    peer = door.connects()
    answer = Browser.raw_answer(peer, b"GET / HTTP/1.1\r\nHost: edge.example.test\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert b"\r\nDate:" not in answer
    assert peer.closed


# --- pages at the same door -----------------------------------------------------------------------------
PAGES = Pages({"/": Page(b"<!doctype html>" * 50, "text/html"), "/big": Page(bytes(400_000), "x/y")})
WITH_PAGES = WebSocketConfig(handshake_timeout=10, pages=PAGES)


def wish(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: edge.example.test", *fields, "", ""]).encode()


def test_who_asks_for_pages_gets_them_one_after_another_and_then_a_websocket_may_follow() -> None:
    door = Door(WITH_PAGES)
    peer = door.connects()
    assert Browser.raw_answer(peer, wish("/")).startswith(b"HTTP/1.1 200 ")
    assert Browser.raw_answer(peer, wish("/") + wish("/no")).count(b"HTTP/1.1 ") == 2
    assert peer.closed, "a page that is not there ends it"
    peer = door.connects()
    Browser.raw_answer(peer, wish("/"))
    browser = Browser(peer)
    browser.says(*OPTIONS)
    assert len(door.seen(RequestReceived)) == 1


def test_who_asks_for_nothing_more_is_not_kept() -> None:
    door = Door(WITH_PAGES)
    peer = door.connects()
    door.bench.waits(9)
    Browser.raw_answer(peer, wish("/"))
    door.bench.waits(9)
    assert not peer.closed
    peer.sends(b"GET / HTTP/1.1\r\nX-Slow: ")
    door.bench.waits(2)
    assert door.closed() == "no WebSocket was asked for in time"


def test_a_connection_has_enough_of_pages_some_time() -> None:
    door = Door(WITH_PAGES)
    peer = door.connects()
    heard = sum(len(Browser.raw_answer(peer, wish("/big"))) for _ in range(20) if not peer.closed)
    assert 1024 * 1024 < heard < 1024 * 1024 + 500_000
    assert door.closed() == "pages enough for one connection are served"


def test_who_asks_for_more_than_it_reads_is_cut_off() -> None:
    door = Door(WITH_PAGES)
    peer = door.connects()
    Browser.raw_answer(peer, wish("/big"))
    assert peer.stream is not None
    door.bench.give(StreamCongested(peer.stream, True))
    peer.sends(wish("/big"))
    assert door.closed() == "asks for more than it reads"


def test_a_request_that_is_none_ends_the_connection_and_is_told_in_a_record() -> None:
    door = Door(WITH_PAGES)
    peer = door.connects()
    assert Browser.raw_answer(peer, b"GET / HTTP/1.1\r\nNo colon\r\n\r\n") == b""
    assert peer.closed
    assert door.seen(Malformed)


def test_a_handshake_that_does_not_end_is_given_up() -> None:
    door = Door(WebSocketConfig(handshake_timeout=10))
    door.connects().sends(b"GET / HTTP/1.1\r\n")
    door.bench.waits(9)
    assert not door.seen(FlowClosed)
    door.bench.waits(2)
    assert door.closed() == "no WebSocket was asked for in time"


def test_a_message_that_does_not_end_is_given_up_although_pings_go_on() -> None:
    door = Door()
    browser = door.browser()
    browser.protocol.send_text(b"OPTIONS", fin=False)
    browser.flush()
    door.bench.waits(40)
    assert door.closed() == "a message was not finished in 30 s"


@pytest.mark.parametrize(
    ("does", "code", "why"),
    [
        (lambda p: p.send_text(b"\xff\xfe"), 1007, "text that is not UTF-8"),
        (lambda p: p.send_binary(bytes(5000)), 1009, "not a WebSocket frame"),
        (lambda p: p.writes.append(b"\x81\x01x"), 1002, "not a WebSocket frame"),  # without a mask
        (lambda p: p.writes.append(b"\xff\xff\xff"), 1002, "not a WebSocket frame"),
    ],
    ids=["not text", "too big", "unmasked", "reserved bits"],
)
def test_who_breaks_the_protocol_is_told_how_and_closed(
    does: Callable[[ClientProtocol], None], code: int, why: str
) -> None:
    door = Door(WebSocketConfig(max_message=4000))
    browser = door.browser()
    does(browser.protocol)
    browser.flush()
    assert browser.protocol.close_rcvd is not None
    assert browser.protocol.close_rcvd.code == code
    (malformed,) = door.seen(Malformed)
    assert isinstance(malformed, Malformed)
    assert why in malformed.reason
    assert why in door.closed()


def test_endless_headers_are_not_taken() -> None:
    door = Door()
    browser = door.browser()
    browser.sends(b"OPTIONS sip:x SIP/2.0\r\n" + b"X: y\r\n" * 20000)
    assert "headers larger than" in door.closed()


def test_an_endless_handshake_is_not_taken() -> None:
    door = Door()
    door.connects().sends(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * (MAX_HANDSHAKE // 6))
    assert "a handshake larger than" in door.closed()


# --- rubbish --------------------------------------------------------------------------------------------
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: edge.example.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Protocol: sip\r\n\r\n"
)


def _frame(opcode: int, data: bytes, fin: bool) -> bytes:
    """A client's frame, whether it may exist or not; its mask is zero."""
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return bytes([0x80 * fin | opcode]) + length + bytes(4) + data


FRAMES = st.builds(
    _frame, st.sampled_from((0, 0, 1, 1, 2, 8, 9, 10, 11)), st.binary(max_size=200), st.booleans()
)
STREAMS = st.lists(
    st.one_of(
        st.binary(max_size=80), FRAMES, st.just(HANDSHAKE), st.just(wish("/")), st.just(wish("/no", "A: b"))
    ),
    max_size=8,
)


@given(STREAMS, st.booleans(), st.integers(1, 300), st.booleans())
def test_no_bytes_break_it_and_cuts_change_nothing(
    pieces: list[bytes], opened: bool, size: int, pages: bool
) -> None:
    data = (HANDSHAKE if opened else b"") + b"".join(pieces)

    def read(cut: int) -> tuple[list[bytes | Keepalive], str | None]:
        socket = WebSocket(WebSocketConfig(max_message=500, pages=PAGES if pages else None))
        found: list[bytes | Keepalive] = []
        for at in range(0, len(data), cut):
            socket.feed(data[at : at + cut])
            try:
                while (frame := socket.next_frame()) is not None:
                    found.append(frame)
            except MalformedMessage as error:
                return found, str(error)
            if socket.ended is not None:
                break
        socket.to_send()
        return found, socket.ended

    assert read(size) == read(max(1, len(data)))


@given(STREAMS)
def test_the_endpoint_lives_on(pieces: list[bytes]) -> None:
    door = Door()
    peer = door.connects()
    for piece in pieces:
        assert peer.stream is not None
        peer.framer = _Deaf()  # type: ignore[assignment]
        door.bench.give(StreamReceived(peer.stream, piece))
    browser = door.browser()
    browser.says(*OPTIONS)
    assert door.seen(RequestReceived)


class _Deaf:
    def feed(self, data: bytes) -> None: ...

    def next_frame(self) -> None: ...
