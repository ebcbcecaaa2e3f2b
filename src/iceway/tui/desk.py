"""The phone as its owner deals with it: the line, the calls, what can be done with them. It knows no screen.

`run` registers, takes what calls in, and tries again when the server cannot be reached; each call is a `Card` from its
first ring to its last word. Whoever shows the desk looks at it when `changes` has grown.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceway.core.errors import IcewayError, UsageError
from iceway.explain.clean import clean
from iceway.tui.card import Card, Gear, Options, Watched
from iceway.tui.contacts import ContactBook, Recent
from iceway.tui.story import Story
from iceway.tui.voice import Voice

if TYPE_CHECKING:
    from iceway.client.media import Media
    from iceway.client.run import Client, LiveCall, News

_log = logging.getLogger("iceway.phone")

RETRIES = (5.0, 10.0, 20.0, 40.0, 60.0)  # seconds between tries to register, the last again and again
KEY = 0.12  # seconds that a telephone key is held down
DROPPED = 5.0  # seconds for both sides to agree that a stream is gone
MAX_OVER = 3  # calls that are over and still on the desk
MAX_KEYS = 40
PICTURES = ("video", "slides")


@dataclass(slots=True)
class Line:
    """The way to the server. `state`: connecting, registered, lost (it comes back by itself), down (nobody tries
    until `retry_at`, or until told to)."""

    state: str = "connecting"
    reason: str = ""
    advice: tuple[str, ...] = ()
    retry_at: float | None = None


class Desk:
    """`connect` makes a client that tells this desk: its media is `attend`, its news `news`, and so on."""

    def __init__(
        self,
        connect: Callable[[Desk], Client],
        book: ContactBook,
        options: Options,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.book = book
        self.options = options
        self.clock = clock
        self.wall = wall
        self.story = Story()
        self.line = Line()
        self.cards: list[Card] = []
        self.chosen: Card | None = None
        self.quiet = False
        self.changes = 0
        self._connect = connect
        self._client: Client | None = None  # while it is registered
        self._last: Client | None = None
        self._attending: dict[str, list[Gear]] = {}
        self._errands: set[asyncio.Task[None]] = set()
        self._streams_changed = asyncio.Event()
        self._again = asyncio.Event()
        if book.trouble:
            self.story.say(book.trouble, "bad")

    # --- the line -----------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Register, and again whenever that comes to an end; until cancelled. What is wrong with options is raised."""
        tries = 0
        while True:
            self.line = Line("connecting")
            self.story.wrong_password = False
            self._changed()
            client = self._last = await asyncio.to_thread(self._connect, self)
            tries = 0 if await self._serve(client) else tries + 1
            wait = None if self.story.wrong_password else RETRIES[min(tries, len(RETRIES)) - 1]
            self.line.retry_at = None if wait is None else self.clock() + wait
            self._changed()
            self._again.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._again.wait(), wait)

    def retry(self) -> None:
        """Register now, rather than later."""
        self._again.set()

    async def leave(self) -> None:
        """Hang up and unregister; bounded by a few seconds."""
        client, self._client = self._client, None
        if client is not None:
            await client.stop()

    async def _serve(self, client: Client) -> bool:
        """Whether it was registered before it came to its end."""
        from iceway.client.run import RegistrationFailed

        try:
            ready = await client.start()
        except RegistrationFailed as failure:
            self._is_down(str(failure), client)
            return False
        self._client = client
        self.line = Line("registered", "through the edge" if ready.outside else "")
        if ready.relay_trouble:
            self.story.say(f"calls have no relay to fall back on: {ready.relay_trouble}", "bad")
        if self.quiet:
            client.do_not_disturb(True)
        self._changed()
        try:
            while True:
                self._rings(await client.incoming())
        except RegistrationFailed as failure:
            self._is_down(str(failure), client)
            await self.leave()
        return True

    def _is_down(self, reason: str, client: Client) -> None:
        advice = tuple(clean(problem) for problem in client.problems())
        self.line = Line("down", clean(reason), advice)
        self.story.say(f"not registered: {reason}", "bad")
        self._changed()

    def registration(self, lost: str | None) -> None:
        """The registration was lost, and why; or it is back."""
        self.line = Line("registered") if lost is None else Line("lost", clean(lost))
        self.story.say(
            "registered again" if lost is None else f"registration lost, trying again: {lost}",
            "good" if lost is None else "bad",
        )
        self._changed()

    def disturb(self, quiet: bool) -> None:
        """Turn callers away (`quiet`), or let it ring again."""
        self.quiet = quiet
        if self._client is not None:
            self._client.do_not_disturb(quiet)
        self.story.say("callers are turned away now" if quiet else "callers get through again")
        self._changed()

    # --- calls come and go --------------------------------------------------------------------------------
    def attend(self, address: str) -> Media:
        """The media of a call that comes in."""
        from iceway.client.run import make_media
        from iceway.media.pictures import Pictures

        gear = Gear(Voice(self.options.devices), {kind: Watched() for kind in PICTURES})
        waiting = [one for one in self._attending.pop(address, []) if not one.voice.closed]
        self._attending[address] = [*waiting, gear]
        video, slides = (
            Pictures(sink=gear.watched[kind]) for kind in PICTURES
        )  # ours are shown when we say so
        return make_media(gear.voice, gear.voice, video=video, share=slides)

    def address(self, text: str) -> str:
        """What somebody typed, as an address: a contact's name, a SIP address, or a user of our own domain."""
        text = text.strip()
        known = self.book.address_of(text)
        if known is not None:
            return known
        if not text.startswith(("sip:", "sips:")):
            text = f"sip:{text}"
        return text if "@" in text else f"{text}@{self.options.domain}"

    async def call(self, text: str) -> Card:
        """Call somebody, and hold whom we talk with. Raises IcewayError that says why it cannot be."""
        if not text.strip():
            raise UsageError("nobody to call; type a name or an address")
        if self._client is None:
            raise UsageError("not registered yet, so nobody can be called")
        address = self.address(text)
        voice = Voice(self.options.devices)
        live = await self._client.call(address, play=voice, record=voice)
        for other in self.cards:
            if other.talking and not other.live.held_here:
                other.live.hold()
        return self._card(live, address, Gear(voice), incoming=False)

    def _rings(self, live: LiveCall) -> None:
        waiting = [one for one in self._attending.pop(live.peer, []) if not one.voice.closed]
        gear = waiting.pop(0) if waiting else Gear(Voice(self.options.devices))
        if waiting:
            self._attending[live.peer] = waiting
        self._card(live, live.peer, gear, incoming=True)

    def _card(self, live: LiveCall, address: str, gear: Gear, *, incoming: bool) -> Card:
        card = Card(live, clean(address), self.book.name_of(address), incoming, gear, self.clock())
        self.cards.append(card)
        if not incoming or not any(one.talking for one in self.cards):
            self.chosen = card
        self._errand(self._watch(card))
        self._changed()
        return card

    async def _watch(self, card: Card) -> None:
        from iceway.client.run import CallFailed

        try:
            await card.live.answered()
            card.answered_at = self.clock()
            self._changed()
            await card.live.ended()
        except CallFailed:
            pass
        card.over_at = self.clock()
        self._over(card)

    def _over(self, card: Card) -> None:
        reason = clean(card.live.end_reason)
        lasted = 0.0 if card.answered_at is None else self.clock() - card.answered_at
        answered = card.answered_at is not None
        recent = Recent(
            card.address, self.wall() - (self.clock() - card.began), card.incoming, answered, lasted, reason
        )
        self.book.called(recent)
        over = [one for one in self.cards if one.over]
        for old in over[:-MAX_OVER]:
            self.cards.remove(old)
        if self.chosen is card and (other := next((one for one in self.cards if not one.over), None)):
            self.chosen = other
        self._changed()

    def news(self, live: LiveCall, news: News) -> None:
        """What befalls a call between its steps."""
        from iceway.client import events

        card = self._card_of(live.name)
        if isinstance(news, events.SuccessorBegun) and (old := self._card_of(news.of)) is not None:
            self.story.say(f"{old.name} passes us on to {news.peer}")
            self._card(live, news.peer, old.gear, incoming=False)
            self.chosen = old  # for as long as it goes on
        if card is None:
            return
        match news:
            case events.CallPathless(after=after, tried=tried):
                card.trouble = f"no path after {after:.0f} s: {clean(tried)}"
            case events.CallInterrupted(reason=reason):
                card.trouble, card.interrupted = (
                    f"the path is lost ({clean(reason)}); looking for another",
                    True,
                )
            case events.CallRestored():
                card.trouble, card.interrupted = "", False
            case events.CallKeyless(reason=reason):
                card.trouble = f"there will be no sound: {clean(reason)}"
            case events.CallDigit(digit=digit):
                card.keys_heard = (card.keys_heard + clean(digit))[-MAX_KEYS:]
                self.story.say(f"{card.name} presses {digit}")
            case events.TransferProgress(status=status, reason=reason):
                self.story.say(f"{card.name} is transferred: {status} {reason}")
            case events.CallTransferred(to=to):
                self.story.say(f"{card.name} talks with {to} now", "good")
            case events.TransferFailed(status=status, reason=reason):
                card.trouble = f"not transferred: {status} {clean(reason)}"
                self.story.say(f"{card.name} is {card.trouble}", "bad")
            case events.SuccessorInPlace():
                self.chosen = card
            case events.CallStreams(streams=streams):
                card.shows &= set(streams)
                self._streams_changed.set()
                self.story.say(f"the call with {card.name} carries {', '.join(streams)}")
            case _:
                pass  # the card shows it
        self._changed()

    def _card_of(self, name: str) -> Card | None:
        return next((one for one in self.cards if one.live.name == name and not one.over), None)

    # --- what can be done with a call ---------------------------------------------------------------------
    def choose(self, card: Card) -> None:
        self.chosen = card
        self._changed()

    def dismiss(self, card: Card) -> None:
        """Take a call that is over off the desk."""
        if card.over and card in self.cards:
            self.cards.remove(card)
            if self.chosen is card:
                self.chosen = next((one for one in self.cards if not one.over), None)
            self._changed()

    def answer(self, card: Card) -> None:
        """…and hold all others."""
        card.live.take()
        self.chosen = card
        self._changed()

    def decline(self, card: Card) -> None:
        card.live.refuse(603, "Decline")
        self._changed()

    def hang_up(self, card: Card) -> None:
        if card.rings:
            card.live.refuse()
        else:
            card.live.hang_up()
        self._changed()

    def mute(self, card: Card) -> None:
        card.muted = not card.muted
        card.live.mute(card.muted)
        self._changed()

    def hold(self, card: Card) -> None:
        """Hold, or resume and hold all others. Raises UsageError before the call is answered."""
        if card.live.held_here:
            for other in self.cards:
                if other is not card and other.talking and not other.live.held_here:
                    other.live.hold()
            card.live.resume()
        else:
            card.live.hold()
        self._changed()

    def press(self, card: Card, digit: str) -> None:
        """A telephone key. Raises UsageError if the call cannot carry any."""
        card.live.send_dtmf(digit, KEY)
        card.keys_sent = (card.keys_sent + digit)[-MAX_KEYS:]
        self._changed()

    def transfer(self, card: Card, text: str) -> None:
        """Pass the other side on: to whom is typed; to the other call, if that is who is typed, or if nothing is.

        Raises UsageError if that cannot be.
        """
        others = [one for one in self.cards if one is not card and one.talking]
        wanted = self.address(text) if text.strip() else ""
        meant = [one for one in others if not wanted or one.address == wanted]
        if meant:
            card.live.transfer_to(meant[0].live)
        elif wanted:
            card.live.transfer(wanted)
        else:
            raise UsageError("transfer to whom? Type a name or an address")
        card.transferring = True
        self._errand(self._transferred(card))

    async def _transferred(self, card: Card) -> None:
        from iceway.client.run import CallFailed

        try:
            await card.live.transferred()
        except CallFailed as failure:
            card.trouble = f"not transferred: {clean(str(failure))}"
        card.transferring = False
        self._changed()

    def show(self, card: Card, kind: str) -> None:
        """Show our camera ("video") or desktop ("slides"), or no more. What comes of it is on the card."""
        if kind in card.shows and kind in card.live.streams:
            card.live.drop(kind)
            card.shows.discard(kind)
            self._changed()
        else:
            self._errand(self._show(card, kind))

    async def _show(self, card: Card, kind: str) -> None:
        watched = Watched()
        try:
            pictures = await asyncio.to_thread(self.options.pictures, kind, watched)
            watched.shows = pictures.source
            if kind in card.live.streams:  # theirs, which we only watch: ours begins with a stream both ways
                card.live.drop(kind)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._without(card, kind), DROPPED)
            card.live.add(kind, pictures)
        except IcewayError as error:
            watched.close()
            card.trouble = clean(str(error))
        else:
            card.gear.watched[kind] = watched
            card.shows.add(kind)
            card.trouble = ""
        self._changed()

    async def _without(self, card: Card, kind: str) -> None:
        while kind in card.live.streams:
            self._streams_changed.clear()
            await self._streams_changed.wait()

    def _errand(self, what: Coroutine[None, None, None]) -> None:
        """Something that takes its time. A bug in it is logged, and the phone goes on."""
        task = asyncio.create_task(what)
        self._errands.add(task)
        task.add_done_callback(self._back)

    def _back(self, task: asyncio.Task[None]) -> None:
        self._errands.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("an errand of the phone's failed", exc_info=error)

    def record(self, card: Card) -> None:
        """Begin to record both sides, or end it. Raises EnvironmentFailure if the file cannot be written."""
        if card.voice.recording is not None:
            self.story.say(f"recorded to {card.voice.recording}")
            card.voice.stop_recording()
        else:
            stamp = time.strftime("%Y-%m-%d %H.%M.%S", time.localtime(self.wall()))
            name = "".join(char if char.isalnum() or char in "-_." else "_" for char in card.name)
            try:
                card.voice.record(self.options.recordings / f"{stamp} {name[:60]}.wav")
            except OSError as error:
                raise IcewayError(f"{self.options.recordings} cannot be made: {error.strerror}") from error
            self.story.say(f"recording to {card.voice.recording}")
        self._changed()

    def explain(self) -> str:
        """The story of everything so far."""
        return self._last.explain() if self._last is not None else ""

    def _changed(self) -> None:
        self.changes += 1
