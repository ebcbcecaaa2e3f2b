"""Sound, video and a shared screen at once over the lab's rough links: what remains of each, in counted figures.

The bounds are those that docs/operations.md states.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from iceway.lab.topology import Link
from iceway.media.video_stats import VideoStats
from iceway.trace.records import MediaQuality, VideoFroze
from tests.media.conversation import RATES, Conversation, Person

SECONDS = 20.0
ROUGH = Link(delay=0.03, jitter=0.05, loss=0.05)


def figures(person: Person, kind: str) -> VideoStats:
    return person.pictures[kind].stats(SECONDS)


@pytest.mark.parametrize("codec", ["VP8", "H264"])
@pytest.mark.parametrize("seed", [1, 2])
def test_with_five_percent_lost_and_fifty_milliseconds_of_jitter_all_remain_usable(
    codec: str, seed: int
) -> None:
    call = Conversation(ROUGH, kinds=("video", "slides"), codec=codec, seed=seed).until(SECONDS)
    for person, other in ((call.alice, call.bob), (call.bob, call.alice)):
        sound = person.audio.stats()
        assert sound.samples_concealed < 0.08 * sound.samples_played
        assert sound.packets_late + sound.packets_discarded <= 0.01 * sound.packets_received
        assert sound.mos is not None
        assert sound.mos > 3.1
        assert sound.mouth_to_ear is not None
        assert sound.mouth_to_ear < 0.2
        heard = call.heard(person)
        assert heard.share > 0.9
        assert heard.correlation > 0.9
        for kind in person.pictures:
            numbers, sent = person.numbers(kind), figures(other, kind).frames_sent
            assert all(one < after for one, after in pairwise(numbers))
            assert sent >= 0.85 * SECONDS * RATES[kind]
            assert len(numbers) >= 0.95 * (sent - 3)
            assert figures(person, kind).frozen < 0.3 * SECONDS
        froze = [record for _, record in person.records if isinstance(record, VideoFroze)]
        assert all(record.length < 1.5 for record in froze)
        told = [record for _, record in person.records if isinstance(record, MediaQuality)]
        assert {record.media for record in told} == {"audio", "video", "slides"}


def test_a_clean_link_keeps_everything() -> None:
    call = Conversation(Link(delay=0.03), kinds=("video", "slides")).until(SECONDS)
    assert call.bob.concealed() == 0
    for kind in call.bob.pictures:
        assert call.bob.numbers(kind) == list(range(len(call.bob.numbers(kind))))
        assert len(call.bob.numbers(kind)) >= SECONDS * RATES[kind] - 2
        assert figures(call.bob, kind).freezes == 0
    assert figures(call.alice, "video").bit_rate == 600_000
