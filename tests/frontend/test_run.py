"""Front end and edge as programs on real sockets: certificates, ports, restarts."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from random import SystemRandom

import pytest

from iceway.core.address import Address, Transport
from iceway.core.errors import EnvironmentFailure
from iceway.edge.config import AccessSection, CredentialsSection, RelaySection, RetiredKey
from iceway.edge.config import EdgeConfig as EdgeToml
from iceway.edge.config import TlsFiles as EdgeTls
from iceway.edge.credentials import Accepted
from iceway.edge.run import edge_keystore, key_ring, running_edge
from iceway.frontend.config import EdgeConfig, FrontEndConfig, ListenConfig, TlsFiles
from iceway.frontend.run import running_frontend
from iceway.frontend.users import add_user
from iceway.io.devca import DevCa
from iceway.io.driver import Driver
from iceway.io.recorder import Recorder
from iceway.sip.endpoint import Target
from iceway.sip.useragent import (
    RegistrationFailed,
    RegistrationSucceeded,
    RequestAnswered,
    UserAgent,
    UserAgentConfig,
)
from iceway.wire import mras
from iceway.wire.mras import CredentialsRequest, Location, MrasRequest

HOME = "127.0.0.1"
DOMAIN = "example.test"


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOME, 0))
        port: int = probe.getsockname()[1]
        return port


class Files:
    """Certificates and configurations of one front end and one edge on loopback."""

    def __init__(self, directory: Path) -> None:
        self.ca = DevCa.open(directory)
        edge = self.ca.issue("edge", ["edge.example.test", HOME])
        frontend = self.ca.issue("frontend", ["fe.example.test", HOME])
        trust = self.ca.certificate_path
        self.sip, self.access, self.mras = free_port(), free_port(), free_port()
        self.frontend = FrontEndConfig(
            domain=DOMAIN,
            name="fe.example.test",
            listen=(ListenConfig(address=f"{HOME}:{self.sip}"),),
            edges=(EdgeConfig(name="edge.example.test", mras=f"{HOME}:{self.mras}"),),
            tls=TlsFiles(certificate=frontend.certificate, key=frontend.key, trust=trust),
            database=str(directory / "fe.sqlite"),
        )
        self.edge = EdgeToml(
            name="edge.example.test",
            domain=DOMAIN,
            frontend=f"{HOME}:{self.sip}",
            frontend_name="fe.example.test",
            access=AccessSection(listen=(f"{HOME}:{self.access}",)),
            credentials=CredentialsSection(listen=f"{HOME}:{self.mras}"),
            relay=RelaySection(
                listen=HOME, udp_port=free_port(socket.SOCK_DGRAM), tcp_port=free_port(), tls_port=free_port()
            ),
            tls=EdgeTls(certificate=edge.certificate, key=edge.key, trust=trust),
        )


class Phone:
    """A user agent on loopback that connects through the edge."""

    def __init__(self, files: Files, password: str = "secret") -> None:
        self.events: asyncio.Queue[object] = asyncio.Queue()
        target = Target(Address(HOME, files.access), Transport.TLS, "edge.example.test")
        config = UserAgentConfig(
            f"sip:alice@{DOMAIN}", password=password, outbound=(target,), retry=(0.05, 0.2)
        )
        self.agent = UserAgent("ua", config, SystemRandom())
        self.driver = Driver(
            self.agent, keystore=files.ca.keystore(), on_event=lambda event, _: self.events.put_nowait(event)
        )

    async def hears(self, kind: type) -> object:
        async with asyncio.timeout(10):
            while not isinstance(event := await self.events.get(), kind):
                pass
            return event

    async def registered(self) -> RegistrationSucceeded:
        event = await self.hears(RegistrationSucceeded)
        assert isinstance(event, RegistrationSucceeded)
        return event


def on_loopback(tmp_path: Path, scene: Callable[[Files], object]) -> None:
    async def play() -> None:
        async with asyncio.timeout(30):
            await scene(Files(tmp_path))  # type: ignore[misc]

    asyncio.run(play())


def test_a_user_registers_through_the_edge_and_gets_credentials(tmp_path: Path) -> None:
    async def scene(files: Files) -> None:
        async with running_frontend(files.frontend) as frontend, running_edge(files.edge) as edge:
            assert [name for name, _ in frontend.listening] == ["SIP over tls"]
            assert sorted(name for name, _ in edge.listening) == [
                "SIP over tls",
                "relay credentials over tls",
                "relay over tcp",
                "relay over tls",
                "relay over udp",
            ]
            add_user(frontend.store, "alice", "secret", DOMAIN, 0.0)
            phone = Phone(files)
            async with phone.driver:
                phone.driver.call(phone.agent.register)
                service = ((await phone.registered()).response.headers.get(mras.SERVICE_HEADER) or "").strip(
                    "<>"
                )
                me = f"sip:alice@{DOMAIN}"
                wish = MrasRequest("1", service, me, (CredentialsRequest("1", me, Location.INTERNET, 480),))
                phone.driver.call(
                    lambda now: phone.agent.request_out_of_dialog(
                        "SERVICE",
                        service,
                        now,
                        body=mras.serialize_request(wish),
                        content_type=mras.CONTENT_TYPE,
                    )
                )
                answered = await phone.hears(RequestAnswered)
                assert isinstance(answered, RequestAnswered)
                (granted,) = mras.parse_response(answered.response.body).credentials
                assert granted.duration == 480
                assert granted.relays[0].udp_port == files.edge.relay.udp_port

    on_loopback(tmp_path, scene)


def test_a_front_end_restarts_and_knows_its_bindings(tmp_path: Path) -> None:
    async def scene(files: Files) -> None:
        async with running_edge(files.edge):
            phone = Phone(files)
            async with phone.driver:
                async with running_frontend(files.frontend) as first:
                    add_user(first.store, "alice", "secret", DOMAIN, 0.0)
                    phone.driver.call(phone.agent.register)
                    await phone.registered()
                async with running_frontend(files.frontend) as second:
                    (binding,) = second.store.bindings(f"sip:alice@{DOMAIN}")
                    assert binding.outside

    on_loopback(tmp_path, scene)


def test_a_wrong_password_is_refused_on_the_wire_too(tmp_path: Path) -> None:
    async def scene(files: Files) -> None:
        recorder = Recorder(keep=True)
        async with (
            running_frontend(files.frontend, recorder=recorder) as frontend,
            running_edge(files.edge, recorder=recorder),
        ):
            add_user(frontend.store, "alice", "secret", DOMAIN, 0.0)
            phone = Phone(files, "a guess")
            async with phone.driver:
                phone.driver.call(phone.agent.register)
                while True:
                    failed = await phone.hears(RegistrationFailed)
                    assert isinstance(failed, RegistrationFailed)
                    if failed.retry_in is None:
                        break
        assert {entry.node for entry in recorder.entries} == {"frontend", "edge"}

    on_loopback(tmp_path, scene)


def test_a_port_that_is_taken_is_an_environment_failure(tmp_path: Path) -> None:
    async def scene(files: Files) -> None:
        with socket.socket() as taken:
            taken.bind((HOME, files.sip))
            taken.listen()
            with pytest.raises(EnvironmentFailure, match=r"SIP over tls port cannot be opened") as failure:
                async with running_frontend(files.frontend):
                    pass
            assert failure.value.remedy
        with socket.socket() as taken:
            taken.bind((HOME, files.edge.relay.tcp_port or 0))
            taken.listen()
            with pytest.raises(EnvironmentFailure, match="relay over tcp"):
                async with running_edge(files.edge):
                    pass

    on_loopback(tmp_path, scene)


def test_missing_keys_are_told_before_anything_opens(tmp_path: Path) -> None:
    files = Files(tmp_path)
    files.edge.tls.key.unlink()

    async def start() -> None:
        async with running_edge(files.edge):
            pass

    with pytest.raises(EnvironmentFailure, match="private key"):
        asyncio.run(start())


def test_retired_keys_of_the_configuration_still_verify(tmp_path: Path) -> None:
    files = Files(tmp_path)
    old = files.ca.issue("edge-before", ["edge.example.test"], algorithm="rsa")
    before = files.edge.model_copy(update={"tls": files.edge.tls.model_copy(update={"key": old.key})})
    minted = key_ring(before, edge_keystore(before)).mint("sip:alice@example.test", 3600, 1000.0)
    until = datetime(2000, 1, 1, tzinfo=UTC)
    section = files.edge.credentials.model_copy(
        update={"retired_keys": (RetiredKey(key=old.key, until=until),)}
    )
    rolled = files.edge.model_copy(update={"credentials": section})
    ring = key_ring(rolled, edge_keystore(rolled))
    assert isinstance(ring.verify(minted.username, 1001.0), Accepted)
    assert not isinstance(
        key_ring(files.edge, edge_keystore(files.edge)).verify(minted.username, 1001.0), Accepted
    )
    old.key.unlink()
    with pytest.raises(EnvironmentFailure, match="retired key"):
        key_ring(rolled, edge_keystore(rolled))
