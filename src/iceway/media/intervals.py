"""How a stream fared since the last look: what sessions say of themselves every few seconds (`MediaQuality`).

Sessions keep counters of the whole call; here is what they came to in between, with the E-model's rating for sound.
The first minutes are looked at closely and the rest of a long call now and then, so that its trace stays small.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from iceway.media.delay import OneWay
from iceway.media.quality import Score, score
from iceway.trace.records import MediaQuality

INTERVAL, LATER = 5.0, 30.0  # seconds between two looks, and between two after the first minutes
_CLOSELY = 60  # looks


@dataclass(frozen=True, slots=True)
class Counts:
    """What a session has counted so far. `samples`, `concealed` and `late` are of sound, the others behind of pictures."""

    packets: int
    octets: int
    lost: int
    samples: int = 0
    concealed: int = 0
    shown: int = 0
    freezes: int = 0
    frozen: float = 0.0
    late: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """What is known of the way that packets take, at the moment of the look. `far_loss`: of ours, as reported."""

    jitter: float
    round_trip: float | None
    one_way: OneWay
    far_loss: float | None


class Intervals:
    """One stream of the other side, from its first packet on."""

    def __init__(self, call_id: str, media: str, now: float) -> None:
        self.score: Score | None = None
        """Of the last interval in which anything came."""
        self.look_at = now + INTERVAL
        self._call_id = call_id
        self._media = media
        self._before = Counts(0, 0, 0)
        self._at = now
        self._looks = 0
        self._silent = False

    def sound(self, codec: str, counts: Counts, link: Link, here: float, now: float) -> MediaQuality | None:
        """The interval that ends now; None if nothing came, and that was said already.

        `here` is the delay in seconds that coding and the jitter buffer add to the network's.
        """
        before = self._before
        record = self._since(counts, link, now)
        if record is None:
            return None
        samples = counts.samples - before.samples
        concealed = (counts.concealed - before.concealed) / samples if samples else 0.0
        one_way = link.one_way.seconds
        record = replace(
            record, concealed=concealed, mouth_to_ear=None if one_way is None else one_way + here
        )
        if not record.bit_rate:
            return record
        self.score = score(codec, record.loss, (one_way or 0.0) + here)
        return replace(record, r=self.score.r, mos=self.score.mos, wideband=self.score.wideband)

    def pictures(self, counts: Counts, link: Link, now: float) -> MediaQuality | None:
        """The same for pictures."""
        before, span = self._before, now - self._at
        record = self._since(counts, link, now)
        if record is None:
            return None
        return replace(
            record,
            frame_rate=(counts.shown - before.shown) / span,
            freezes=counts.freezes - before.freezes,
            frozen=counts.frozen - before.frozen,
        )

    def _since(self, counts: Counts, link: Link, now: float) -> MediaQuality | None:
        before, span = self._before, max(now - self._at, 1e-6)
        self._before, self._at = counts, now
        self._looks += 1
        self.look_at = now + (INTERVAL if self._looks < _CLOSELY else LATER)
        packets, lost = counts.packets - before.packets, counts.lost - before.lost
        late = max(0, counts.late - before.late)
        was_silent, self._silent = self._silent, packets == 0
        if was_silent and self._silent:
            return None
        return MediaQuality(
            call_id=self._call_id,
            span=span,
            loss=lost / (lost + packets) if lost > 0 else 0.0,
            late=min(late, lost) / (lost + packets) if lost > 0 else 0.0,
            jitter=link.jitter,
            bit_rate=int((counts.octets - before.octets) * 8 / span),
            round_trip=link.round_trip,
            one_way=link.one_way.seconds,
            clocks_agree=link.one_way.clocks_agree,
            far_loss=link.far_loss,
            media=self._media,
        )
