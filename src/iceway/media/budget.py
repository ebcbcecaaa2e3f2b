"""What pictures may cost in a call, so that its sound does not suffer: less before sound is lost, more again slowly.

Sound needs little and cannot do with less; pictures can. So when what the other side reports shows that packets queue
up somewhere, the video is lowered, and once it is down to the least, the slides. A queue shows as a round trip that
grows: that comes before any loss. Losses without a queue are mostly somebody else's (a radio link), and less video
would not end them; only many of them count, since some networks throw away whatever is above a rate.

Fed once a second with what the sessions say of themselves; `video` and `slides` are for `VideoSession.set_budget`.
"""

from __future__ import annotations

from collections import deque

from iceway.media.rate import LEAST
from iceway.media.session import MediaStats
from iceway.media.video_stats import VideoStats

QUEUE = 0.06
"""Seconds over the shortest round trip that are a queue, if several round trips in a row take that long."""
_ROW = 5
_DRIFT = 0.0005
"""Seconds a round trip: what takes longer whatever we do is the path, or somebody else's queue."""
_MANY = 0.10  # of sound, queue or none
_CUT = 0.7
_GROWTH = 1.05
_SETTLING = 2.0  # seconds until a cut shows in what is reported
_CLEAN = 5.0  # seconds without trouble before more is tried
_FLOOR_BY_LOSS = (
    0.25  # of what was allowed at first: below that, losses without a queue are not the pictures'
)


class Budget:
    """The bit/s of the two streams of pictures of one call, up to what each may take at the most."""

    def __init__(self, video: int = 600_000, slides: int = 600_000) -> None:
        self._most = {"video": max(LEAST, video), "slides": max(LEAST, slides)}
        self._allowed = {kind: float(most) for kind, most in self._most.items()}
        self._counts: dict[str, int] = {}
        self._shortest: float | None = None
        self._lately: deque[float] = deque(maxlen=_ROW)
        self._cut_at: float | None = None

    @property
    def video(self) -> int:
        return self.of("video")

    @property
    def slides(self) -> int:
        return self.of("slides")

    def allow(self, kind: str, most: int) -> None:
        """A stream ("video" or "slides") begins, and may take this much at the most."""
        self._most[kind] = max(LEAST, most)
        self._allowed[kind] = float(self._most[kind])

    def of(self, kind: str) -> int:
        return int(self._allowed[kind])

    def update(
        self, audio: MediaStats | None, video: VideoStats | None, slides: VideoStats | None, now: float
    ) -> None:
        """About once a second. None: the call has no such stream."""
        for kind, stats in (("audio", audio), ("video", video), ("slides", slides)):
            if stats is not None and stats.round_trip is not None and self._is_new(kind, stats.round_trips):
                self._lately.append(stats.round_trip)
                self._shortest = None if self._shortest is None else self._shortest + _DRIFT
        queue = self._queue()
        fresh = audio is not None and self._is_new("sound lost", audio.reports)
        lost = audio.fraction_lost or 0.0 if audio is not None and fresh else 0.0
        settled = self._cut_at is None or now >= self._cut_at + _SETTLING
        if queue > QUEUE:
            if settled:
                self._cut(video, slides, LEAST, now)
        elif lost > _MANY:
            if settled:
                self._cut(video, slides, int(_FLOOR_BY_LOSS * self._most["video"]), now)
        elif self._cut_at is None or now >= self._cut_at + _CLEAN:
            self._grow()

    def path_changed(self, now: float, round_trip: float | None = None) -> None:
        """Another path, with this round trip if it is known; what the old one carried is still the best guess."""
        self._shortest = round_trip
        self._lately.clear()
        self._cut_at = now

    def _queue(self) -> float:
        """Seconds; what a round trip or two take longer is jitter."""
        if not self._lately:
            return 0.0
        least = min(self._lately)
        self._shortest = least if self._shortest is None else min(self._shortest, least)
        return least - self._shortest if len(self._lately) == _ROW else 0.0

    def _is_new(self, what: str, count: int) -> bool:
        before, self._counts[what] = self._counts.get(what, 0), count
        return count != before

    def _cut(self, video: VideoStats | None, slides: VideoStats | None, floor: int, now: float) -> None:
        for kind, stats in (("video", video), ("slides", slides)):
            if stats is None or not stats.frames_sent or self._allowed[kind] <= max(LEAST, floor):
                continue
            # What is allowed and not used would not be missed.
            used = min(self._allowed[kind], stats.bit_rate)
            self._allowed[kind] = max(used * _CUT, floor, LEAST)
            self._cut_at = now
            return

    def _grow(self) -> None:
        """The slides first, which were cut last."""
        for kind in ("slides", "video"):
            if self._allowed[kind] < self._most[kind]:
                self._allowed[kind] = min(self._allowed[kind] * _GROWTH, self._most[kind])
                return
