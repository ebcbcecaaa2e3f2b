"""How a call's streams fare, as figures with colours: what people call good, fair and poor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceway.tui.drawing import FAIR, GOOD, POOR, Figure, judged

if TYPE_CHECKING:
    from iceway.client.stats import CallStats
    from iceway.media.session import MediaStats
    from iceway.media.video_stats import VideoStats


def figures(stats: CallStats) -> list[tuple[str, list[Figure]]]:
    """Each stream that there is, with its figures."""
    found = []
    if stats.audio is not None:
        found.append(("sound", _sound(stats.audio)))
    for name, pictures in (("video", stats.video), ("slides", stats.slides)):
        if pictures is not None:
            found.append((name, _pictures(pictures)))
    return found


def _sound(stats: MediaStats) -> list[Figure]:
    found = [Figure("codec", stats.codec.partition("/")[0])]
    if stats.mos is not None:
        style = GOOD if stats.mos >= 3.8 else FAIR if stats.mos >= 3.1 else POOR
        found.append(Figure("MOS", f"{stats.mos:.1f} of 5", style))
    found.append(_lost(stats.packets_lost, stats.packets_received))
    made_up = stats.samples_concealed / stats.samples_played if stats.samples_played else 0.0
    found.append(Figure("made up", f"{made_up:.1%}", judged(made_up, 0.01, 0.05)))
    found.append(_jitter(stats.jitter))
    if stats.mouth_to_ear is not None:
        found.append(Figure("mouth to ear", _ms(stats.mouth_to_ear), judged(stats.mouth_to_ear, 0.2, 0.4)))
    return [*found, *_there(stats)]


def _pictures(stats: VideoStats) -> list[Figure]:
    found = [Figure("codec", stats.codec.partition("/")[0])]
    if stats.width:
        found.append(Figure("size", f"{stats.width}×{stats.height}"))
        found.append(Figure("pictures", f"{stats.frame_rate:.0f}/s"))
    if stats.frames_sent:
        found.append(Figure("sent at", f"{stats.bit_rate / 1000:.0f} kbit/s"))
    found.append(Figure("standstills", f"{stats.freezes}", judged(stats.freezes, 1, 4)))
    found.append(_lost(stats.packets_lost, stats.packets_received))
    found.append(_jitter(stats.jitter))
    return [*found, *_there(stats)]


def _there(stats: MediaStats | VideoStats) -> list[Figure]:
    """What the other side told, and the way to it."""
    found = []
    if stats.fraction_lost is not None:
        share = stats.fraction_lost
        found.append(Figure("lost there", f"{share:.1%}", judged(share, 0.01, 0.05)))
    if stats.round_trip is not None:
        found.append(Figure("round trip", _ms(stats.round_trip), judged(stats.round_trip, 0.2, 0.4)))
    return found


def _lost(lost: int, received: int) -> Figure:
    share = lost / (lost + received) if lost else 0.0
    return Figure("lost", f"{share:.1%}", judged(share, 0.01, 0.05))


def _jitter(jitter: float) -> Figure:
    return Figure("jitter", _ms(jitter), judged(jitter, 0.03, 0.08))


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
