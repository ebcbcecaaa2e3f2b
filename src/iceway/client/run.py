"""The client on real sockets: iceway's public API.

    async with Client("sip:alice@example.test", "secret") as me:
        call = await me.call("sip:bob@example.test", play="hello.wav", record="heard.wav")
        await call.answered()
        await call.played()
        print(call.path, call.explain())

A `Client` registers when it is entered and hangs up and unregisters when it is left. What goes wrong raises
`CallFailed` or `RegistrationFailed`, whose text names the cause; `call.explain()` tells the whole story.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Self, TypeVar

from iceway.client import events
from iceway.client.config import PhoneConfig, ServerAddress
from iceway.client.media import Media
from iceway.client.phone import Phone
from iceway.client.stats import CallStats
from iceway.client.transfers import TransferRequest
from iceway.client.ways import Ways
from iceway.core.address import Address
from iceway.core.errors import IcewayError, UsageError
from iceway.explain.model import PathVerdict
from iceway.ice.config import IceServer
from iceway.ice.events import CandidatePath
from iceway.io.driver import Driver
from iceway.io.keystore import KeyStore
from iceway.io.recorder import Recorder
from iceway.io.resolver import Resolver
from iceway.io.selfsigned import media_identity
from iceway.media.files import FileSource, NullSink, SilenceSource, Sink, Source, ToneSource, WavSink
from iceway.media.keying import Keys
from iceway.media.pictures import Pictures
from iceway.trace.entry import Entry
from iceway.trace.records import Measured, Note, Record

T = TypeVar("T")
News = (
    events.CallPathless
    | events.CallInterrupted
    | events.CallRestored
    | events.CallKeyless
    | events.CallDigit
    | events.CallHeld
    | events.TransferProgress
    | events.CallTransferred
    | events.TransferFailed
    | events.SuccessorBegun
    | events.SuccessorInPlace
    | events.CallStreams
)
MAX_DIGITS = 256  # keys kept for a program that does not ask for them
STOP_LIMIT = 3.0  # seconds for BYE, unregistering and giving relays back


class RegistrationFailed(IcewayError):
    """The client could not register; the text says why and, where it can, what to look at."""


class CallFailed(IcewayError):
    """The call ended before what was waited for; the text is the reason."""


class LiveCall:
    """One call. Its waits return when the step is reached and raise CallFailed if the call ends before."""

    def __init__(self, client: Client, name: str, peer: str, media: Media | None = None) -> None:
        self.name = name
        self.peer = peer
        self.media = media
        """What was given to it: sources, sinks."""
        self.end_reason = ""
        self.was_answered = False
        self.selected: CandidatePath | None = None
        self.held_here = self.held_there = False
        self.waiting = False
        self.successor: LiveCall | None = None
        """The call that takes this one's place, or has taken it: somebody transferred us, or themselves."""
        self._client = client
        self._last_stats: CallStats | None = None
        self._transfer: asyncio.Future[str] | None = None
        self._reached: dict[str, asyncio.Event] = {}
        self._digits: asyncio.Queue[str] = asyncio.Queue(MAX_DIGITS)

    async def connected(self, within: float | None = None) -> None:
        """Media can flow, whether or not somebody has picked up."""
        await self._reach("connected", within)

    async def answered(self, within: float | None = None) -> None:
        await self._reach("answered", within)

    async def settled(self, within: float | None = None) -> None:
        """Both sides named the path in SDP."""
        await self._reach("settled", within)

    async def played(self, within: float | None = None) -> None:
        """The recording given as `play` is out."""
        await self._reach("played", within)

    async def ended(self, within: float | None = None) -> None:
        try:
            await asyncio.wait_for(self._event("ended").wait(), within)
        except TimeoutError:
            raise CallFailed(f"the call to {self.peer} is not over after {within:.0f} s") from None

    async def digit(self, within: float | None = None) -> str:
        """The next telephone key that the other side presses. Raises CallFailed when none can come any more."""
        key = asyncio.ensure_future(self._digits.get())
        over = asyncio.ensure_future(self._event("ended").wait())
        try:
            await asyncio.wait({key, over}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
            if key.done():
                return key.result()
        finally:
            key.cancel()
            over.cancel()
        if self._event("ended").is_set():
            raise CallFailed(self.end_reason or "the call ended")
        raise CallFailed(f"no key was pressed within {within:.0f} s")

    def send_dtmf(self, digits: str, duration: float = 0.1) -> None:
        """Press telephone keys (0–9, *, #, A–D), each for so many seconds. Raises UsageError if that cannot be."""
        self._client._command(lambda phone, now: phone.press(self.name, digits, duration, now))

    def mute(self, muted: bool = True) -> None:
        """Send silence; what is played goes on unheard."""
        self._client._command(lambda phone, now: phone.mute(self.name, muted, now))

    def hold(self) -> None:
        """Neither speak nor listen until `resume`; what is played keeps its place. UsageError before the answer."""
        self._client._command(lambda phone, now: phone.hold(self.name, True, now))

    def resume(self) -> None:
        self._client._command(lambda phone, now: phone.hold(self.name, False, now))

    def transfer(self, target: str) -> None:
        """Ask the other side to call somebody else; then wait until it is `transferred`. It is on hold meanwhile.

        Raises UsageError before the answer, during another transfer, and for a target that is no address.
        """
        self._transferring(lambda phone, now: phone.transfer(self.name, target, now))

    def transfer_to(self, other: LiveCall) -> None:
        """The same, with somebody whom we talk with in `other`: both calls become one of theirs."""
        self._transferring(lambda phone, now: phone.join(self.name, other.name, now))

    async def transferred(self, within: float | None = None) -> None:
        """The other side talks with whom it was to call, and this call ends. CallFailed says why nothing came of it."""
        if self._transfer is None:
            raise UsageError(f"nobody was asked to transfer the call with {self.peer}")
        try:
            failure = await asyncio.wait_for(asyncio.shield(self._transfer), within)
        except TimeoutError:
            raise CallFailed(f"no word of what became of the transfer within {within:.0f} s") from None
        if failure:
            raise CallFailed(failure)

    def pick_up(self) -> None:
        """Answer an incoming call."""
        self._client._command(lambda phone, now: phone.pick_up(self.name, now))

    def take(self) -> None:
        """Answer an incoming call and hold all others."""
        self._client._command(lambda phone, now: phone.take(self.name, now))

    def refuse(self, code: int = 486, reason: str = "Busy Here") -> None:
        self._client._command(lambda phone, now: phone.refuse(self.name, code, reason, now))

    def hang_up(self) -> None:
        self._client._command(lambda phone, now: phone.hang_up(self.name, now))

    @property
    def path(self) -> PathVerdict:
        """What carries the call and why nothing better did, as far as this end knows."""
        from iceway.explain.path import verdict  # explanations come last: nobody waits for them at the start

        return verdict(self._client.trace, f"{self.name}/ice")

    def explain(self) -> str:
        """The story for people: the path, what was tried, what went wrong and what to do about it."""
        return _text(self._client.trace)

    @property
    def streams(self) -> tuple[str, ...]:
        """What both sides agreed to carry, of "audio", "video" and "slides"."""
        return self._client.phone.streams(self.name)

    def add(self, kind: str, pictures: Pictures) -> None:
        """Add "video" or "slides" to the call. Raises UsageError before it is answered, or if it has them."""
        self._client._command(lambda phone, now: phone.add(self.name, kind, pictures, now))

    def drop(self, kind: str) -> None:
        """Take "video" or "slides" out of the call."""
        self._client._command(lambda phone, now: phone.drop(self.name, kind, now))

    def stats(self) -> CallStats:
        """How the streams of the call fare; once it is over, how they fared."""
        if self._last_stats is not None:
            return self._last_stats
        return self._client._command(lambda phone, now: phone.stats(self.name, now))

    def note(self, measured: Measured) -> None:
        """Add a figure to the trace."""
        self._client.note(measured)

    def _transferring(self, command: Callable[[Phone, float], None]) -> None:
        before, self._transfer = self._transfer, asyncio.get_running_loop().create_future()
        try:
            self._client._command(command)
        except IcewayError:
            self._transfer = before
            raise
        if self._event("ended").is_set():
            self._transfer_told(f"the call ended: {self.end_reason}")

    def _transfer_told(self, failure: str = "") -> None:
        if self._transfer is not None and not self._transfer.done():
            self._transfer.set_result(failure)

    def _event(self, step: str) -> asyncio.Event:
        return self._reached.setdefault(step, asyncio.Event())

    def _happened(self, step: str) -> None:
        self._event(step).set()

    async def _reach(self, step: str, within: float | None) -> None:
        reached = asyncio.ensure_future(self._event(step).wait())
        over = asyncio.ensure_future(self._event("ended").wait())
        try:
            done, _ = await asyncio.wait({reached, over}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reached.cancel()
            over.cancel()
        if reached in done or self._event(step).is_set():
            return
        if over in done:
            raise CallFailed(self.end_reason or "the call ended")
        raise CallFailed(f"the call was not {step} within {within:.0f} s")


class Client:
    """One user's client. `trust` are PEM files of certificate authorities (None: the system's)."""

    def __init__(
        self,
        identity: str,
        password: str,
        *,
        server: str | None = None,
        trust: Sequence[Path | str] | None = None,
        nameservers: Sequence[str] = (),
        relays: Sequence[IceServer] = (),
        ask_for_relays: bool = True,
        ways: Ways | None = None,
        codecs: Sequence[str] = ("opus", "G722", "PCMU", "PCMA"),
        allow_clear: bool = False,
        keys: Keys = Keys.BOTH,
        ring_for: float | None = None,
        media: Callable[[str], Media] | None = None,
        on_registration: Callable[[str | None], None] | None = None,
        on_news: Callable[[LiveCall, News], None] | None = None,
        on_transfer: Callable[[LiveCall, TransferRequest], bool] | None = None,
        trace: Path | str | None = None,
        listeners: tuple[Callable[[Entry], None], ...] = (),
        node: str = "",
    ) -> None:
        """`media` gives an incoming caller's URI its source and sink; silence for nobody's ears if None.

        `on_registration` hears the reason when the registration is lost, and None when it is back; `on_news` what
        befalls a call between its steps: no path yet, the path lost, another one found, no keys for the
        sound, a telephone key, the call held or resumed, transfers.

        `on_transfer` decides whether the other side of a call may transfer us, or itself. Without it everybody whom we
        talk with may: a call to whom they name is made in our name, plays and records as the one before did, and
        is that one's `successor`.

        `keys`: how keys for the media are agreed on, by DTLS on the media path, by SDES over TLS, or whichever the
        other side can.
        """
        config = PhoneConfig(
            identity=identity,
            password=password,
            server=ServerAddress.parse(server) if server else None,
            relays=tuple(relays),
            ask_for_relays=ask_for_relays,
            ways=ways or Ways(),
            codecs=tuple(codecs),
            allow_clear=allow_clear,
            ring_for=ring_for,
            keys=keys,
            certificate=None if keys is Keys.SDES else media_identity(),
        )
        self._on_transfer = on_transfer
        self.phone = Phone(config, random.SystemRandom(), media or (lambda _: make_media()), self._allows)
        self._recorder = Recorder(Path(trace) if trace else None, keep=True, listeners=listeners)
        keystore = KeyStore(trust=[Path(file) for file in trust or ()], system_trust=trust is None)
        self._driver = Driver(
            self.phone,
            keystore=keystore,
            resolver=Resolver(tuple(Address.parse(text, 53) for text in nameservers)),
            recorder=self._recorder,
            node=node or config.user,
            on_event=self._heard,
        )
        self._calls: dict[str, LiveCall] = {}
        self._waiting: asyncio.Queue[LiveCall | RegistrationFailed] = asyncio.Queue()
        self._on_registration = on_registration
        self._on_news = on_news
        self._ready: asyncio.Future[events.Ready] | None = None
        self._stopped = asyncio.Event()
        self._left = False

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> events.Ready:
        """Find the server and register. Raises RegistrationFailed."""
        self._ready = asyncio.get_running_loop().create_future()
        await self._driver.start()
        self._command(lambda phone, now: phone.start(now))
        try:
            return await self._ready
        except BaseException:
            await self._driver.stop()
            self._recorder.close()
            raise

    async def stop(self) -> None:
        """Hang up, unregister, give relays back; bounded by a few seconds. Once is enough, more does no harm."""
        if self._left:
            return
        self._left = True
        self._command(lambda phone, now: phone.stop(now))
        try:
            await asyncio.wait_for(self._stopped.wait(), STOP_LIMIT)
        except TimeoutError:
            pass  # whoever did not answer by now learns it from silence
        finally:
            await self._driver.stop()
            self._recorder.close()

    async def call(
        self,
        peer: str,
        *,
        play: Path | str | Source | None = None,
        record: Path | str | Sink | None = None,
        video: Pictures | None = None,
        share: Pictures | None = None,
    ) -> LiveCall:
        """Call somebody, with sound and, if given, pictures and a shared desktop.

        Returns at once; wait for the steps on the call.
        """
        media = make_media(play, record, video=video, share=share)

        def place(phone: Phone, now: float) -> LiveCall:
            name = phone.call(peer, media, now)
            return self._calls.setdefault(name, LiveCall(self, name, peer, media))

        try:
            return self._command(place)
        except IcewayError:
            media.close()
            raise

    async def incoming(self) -> LiveCall:
        """The next call that comes in; it is ringing. Raises RegistrationFailed once none can come any more."""
        next_one = await self._waiting.get()
        if isinstance(next_one, RegistrationFailed):
            raise next_one
        return next_one

    def do_not_disturb(self, quiet: bool = True) -> None:
        """Turn callers away from now on, or let it ring again."""
        self._command(lambda phone, now: phone.do_not_disturb(quiet, now))

    @property
    def trace(self) -> list[Entry]:
        return self._recorder.entries

    def explain(self) -> str:
        """The story of everything so far, also where there was no call at all."""
        return _text(self.trace)

    def problems(self) -> list[str]:
        """What is worth an operator's look, in one line each."""
        from iceway.explain.findings import findings

        return [f"{finding.title}: {finding.remedy}" for finding in findings(self.trace)]

    def note(self, record: Record) -> None:
        self._driver.record(record)

    def _allows(self, request: TransferRequest) -> bool:
        if self._on_transfer is None:
            return True
        try:
            return self._on_transfer(self._calls[request.call], request)
        except Exception as error:  # nobody knows what a program's own code may raise
            self.note(Note("error", f"on_transfer failed, so the transfer is refused: {error!r}"))
            return False

    def _command(self, command: Callable[[Phone, float], T]) -> T:
        return self._driver.call(lambda now: command(self.phone, now))

    def _heard(self, event: object, now: float) -> None:
        match event:
            case events.Ready():
                if self._ready is not None and not self._ready.done():
                    self._ready.set_result(event)
            case events.RegistrationFailed(reason=reason, final=final):
                if self._ready is not None and not self._ready.done():
                    self._ready.set_exception(RegistrationFailed(reason))
                elif final:
                    self._waiting.put_nowait(RegistrationFailed(reason))
                elif self._on_registration is not None:
                    self._on_registration(reason)
            case events.RegistrationRestored():
                if self._on_registration is not None:
                    self._on_registration(None)
            case events.IncomingCall(call=name, peer=peer, waiting=waiting, media=media):
                call = self._calls[name] = LiveCall(self, name, peer, media)
                call.waiting = waiting
                self._waiting.put_nowait(call)
            case events.CallConnected(call=name):
                self._step(name, "connected")
            case events.CallAnswered(call=name):
                self._calls[name].was_answered = True
                self._step(name, "answered")
            case events.CallSettled(call=name, path=path):
                self._calls[name].selected = path
                self._step(name, "settled")
            case events.CallPlayed(call=name):
                self._step(name, "played")
            case events.CallDigit(call=name, digit=digit):
                if not self._calls[name]._digits.full():
                    self._calls[name]._digits.put_nowait(digit)
                self._news(event)
            case events.CallHeld(call=name, here=here, there=there):
                self._calls[name].held_here, self._calls[name].held_there = here, there
                self._news(event)
            case events.CallTransferred(call=name):
                self._calls[name]._transfer_told()
                self._news(event)
            case events.TransferFailed(call=name, status=status, reason=reason):
                self._calls[name]._transfer_told(f"{status} {reason}")
                self._news(event)
            case events.SuccessorBegun(call=name, of=old, peer=peer):
                media = self._calls[old].media if old in self._calls else None
                self._calls[name] = LiveCall(self, name, peer, media)
                if old in self._calls:
                    self._calls[old].successor = self._calls[name]
                self._news(event)
            case (
                events.CallPathless()
                | events.CallInterrupted()
                | events.CallRestored()
                | events.CallKeyless()
                | events.TransferProgress()
                | events.SuccessorInPlace()
                | events.CallStreams()
            ):
                self._news(event)
            case events.CallEnded(call=name, reason=reason, stats=stats) if name in self._calls:
                self._calls[name]._last_stats = stats
                self._calls[name].end_reason = reason
                self._calls[name]._transfer_told(f"the call ended: {reason}")
                self._step(name, "ended")
                gone = self._calls.pop(name)
                for call in self._calls.values():
                    if call.successor is gone:
                        call.successor = None
            case events.Stopped():
                self._stopped.set()
            case _:
                pass

    def _news(self, event: News) -> None:
        if self._on_news is not None:
            self._on_news(self._calls[event.call], event)

    def _step(self, name: str, step: str) -> None:
        self._calls[name]._happened(step)


def make_media(
    play: Path | str | Source | None = None,
    record: Path | str | Sink | None = None,
    ringback: bool = True,
    *,
    video: Pictures | None = None,
    share: Pictures | None = None,
) -> Media:
    """What a call plays and records: files by path, anything with `read` or `write`, or silence. Raises UsageError."""
    if isinstance(play, str | Path):
        if not Path(play).is_file():
            raise UsageError(f"there is no recording {play}; name a WAV file to play")
        play = FileSource(play)
    if isinstance(record, str | Path):
        record = WavSink(record)
    return Media(
        source=play if play is not None else SilenceSource(),
        sink=record if record is not None else NullSink(),
        early=ToneSource(425.0, 0.1) if ringback else SilenceSource(),
        video=video,
        slides=share,
    )


def _text(entries: Sequence[Entry]) -> str:
    from rich.console import Console

    from iceway.explain.summary import summary

    console = Console(width=100, file=StringIO(), color_system=None)
    console.print(summary(entries))
    assert isinstance(console.file, StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()).rstrip("\n")
