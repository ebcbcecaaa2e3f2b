"""One call as it lies on the desk: who it is with, how it stands, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from iceway.tui.story import Story
from iceway.tui.voice import Devices, Voice

if TYPE_CHECKING:
    from iceway.client.run import LiveCall
    from iceway.client.stats import CallStats
    from iceway.media.picture import Picture
    from iceway.media.pictures import Pictures, PictureSource


class Watched:
    """Where the pictures of one stream go: the latest is there to be looked at.

    It lets go of what we show beside them when the stream ends.
    """

    def __init__(self) -> None:
        self.latest: Picture | None = None
        self.count = 0
        self.shows: PictureSource | None = None  # ours, of the same stream

    def show(self, picture: Picture, at: float) -> None:
        self.latest = picture
        self.count += 1

    def close(self) -> None:
        self.latest = None
        ours, self.shows = self.shows, None
        if (let_go := getattr(ours, "close", None)) is not None:
            let_go()


@dataclass(slots=True)
class Gear:
    """What a call speaks, hears and sees with. `watched` by kind, for streams that there are or may be."""

    voice: Voice
    watched: dict[str, Watched] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Card:
    """One call. `over_at` is when it ended; times are the desk's clock. `shows` are the pictures that we send."""

    live: LiveCall
    address: str
    name: str
    incoming: bool
    gear: Gear
    began: float
    answered_at: float | None = None
    over_at: float | None = None
    muted: bool = False
    trouble: str = ""
    keys_sent: str = ""
    keys_heard: str = ""
    interrupted: bool = False
    transferring: bool = False
    shows: set[str] = field(default_factory=set)
    stats: CallStats | None = None  # as last looked at; they outlive the call

    @property
    def voice(self) -> Voice:
        return self.gear.voice

    @property
    def over(self) -> bool:
        return self.over_at is not None

    @property
    def talking(self) -> bool:
        return self.answered_at is not None and not self.over

    @property
    def waits(self) -> bool:
        """They are to answer, and nothing is heard of them yet."""
        return not self.incoming and self.answered_at is None and not self.over and not self.voice.hears

    @property
    def rings(self) -> bool:
        """It is for us to answer."""
        return self.incoming and self.answered_at is None and not self.over


@dataclass(slots=True)
class Options:
    """What calls are made with. `recordings` is the directory that recordings go to; `pictures` opens what we show as
    "video" or "slides", theirs going to the sink."""

    devices: Devices
    recordings: Path
    domain: str
    pictures: Callable[[str, Watched], Pictures]


def state_of(card: Card, story: Story) -> str:
    """One word or two about a call."""
    live = card.live
    if card.over:
        return "over"
    if card.answered_at is None:
        if card.incoming:
            return "waiting" if live.waiting else "rings"
        return "ringing" if card.address in story.ringing else "calling"
    if card.interrupted:
        return "path lost"
    if card.transferring:
        return "passed on"
    if live.held_here and live.held_there:
        return "both hold"
    return "on hold" if live.held_here else "held by them" if live.held_there else "talking"
