"""A call's figures as values and as JSON."""

from __future__ import annotations

import json
import random

from iceway.client.stats import CallStats
from iceway.media.pattern import PatternSource
from iceway.media.pictures import MemorySink
from iceway.media.video import VideoSession
from tests.media.test_session import Call
from tests.media.test_video import terms


def test_streams_that_there_are_read_back_from_json() -> None:
    talk = Call().both_talk().until(6.0)
    video = VideoSession("v", terms()[0], PatternSource(), MemorySink(), random.Random(1))
    stats = CallStats(talk.alice.stats(), video.stats(0.0))
    told = json.loads(json.dumps(stats.as_json()))
    assert set(told) == {"audio", "video"}
    assert told["audio"]["codec"] == "opus/48000"
    assert told["audio"]["mos"] > 4.3
    assert told["video"]["one_way"] is None
    assert CallStats().as_json() == {}
