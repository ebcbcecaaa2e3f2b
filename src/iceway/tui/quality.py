"""How a call's streams fare, as figures with colours: what people call good, fair and poor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iceway.tui.drawing import FAIR, PLAIN, Figure, judged

if TYPE_CHECKING:
    from iceway.media.session import MediaStats


def audio_figures(stats: MediaStats | None) -> list[Figure]:
    """Codec, losses either way, jitter, delay."""
    if stats is None:
        return []
    expected = stats.packets_received + stats.packets_lost
    lost = stats.packets_lost / expected if expected else 0.0
    found = [
        Figure("codec", stats.codec),
        Figure("lost", f"{lost:.1%}", judged(lost, 0.01, 0.05)),
        Figure("jitter", f"{stats.jitter * 1000:.0f} ms", judged(stats.jitter, 0.03, 0.08)),
        Figure("buffer", f"{stats.buffered * 1000:.0f} ms"),
    ]
    if stats.fraction_lost is not None:
        share = stats.fraction_lost
        found.append(Figure("lost there", f"{share:.1%}", judged(share, 0.01, 0.05)))
    if stats.round_trip is not None:
        trip = stats.round_trip
        found.append(Figure("round trip", f"{trip * 1000:.0f} ms", judged(trip, 0.2, 0.4)))
    found.append(Figure("packets", f"{stats.packets_sent} ↑ {stats.packets_received} ↓", PLAIN))
    if stats.packets_rejected:
        found.append(Figure("rejected", f"{stats.packets_rejected}", FAIR))
    return found
