"""How good a call was, summed up and explained: to whom, why, where, and what to do about it."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from iceway.explain.findings import Finding, Severity, findings
from iceway.explain.quality import qualities
from iceway.explain.summary import as_json, summary
from iceway.trace.entry import Entry
from iceway.trace.records import MediaQuality, VideoFroze
from tests.explain.call_story import CALL, NETWORKS, told, view_of

GOOD = MediaQuality(
    CALL, 5.0, 0.0, 0.002, 32_000, 0.04, 0.02, True, 0.0, r=118.0, mos=4.4, wideband=True, concealed=0.0,
    mouth_to_ear=0.12,
)  # fmt: skip
POOR = replace(GOOD, loss=0.09, r=78.0, mos=3.0, concealed=0.09)
SEEN = MediaQuality(CALL, 5.0, 0.0, 0.002, 300_000, 0.04, 0.02, True, 0.0, frame_rate=15.0, media="video")


def heard(network: str = "reflexive", *, alice: MediaQuality = GOOD, bob: MediaQuality = GOOD) -> list[Entry]:
    looks = [(7.0, "alice", alice), (7.1, "bob", bob), (12.0, "alice", alice), (12.1, "bob", bob)]
    return told(network) + [
        Entry(900 + at, when, node, record) for at, (when, node, record) in enumerate(looks)
    ]


def with_pictures(*froze: VideoFroze, look: MediaQuality = SEEN) -> list[Entry]:
    seen = [Entry(950, 7.2, "bob", look), Entry(951, 12.2, "bob", look)]
    return heard() + seen + [Entry(960 + at, 8.0 + at, "bob", record) for at, record in enumerate(froze)]


def of_quality(entries: list[Entry]) -> list[Finding]:
    return [one for one in findings(entries) if one not in findings(told("reflexive"))]


def test_a_good_call_is_summed_up_and_finds_nothing() -> None:
    assert of_quality(heard()) == []
    alice, bob = qualities(heard())
    assert (alice.node, bob.node, alice.media, alice.span) == ("alice", "bob", "audio", 10.0)
    assert str(bob) == "excellent (MOS 4.4), nothing lost, 120 ms from mouth to ear, 20 ms on the way"


def test_poor_sound_in_one_direction_says_which() -> None:
    (found,) = of_quality(heard(bob=POOR))
    assert found.severity is Severity.WARNING
    assert found.title == "Sound at Bob was bad (MOS 3.0): 9% of the packets were lost"
    assert found.meaning.startswith("Only the way from Alice to Bob loses packets, 9%")
    assert found.seen == (901, 903)
    assert "cable" in found.remedy


def test_packets_that_came_too_late_are_not_taken_for_lost_ones() -> None:
    (found,) = of_quality(heard(bob=replace(POOR, late=POOR.loss * 0.9)))
    assert found.title == "Sound at Bob was bad (MOS 3.0): 9% of the packets came too late to be played"
    assert "hardly any were lost" in found.meaning
    assert "busy with other work" in found.remedy


def test_losses_both_ways_are_said_to_be() -> None:
    one, other = of_quality(heard(alice=POOR, bob=POOR))
    assert "Both directions lose packets: 9% towards Alice, 9% towards Bob" in one.meaning
    assert "Bob" in other.title


def test_one_end_alone_asks_for_the_other_ends_trace() -> None:
    (found,) = [one for one in findings(view_of(heard(bob=POOR), "bob")) if "MOS" in one.title]
    assert "a trace of the other end" in found.meaning


@pytest.mark.parametrize(
    ("network", "words"),
    [("relayed_udp", "each leg to the relay"), ("relayed_tcp", "let UDP out to the edge")],
)
def test_what_to_do_depends_on_the_path(network: str, words: str) -> None:
    assert network in NETWORKS
    (found,) = [one for one in findings(heard(network, bob=POOR)) if "MOS" in one.title]
    assert words in found.remedy


def test_delay_is_a_cause_of_its_own() -> None:
    late = replace(GOOD, mos=3.3, r=85.0, one_way=0.3, mouth_to_ear=0.42)
    (found,) = [one for one in findings(heard("relayed_udp", bob=late)) if "MOS" in one.title]
    assert "it took 420 ms from mouth to ear" in found.title
    assert "a relay nearer to both sides" in found.remedy


def test_losses_are_told_once() -> None:
    assert not [one for one in findings(heard(bob=POOR)) if "of the sound (" in one.title]


def froze(reason: str, length: float = 0.5) -> VideoFroze:
    return VideoFroze(CALL, 2.0, length, reason)


def test_pictures_that_stood_still_say_why() -> None:
    (found,) = of_quality(with_pictures(*[froze("loss")] * 3, look=replace(SEEN, loss=0.12)))
    assert found.title == "Picture at Bob stood still 3 times, 1.5 s in all"
    assert (
        "packets were lost on the way and had to be sent again (12% of the packets never came)"
        in found.meaning
    )
    assert "a lower rate" in found.remedy
    assert found.seen == (960, 961, 962)
    (found,) = of_quality(with_pictures(*[froze("nothing came")] * 4))
    assert "look at its processor" in found.remedy


def test_a_standstill_or_two_are_no_finding() -> None:
    assert of_quality(with_pictures(froze("loss"), froze("loss"))) == []


def test_a_picture_that_hardly_moves_gave_way() -> None:
    (found,) = of_quality(with_pictures(look=replace(SEEN, frame_rate=2.0, bit_rate=20_000)))
    assert found.severity is Severity.INFO
    assert found.title == "Picture at Bob moved 2.0 times a second, at 20 kbit/s"


def test_clocks_that_differ_are_said_to() -> None:
    (_, bob) = qualities(heard(bob=replace(GOOD, clocks_agree=False)))
    assert str(bob).endswith("20 ms on the way, if both ways are alike: the two clocks differ")


def test_summaries_for_people_and_for_programs_have_it() -> None:
    entries = with_pictures(*[froze("loss")] * 3)
    out = io.StringIO()
    Console(file=out, width=160).print(summary(entries, detail=False))
    assert "sound at Alice: excellent (MOS 4.4)" in out.getvalue()
    assert "picture at Bob: 15 pictures a second, nothing lost, stood still 3 times" in out.getvalue()
    streams = as_json(entries)["streams"]
    assert [(one["node"], one["media"]) for one in streams] == [
        ("alice", "audio"),
        ("bob", "audio"),
        ("bob", "video"),
    ]
    assert streams[0]["mos"] == pytest.approx(4.4)
