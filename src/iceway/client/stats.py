"""How a call's streams fare, all together: what `call.stats()` gives, and the same for programs as JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from iceway.media.session import MediaStats
from iceway.media.video_stats import VideoStats


@dataclass(frozen=True, slots=True)
class CallStats:
    """None for a stream that the call does not have, or not yet. Times in seconds, rates in bit/s, shares 0–1."""

    audio: MediaStats | None = None
    video: VideoStats | None = None
    slides: VideoStats | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`; only the streams that there are."""
        streams = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: dataclasses.asdict(stats) for name, stats in streams.items() if stats is not None}
