"""Browsers inside: a door of the front end's own, for registrations and calls over WebSockets, and for the page."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from iceway.core.machine import TlsServer
from iceway.frontend.config import FrontEndConfig, ListenConfig, WebConfig
from iceway.frontend.frontend import FrontEnd
from iceway.frontend.store import SqlStore
from iceway.frontend.users import add_user
from iceway.trace.records import Note
from iceway.web.pages import Page, Pages
from iceway.wire import mras
from iceway.wire.sip import Request, Response
from tests.frontend.test_frontend import DOMAIN, Client
from tests.sip.bench import Bench
from tests.sip.browser import Browser

DOOR = "10.0.0.1:443"
PAGES = Pages({"/": Page(b"hello", "text/html")})


class Wire:
    """A browser's WebSocket, as a client of the front end's tests wants its connection."""

    stream = "a WebSocket"

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.sends = browser.sends
        self.hears_response = browser.hears_response

    def hears(self) -> Request | Response:
        return self.browser.heard.popleft()


class House:
    """A front end with a port for servers and a door for browsers."""

    def __init__(self, store: SqlStore, web: WebConfig | None = None, pages: Pages | None = PAGES) -> None:
        config = FrontEndConfig(
            domain=DOMAIN,
            name="fe.example.test",
            listen=(ListenConfig(address="10.0.0.1:5061"), ListenConfig(address=DOOR, transport="wss")),
            web=web or WebConfig(),
        )
        machine = FrontEnd(config, store, Random(1), pages=pages)
        self.bench = Bench(machine)
        machine.start(0.0)
        self.bench.settle()

    def browser(self, port: int = 40001, **handshake: str) -> Browser:
        return Browser(self.bench.connects("10.0.1.5", port, listener=DOOR), **handshake)


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = SqlStore()
    for name in ("alice", "bob"):
        add_user(opened, name, f"{name}'s secret", DOMAIN, 0.0)
    yield opened
    opened.close()


def test_browsers_are_not_asked_for_a_certificate(store: SqlStore) -> None:
    asked = {str(listen.local): listen.tls for listen in House(store).bench.listeners.values()}
    assert asked[DOOR] == TlsServer("frontend", anonymous=True)
    assert asked["10.0.0.1:5061"] == TlsServer("frontend")


def test_a_browser_inside_registers_and_is_found_over_its_websocket(store: SqlStore) -> None:
    house = House(store)
    alice, bob = (
        Client(name, Wire(house.browser(port))) for name, port in (("alice", 40001), ("bob", 40002))
    )  # type: ignore[arg-type]
    answer = alice.registers()
    assert answer.status == 200
    assert mras.LOGON_HEADER not in answer.headers, "inside"
    bob.invites("alice")
    invite = alice.peer.browser.hears_request("INVITE")  # type: ignore[attr-defined]
    assert invite.top_via.transport == "WSS"
    assert invite.headers.get("P-Asserted-Identity") == f"<sip:bob@{DOMAIN}>"


def test_the_page_is_at_the_door(store: SqlStore) -> None:
    peer = House(store).bench.connects("10.0.1.5", 40001, listener=DOOR)
    assert b"\r\n\r\nhello" in Browser.raw_answer(peer, b"GET / HTTP/1.1\r\nHost: fe.example.test\r\n\r\n")


def test_path_and_origins_are_as_configured(store: SqlStore) -> None:
    house = House(store, WebConfig(path="/sip", origins=("https://phone.example.test",)))
    assert house.browser(path="/sip", origin="https://phone.example.test").refusal is None
    assert house.browser(40002, path="/sip", origin="https://edge.example.test").refusal == 403
    assert house.browser(40003, path="/").refusal == 404


def test_a_web_phone_that_was_not_built_is_told_in_one_line(store: SqlStore) -> None:
    house = House(store, pages=Pages({}, missing="The web phone is not built."))
    (note,) = house.bench.seen(Note)
    assert (note.level, note.text) == ("warning", "The web phone is not built.")  # type: ignore[attr-defined]
