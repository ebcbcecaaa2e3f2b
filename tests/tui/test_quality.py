from __future__ import annotations

from dataclasses import replace

from iceway.client.stats import CallStats
from iceway.media.video_stats import VideoStats
from iceway.tui.drawing import FAIR, GOOD, POOR
from iceway.tui.quality import figures
from tests.tui.fakes import measured, stats

VIDEO = measured(
    VideoStats,
    codec="VP8",
    width=640,
    height=360,
    frames_sent=150,
    frames_shown=140,
    frame_rate=14.6,
    freezes=5,
    packets_received=880,
    packets_lost=1,
    bit_rate=600_000,
    jitter=0.004,
    round_trip=0.043,
    fraction_lost=0.02,
)


def by_label(found: CallStats, stream: str) -> dict[str, tuple[str, str]]:
    return {one.label: (one.value, one.style) for one in dict(figures(found))[stream]}


def test_sound_is_good_until_it_is_lost() -> None:
    good = by_label(stats(), "sound")
    assert good["MOS"] == ("4.3 of 5", GOOD)
    assert good["lost"] == ("0.0%", GOOD)
    assert good["round trip"] == ("43 ms", GOOD)
    assert by_label(stats(lost=20), "sound")["lost"] == ("4.0%", FAIR)
    assert by_label(stats(lost=100), "sound")["lost"][1] == POOR


def test_what_is_not_known_is_not_shown() -> None:
    audio = stats().audio
    assert audio is not None
    unknown = replace(
        audio, mos=None, fraction_lost=None, round_trip=None, mouth_to_ear=None, samples_played=0
    )
    assert set(by_label(CallStats(audio=unknown), "sound")) == {"codec", "lost", "made up", "jitter"}
    assert figures(CallStats()) == []


def test_pictures_have_a_size_a_rate_and_standstills() -> None:
    found = by_label(CallStats(video=VIDEO), "video")
    assert found["size"][0] == "640×360"
    assert found["pictures"][0] == "15/s"
    assert found["sent at"][0] == "600 kbit/s"
    assert found["standstills"] == ("5", POOR)
    assert found["lost there"] == ("2.0%", FAIR)
    assert [name for name, _ in figures(replace(stats(), slides=VIDEO))] == ["sound", "slides"]
