"""The public API on loopback: clients of a front end in the same event loop, without an edge."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from iceway.client import CallFailed, Client, RegistrationFailed, Ways, make_media
from iceway.client.events import SuccessorInPlace
from iceway.client.media import Media
from iceway.client.run import LiveCall
from iceway.client.transfers import TransferRequest
from iceway.core.errors import EnvironmentFailure, UsageError
from iceway.explain.model import PathClass
from iceway.frontend.config import FrontEndConfig, ListenConfig, TlsFiles
from iceway.frontend.run import running_frontend
from iceway.frontend.users import add_user, set_password
from iceway.io.devca import DevCa
from iceway.media.files import FileSource, MemorySink, NullSink, SilenceSource, ToneSource
from iceway.media.heard import compare
from iceway.media.pattern import PatternSource
from iceway.media.pictures import Pictures
from iceway.media.speech import speech
from iceway.trace.records import Measured, MediaStarted, Note

HOME = "127.0.0.1"
DOMAIN = "example.test"


class Scene:
    """A front end's files, and clients of it."""

    def __init__(self, directory: Path) -> None:
        ca = DevCa.open(directory)
        own = ca.issue("frontend", [f"fe.{DOMAIN}", HOME])
        self.trust = ca.certificate_path
        with socket.socket() as probe:
            probe.bind((HOME, 0))
            self.port = probe.getsockname()[1]
        self.config = FrontEndConfig(
            domain=DOMAIN,
            name=f"fe.{DOMAIN}",
            listen=(ListenConfig(address=f"{HOME}:{self.port}"),),
            edges=(),
            tls=TlsFiles(certificate=own.certificate, key=own.key, trust=ca.certificate_path),
            database=str(directory / "fe.sqlite"),
        )

    def client(self, name: str, password: str = "secret", **options: object) -> Client:
        settings: dict[str, object] = {"ways": Ways(interfaces=(HOME,)), "trust": [self.trust], **options}
        return Client(f"sip:{name}@{DOMAIN}", password, server=f"tls:{HOME}:{self.port}", **settings)  # type: ignore[arg-type]


def play(directory: Path, scene: Callable[[Scene], Awaitable[None]]) -> None:
    async def stage() -> None:
        set_up = Scene(directory)
        async with asyncio.timeout(40), running_frontend(set_up.config) as running:
            for name in ("alice", "bob", "carol"):
                add_user(running.store, name, "secret", DOMAIN, time.time())
            await scene(set_up)

    asyncio.run(stage())


def test_a_call_step_by_step(tmp_path: Path) -> None:
    heard = {"alice": MemorySink(), "bob": MemorySink()}

    async def scene(on: Scene) -> None:
        def answers(peer: str) -> Media:
            return make_media(FileSource(speech("bob")), heard["bob"])

        async with on.client("alice") as alice, on.client("bob", media=answers) as bob:
            call = await alice.call(f"sip:bob@{DOMAIN}", play=speech("alice"), record=heard["alice"])
            coming = await bob.incoming()
            assert coming.peer == f"sip:alice@{DOMAIN}"
            await call.connected()
            assert not call.was_answered, "early media"
            coming.pick_up()
            await asyncio.gather(call.answered(), coming.answered())
            await asyncio.gather(call.settled(), coming.settled())
            assert call.selected is not None
            await asyncio.gather(call.played(), coming.played())
            call.note(Measured("comfort", 1.0, "of all"))
            stats = call.stats()
            assert stats.audio is not None
            call.hang_up()
            await asyncio.gather(call.ended(), coming.ended())
            assert call.end_reason == "hung up here"
            assert (last := call.stats().audio) is not None, "to be asked for when all is over"
            assert last.packets_sent >= stats.audio.packets_sent > 0
            assert call.path.path is PathClass.DIRECT
            assert "Alice offers" in call.explain()
            assert not any(line != line.rstrip() for line in call.explain().splitlines())
            assert any(isinstance(entry.record, MediaStarted) for entry in bob.trace)
            assert any(isinstance(entry.record, Measured) for entry in alice.trace)

    play(tmp_path, scene)
    for listener, speaker in (("alice", "bob"), ("bob", "alice")):
        assert compare(speech(speaker), heard[listener].samples).share > 0.9


def test_waits_end_with_the_call_and_say_why(tmp_path: Path) -> None:
    async def scene(on: Scene) -> None:
        async with on.client("alice") as alice, on.client("bob") as bob:
            call = await alice.call(f"sip:bob@{DOMAIN}")
            coming = await bob.incoming()
            with pytest.raises(CallFailed, match=r"not answered within 0 s"):
                await call.answered(within=0.01)
            with pytest.raises(CallFailed, match=r"is not over after 0 s"):
                await call.ended(within=0.01)
            coming.refuse(603, "Decline")
            with pytest.raises(CallFailed, match=r"^603 Decline"):
                await call.answered()
            with pytest.raises(CallFailed, match=r"^603 Decline"):
                await call.settled()
            await call.ended()
            with pytest.raises(UsageError, match="cannot be called"):
                await alice.call("b b")

    play(tmp_path, scene)


def test_transfers(tmp_path: Path) -> None:
    news: list[object] = []
    asked: list[TransferRequest] = []

    def decides(call: LiveCall, request: TransferRequest) -> bool:
        assert call.peer == request.peer
        asked.append(request)
        if "raises" in request.target:
            raise ValueError("a fault of the program's")
        return "nobody" not in request.target

    async def scene(on: Scene) -> None:
        told = {"on_news": lambda _, event: news.append(event), "on_transfer": decides}
        async with (
            on.client("alice", **told) as alice,
            on.client("bob", ring_for=0.0) as bob,
            on.client("carol", ring_for=0.0) as carol,
        ):
            heard = MemorySink()
            call = await alice.call(f"sip:bob@{DOMAIN}", play=ToneSource(), record=heard)
            bobs = await bob.incoming()
            with pytest.raises(UsageError, match="nobody was asked"):
                await bobs.transferred()
            await asyncio.gather(call.answered(), bobs.answered())

            with pytest.raises(UsageError, match="nobody can be transferred to 'x y'"):
                bobs.transfer("x y")
            bobs.transfer(f"sip:nobody@{DOMAIN}")
            with pytest.raises(CallFailed, match="603 the transfer was refused: Decline"):
                await bobs.transferred()
            assert (call.successor, call.end_reason) == (None, "")
            bobs.transfer(f"sip:raises@{DOMAIN}")
            with pytest.raises(CallFailed, match="603 the transfer was refused: Decline"):
                await bobs.transferred()
            notes = [entry.record.text for entry in alice.trace if isinstance(entry.record, Note)]
            assert any("a fault of the program's" in note for note in notes)

            bobs.transfer(f"sip:carol@{DOMAIN}")
            await bobs.transferred()
            await asyncio.gather(bobs.ended(), call.ended())
            assert bobs.end_reason == f"transferred to sip:carol@{DOMAIN}"
            assert call.successor is not None
            await call.successor.answered()
            assert call.successor.peer == f"sip:carol@{DOMAIN}"
            bobs.transfer(f"sip:carol@{DOMAIN}")
            with pytest.raises(CallFailed, match="the call ended"):
                await bobs.transferred()

            carols = await carol.incoming()
            consulting = await carol.call(f"sip:bob@{DOMAIN}")
            at_bob = await bob.incoming()
            await asyncio.gather(consulting.answered(), at_bob.answered())
            carols.transfer_to(consulting)
            await carols.transferred(within=20)
            await asyncio.gather(carols.ended(), consulting.ended())
            assert consulting.end_reason in (f"joined with sip:alice@{DOMAIN}", "the other side hung up")
            last = call.successor.successor
            assert last is not None
            assert at_bob.successor is not None
            assert at_bob.successor.peer == f"sip:alice@{DOMAIN}"
            await asyncio.gather(last.answered(), at_bob.successor.answered())
            last.hang_up()
            await at_bob.successor.ended()

    play(tmp_path, scene)
    assert [(one.target.partition(";")[0], one.attended) for one in asked] == [
        (f"sip:nobody@{DOMAIN}", False),
        (f"sip:raises@{DOMAIN}", False),
        (f"sip:carol@{DOMAIN}", False),
        (f"sip:bob@{DOMAIN}", True),
    ]
    assert sum(isinstance(event, SuccessorInPlace) for event in news) == 2


def test_whoever_is_asked_may_hang_up_instead(tmp_path: Path) -> None:
    def leaves(call: LiveCall, request: TransferRequest) -> bool:
        call.hang_up()
        return True

    async def scene(on: Scene) -> None:
        async with on.client("alice", on_transfer=leaves) as alice, on.client("bob", ring_for=0.0) as bob:
            call = await alice.call(f"sip:bob@{DOMAIN}")
            bobs = await bob.incoming()
            await asyncio.gather(call.answered(), bobs.answered())
            bobs.transfer(f"sip:carol@{DOMAIN}")
            with pytest.raises(CallFailed):
                await bobs.transferred(within=20)
            await asyncio.gather(call.ended(), bobs.ended())
            assert call.successor is None

    play(tmp_path, scene)


def test_a_registration_that_fails_raises_with_the_reason(tmp_path: Path) -> None:
    async def scene(on: Scene) -> None:
        alice = on.client("alice", "guessed", trace=tmp_path / "alice.jsonl")
        with pytest.raises(RegistrationFailed, match=r"^401 .*is the password right"):
            await alice.start()
        assert any("iceway user password alice" in problem for problem in alice.problems())
        assert (tmp_path / "alice.jsonl").stat().st_size > 0
        assert "not let in" in alice.explain()

    play(tmp_path, scene)


def test_a_registration_that_is_lost_and_back_is_told(tmp_path: Path) -> None:
    told: asyncio.Queue[str | None] = asyncio.Queue()

    async def stage() -> None:
        on = Scene(tmp_path)
        async with asyncio.timeout(40):
            bob = on.client("bob", on_registration=told.put_nowait)
            async with running_frontend(on.config) as running:
                add_user(running.store, "bob", "secret", DOMAIN, time.time())
                await bob.start()
            assert await told.get() is not None
            async with running_frontend(on.config) as running:
                while (reason := await told.get()) is not None:
                    assert "refused" in reason
                set_password(running.store, "bob", "another", DOMAIN, time.time())
            async with running_frontend(on.config):
                with pytest.raises(RegistrationFailed, match="401"):
                    await bob.incoming()
                await bob.stop()

    asyncio.run(stage())


def test_a_call_that_cannot_be_made_keeps_no_device(tmp_path: Path) -> None:
    class Device(ToneSource):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    class Camera(PatternSource):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    async def scene(on: Scene) -> None:
        microphone, camera = Device(), Camera()
        async with on.client("alice") as alice:
            with pytest.raises(UsageError, match="cannot be called"):
                await alice.call("b b", play=microphone, video=Pictures(camera))
            assert (microphone.closed, camera.closed) == (1, 1)
            call = await alice.call(f"sip:nobody@{DOMAIN}", play=microphone, video=Pictures(camera))
            await call.ended(10)
            assert (microphone.closed, camera.closed) == (2, 2)

    play(tmp_path, scene)


def test_media_from_paths_and_objects(tmp_path: Path) -> None:
    nothing = make_media()
    assert isinstance(nothing.source, SilenceSource)
    assert isinstance(nothing.sink, NullSink)
    assert isinstance(nothing.early, ToneSource)
    assert isinstance(make_media(ringback=False).early, SilenceSource)
    sink = MemorySink()
    assert make_media(SilenceSource(), sink).sink is sink
    assert isinstance(make_media(speech("bob")).source, FileSource)
    with pytest.raises(UsageError, match="name a WAV file to play"):
        make_media(tmp_path / "none.wav")
    with pytest.raises(EnvironmentFailure, match="cannot record"):
        make_media(record=tmp_path / "nowhere" / "x.wav")
