"""How good each stream of a call was for whoever heard or saw it, over the whole call, from `MediaQuality` records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from iceway.explain.streams import AUDIO, opinion
from iceway.trace.entry import Entry
from iceway.trace.records import MediaQuality, VideoFroze


@dataclass(frozen=True, slots=True)
class StreamQuality:
    """One stream as it came in at `node`. Shares 0–1, times in seconds; averages, but for `worst`, the lowest MOS.

    `seen` are the entries that say so, `froze` those of standstills.
    """

    node: str
    media: str
    span: float
    loss: float
    late: float
    jitter: float
    bit_rate: float
    mos: float | None
    worst: float | None
    concealed: float | None
    round_trip: float | None
    one_way: float | None
    clocks_agree: bool | None
    mouth_to_ear: float | None
    frame_rate: float | None
    frozen: float
    seen: tuple[int, ...]
    froze: tuple[tuple[int, float, str], ...] = ()

    @property
    def tardy(self) -> bool:
        """Most of what was not played came, but too late."""
        return self.late > self.loss / 2

    @property
    def fate(self) -> str:
        """What became of the packets that were not played."""
        return "came too late" if self.tardy else "lost"

    def __str__(self) -> str:
        """In a few words: how good, and why."""
        parts = [f"{self.loss:.1%} {self.fate}".replace(".0%", "%") if self.loss else "nothing lost"]
        if self.media == AUDIO:
            if self.mos is not None:
                parts.insert(0, f"{opinion(self.mos)} (MOS {self.mos:.1f})")
            if self.mouth_to_ear is not None:
                parts.append(f"{self.mouth_to_ear * 1000:.0f} ms from mouth to ear")
        else:
            if self.frame_rate is not None:
                parts.insert(0, f"{self.frame_rate:.0f} pictures a second")
            if self.froze:
                parts.append(f"stood still {times(len(self.froze))}, {self.frozen:.1f} s in all")
        if self.one_way is not None:
            assumed = "" if self.clocks_agree else ", if both ways are alike: the two clocks differ"
            parts.append(f"{self.one_way * 1000:.0f} ms on the way{assumed}")
        return ", ".join(parts)


def qualities(entries: Sequence[Entry]) -> list[StreamQuality]:
    """One for each stream at each end, in the order in which they began."""
    looks: dict[tuple[str, str], list[tuple[int, MediaQuality]]] = defaultdict(list)
    froze: dict[tuple[str, str], list[tuple[int, float, str]]] = defaultdict(list)
    for entry in entries:
        record = entry.record
        if isinstance(record, MediaQuality) and record.bit_rate:
            looks[entry.node, record.media].append((entry.id, record))
        elif isinstance(record, VideoFroze):
            froze[entry.node, record.media].append((entry.id, record.length, record.reason))
    return [_summed(node, media, told, tuple(froze[node, media])) for (node, media), told in looks.items()]


def times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _summed(
    node: str,
    media: str,
    told: list[tuple[int, MediaQuality]],
    froze: tuple[tuple[int, float, str], ...],
) -> StreamQuality:
    records = [record for _, record in told]

    def mean(value: Callable[[MediaQuality], float | None]) -> float | None:
        known = [(held, record.span) for record in records if (held := value(record)) is not None]
        span = sum(weight for _, weight in known)
        return sum(held * weight for held, weight in known) / span if span else None

    last = records[-1]
    return StreamQuality(
        node=node,
        media=media,
        span=sum(record.span for record in records),
        loss=mean(lambda record: record.loss) or 0.0,
        late=mean(lambda record: record.late) or 0.0,
        jitter=mean(lambda record: record.jitter) or 0.0,
        bit_rate=mean(lambda record: float(record.bit_rate)) or 0.0,
        mos=mean(lambda record: record.mos),
        worst=min((record.mos for record in records if record.mos is not None), default=None),
        concealed=mean(lambda record: record.concealed),
        round_trip=mean(lambda record: record.round_trip),
        one_way=mean(lambda record: record.one_way),
        clocks_agree=last.clocks_agree,
        mouth_to_ear=mean(lambda record: record.mouth_to_ear),
        frame_rate=mean(lambda record: record.frame_rate),
        frozen=sum(length for _, length, _ in froze),
        seen=tuple(identifier for identifier, _ in told),
        froze=froze,
    )
