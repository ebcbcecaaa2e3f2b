"""Media that breaks in the middle of a call: the call goes on, and so do its other streams; the trace says why."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from iceway.client import events
from iceway.client.media import Media
from iceway.lab import topologies
from iceway.lab.office import VirtualOffice
from iceway.media.files import MemorySink, SilenceSource, ToneSource, WavSink
from iceway.media.pattern import PatternSource
from iceway.media.picture import Picture
from iceway.media.pictures import NullSink, Pictures
from iceway.media.sound import RATE, Samples
from iceway.media.stream import Outgoing
from iceway.media.video_files import MkvRecorder
from iceway.trace.records import Note
from tests.e2e.calls import end_of
from tests.e2e.story import every


class Company:
    """Alice outside and Bob inside, in a call with sound and pictures for which Alice brings `media`."""

    def __init__(self, media: Media) -> None:
        self.office = VirtualOffice(topologies.relayed_udp(), 1)
        self.alice = self.office.joins("alice")
        self.bob = self.office.joins(
            "bob", ring_for=0.0, says=lambda: ToneSource(500), shows=lambda: {"video": PatternSource(64, 48)}
        )
        for person in (self.alice, self.bob):
            assert person.waits_for(events.Ready)
        self.call = self.office.world.call(
            "alice", lambda now: self.alice.phone.call("sip:bob@example.test", media, now)
        )
        for person in (self.alice, self.bob):
            assert person.waits_for(events.CallSettled), person.events

    def goes_on(self, seconds: float = 4.0) -> None:
        """Bob hears and sees something new, and so would Alice; then she hangs up, and nothing ended before."""
        self.office.world.advance(1.0)
        heard, seen = len(self.bob.heard[-1].samples), len(self.bob.seen[-1]["video"].seen)
        received = self.received()
        self.office.world.advance(seconds)
        assert len(self.bob.heard[-1].samples) - heard > 0.9 * seconds * RATE
        assert len(self.bob.seen[-1]["video"].seen) - seen > 0.9 * seconds * 15
        assert all(now - before > 10 * seconds for before, now in zip(received, self.received(), strict=True))
        self.ends()

    def ends(self) -> None:
        for person in (self.alice, self.bob):
            assert not person.saw(events.CallEnded)
        self.alice.hangs_up(self.call)
        for person in (self.alice, self.bob):
            assert person.waits_for(events.CallEnded)
        assert end_of(self.alice).reason == "hung up here"

    def received(self) -> tuple[int, int]:
        stats = self.office.world.call("alice", lambda now: self.alice.phone.stats(self.call, now))
        assert stats.audio is not None
        assert stats.video is not None
        return stats.audio.packets_received, stats.video.packets_received

    def notes(self, who: str = "alice") -> list[str]:
        return [note.text for note in every(self.office.world.trace, Note, who)]


def brings(source: object = None, sink: object = None, video: object = None, watches: object = None) -> Media:
    pictures = Pictures(video or PatternSource(64, 48), watches or NullSink())  # type: ignore[arg-type]
    return Media(source or ToneSource(), sink or MemorySink(), SilenceSource(), pictures)  # type: ignore[arg-type]


FULL = "No space left on device"


def test_recordings_on_a_full_disk_end_and_the_call_goes_on() -> None:
    film = MkvRecorder(Path("/dev/full"), size=(64, 48), with_sound=False)
    company = Company(brings(sink=WavSink("/dev/full"), watches=film.pictures))
    company.goes_on()
    told = company.notes()
    assert f"what is heard is not recorded from here on: {FULL}" in told
    assert f"what is seen is not recorded from here on: {FULL}" in told


class EndsBadly(MemorySink):
    """A file whose end does not fit on the disk any more."""

    def close(self) -> None:
        raise OSError(errno.ENOSPC, FULL)


def test_a_recording_that_cannot_be_closed_does_not_keep_a_call_from_ending() -> None:
    company = Company(brings(sink=EndsBadly()))
    company.goes_on()
    assert f"the recording may lack its end: {FULL}" in company.notes()


def test_nor_one_of_a_call_that_nobody_answered() -> None:
    office = VirtualOffice(topologies.one_lan(), 1)
    alice = office.joins("alice")
    assert alice.waits_for(events.Ready)
    media = Media(ToneSource(), EndsBadly(), SilenceSource(), Pictures(PatternSource(64, 48)))
    office.world.call("alice", lambda now: alice.phone.call("sip:bob@example.test", media, now))
    assert alice.waits_for(events.CallEnded, 60.0)
    assert f"what the call was given could not be closed: {FULL}" in [
        note.text for note in every(office.world.trace, Note, "alice")
    ]


class Gives:
    """A program's source that fails in the middle."""

    def __init__(self, source: ToneSource | PatternSource, good: int) -> None:
        self._source = source
        self._left = good

    def read(self) -> Samples | Picture | None:
        self._left -= 1
        if self._left < 0:
            raise RuntimeError("the device is gone")
        return self._source.read()


def test_a_microphone_and_a_camera_that_fail_cost_what_they_gave_and_nothing_else() -> None:
    company = Company(brings(source=Gives(ToneSource(), 100), video=Gives(PatternSource(64, 48), 30)))
    company.office.world.advance(5.0)
    heard, received = len(company.bob.heard[-1].samples), company.received()
    company.office.world.advance(2.0)
    assert len(company.bob.heard[-1].samples) - heard > 1.8 * RATE, "silence keeps the path alive"
    assert company.received()[0] - received[0] > 90, "Bob is still heard"
    assert company.received()[1] - received[1] > 25, "and seen"
    company.ends()
    told = [note for note in company.notes() if "the device is gone" in note]
    assert len(told) == 2


def renamed(outgoing: Outgoing) -> None:
    outgoing.ssrc ^= 0x0BAD_CAFE
    outgoing._sequence = (outgoing._sequence + 20_000) & 0xFFFF


def test_streams_whose_sources_change_in_the_middle_go_on() -> None:
    """As behind a gateway that fails over: the same call, other SSRCs, other numbers, nothing said."""
    company = Company(brings())
    company.office.world.advance(2.0)
    media = company.alice.phone._calls[company.call]._media
    assert media.audio is not None
    for session in (media.audio, media.pictures["video"]):
        assert session._outgoing is not None
        renamed(session._outgoing)
    media.pictures["video"]._whole_wanted = True
    company.goes_on()
    told = company.notes("bob")
    assert [text.partition(" took")[0] for text in told if "took over" in text] == [
        "another source of sound",
        "another source of video",
    ]


@pytest.mark.parametrize("jump", [7200.0, -7200.0])
def test_a_wall_clock_that_jumps_by_hours_is_not_noticed(jump: float) -> None:
    company = Company(brings())
    company.office.world.advance(4.0)
    company.office.world.set_clock("alice", jump)
    company.goes_on(8.0)
    for person in (company.alice, company.bob):
        assert not person.saw(events.CallInterrupted)
