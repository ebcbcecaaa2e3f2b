"""A real desktop shared through the relay, on this kernel: what arrived, read by the numbers that its window shows."""

from __future__ import annotations

import pytest

from iceway.explain.model import PathClass
from iceway.explain.path import verdict
from iceway.lab.namespaces import available
from iceway.media.heard import compare
from iceway.media.pattern import read
from iceway.media.picture import luma, size
from iceway.media.speech import speech
from iceway.trace.records import Malformed, MediaRejected
from tests.conftest import unavailable
from tests.e2e.shared_desktop import SECONDS, Shared, share
from tests.e2e.story import every

pytestmark = pytest.mark.kernel("nsenter", "Xvfb")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    allowed, reason = available()
    if not allowed:
        unavailable(f"no namespaces: {reason}; as an ordinary user: unshare -Urn make kernel")
    return share(tmp_path_factory.mktemp("shared"))


def test_it_goes_through_the_relay_beside_the_sound(shared: Shared) -> None:
    for who in ("alice", "bob"):
        assert verdict(shared.entries, who).path is PathClass.RELAY_UDP
    assert compare(speech("alice"), shared.heard).share > 0.9
    for kind in (Malformed, MediaRejected):
        assert not every(shared.entries, kind)


def test_the_window_is_seen_as_it_moves(shared: Shared) -> None:
    readings = [read(picture) for _, picture in shared.window]
    numbers = [reading.number for reading in readings if reading is not None]
    assert len(readings) > 0.8 * 15 * SECONDS
    # Now and then the window moves between being asked where it is and being looked at.
    assert len(numbers) > 0.8 * len(readings)
    assert {reading.lies for reading in readings if reading is not None} == {"upright"}
    assert numbers == sorted(numbers)
    # It shows ten a second; the machine that draws them is busy with the call, too.
    assert len(set(numbers)) > 0.5 * 10 * SECONDS


def test_the_screen_is_seen_whole_with_the_window_at_one_place_after_another(shared: Shared) -> None:
    assert len(shared.screen) > 0.8 * 10 * SECONDS
    assert {size(picture) for _, picture in shared.screen} == {(1280, 720)}
    last = luma(shared.screen[-1][1]).astype(int)
    paper = last[110:130, 760:780]
    assert paper.mean() > 200, "the notes are where they were"
    moved = [
        float(abs(luma(picture).astype(int) - last)[:360, :640].mean()) for _, picture in shared.screen[::10]
    ]
    assert max(moved) > 5, "and the window is not"
