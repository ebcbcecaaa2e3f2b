"""Pictures to baresip and back: H.264 and VP8, a transport each for sound and pictures, through NATs and our relay.

It shows a film of numbered pictures, and takes snapshots of what it sees. It knows no BUNDLE, and no NACK.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from iceway.explain.model import PathClass
from iceway.explain.path import verdict
from iceway.lab import topologies
from iceway.lab.kernel_office import KernelOffice
from iceway.lab.namespaces import available
from iceway.lab.topologies import DOMAIN
from iceway.lab.topology import Topology
from iceway.media.speech import speech
from iceway.trace.records import MediaKeyed, MediaSummary
from tests.conftest import unavailable
from tests.e2e.story import every
from tests.interop.baresip import CHECKS, FRAME_RATE, MODULES, Baresip, film
from tests.interop.phones import OurPhone, trace_of

pytestmark = [
    pytest.mark.interop("baresip", "nft", "ip", "unshare"),
    pytest.mark.skipif(not (MODULES / "avcodec.so").exists(), reason="apt-get install baresip-ffmpeg"),
]

WATCH = 5  # seconds, once its checks have ended
HEADQUARTERS = "10.0.0.0/24"


@pytest.fixture(autouse=True)
def _laboratory() -> None:
    allowed, reason = available()
    if not allowed:
        unavailable(reason)


@pytest.mark.parametrize(
    ("codec", "encryption", "topology", "path"),
    [
        ("H264", "srtp-mand", topologies.reflexive(), PathClass.REFLEXIVE),
        ("VP8", "dtls_srtp", topologies.relayed_udp(), PathClass.RELAY_UDP),
    ],
)
def test_pictures_go_both_ways(
    tmp_path: Path, codec: str, encryption: str, topology: Topology, path: PathClass
) -> None:
    with (
        KernelOffice(topology, tmp_path, allow_peers=[HEADQUARTERS]) as office,
        Baresip(
            office,
            "alice",
            speech("alice"),
            ["opus/48000/2"],
            encryption,
            video=codec,
            film=film(tmp_path / "film.mkv"),
        ) as alice,
    ):
        bob = OurPhone(office, "bob", 1)
        alice.dials("bob")
        alice.waits_for("CALL_ESTABLISHED")
        seen_by_her = watches(alice)
        alice.hangs_up()
        seen_by_us(bob.closes())
        seen_by_baresip(seen_by_her)
        called = trace_of(bob.program, tmp_path)

        bob = OurPhone(office, "bob", 2, calls=f"sip:alice@{DOMAIN}", talks=CHECKS + WATCH + 1.0)
        office.wait_for_line(bob.program, '"answered"')
        seen_by_her = watches(alice)
        seen_by_us(bob.closes())
        seen_by_baresip(seen_by_her)
        calling = trace_of(bob.program, tmp_path)

    for trace in (called, calling):
        assert verdict(trace, "call.1/ice").path is path
        assert verdict(trace, "call.1/ice.video").path is path
        assert len(every(trace, MediaKeyed)) == (2 if encryption == "dtls_srtp" else 0)
        codecs = {summary.media: summary.codec for summary in every(trace, MediaSummary)}
        assert codecs.keys() == {"audio", "video"}
        assert codecs["video"].startswith(codec)


def watches(alice: Baresip) -> list[int]:
    """What she sees in the seconds to come, by her snapshots."""
    before = len(alice.saw())
    time.sleep(CHECKS)
    for _ in range(WATCH):
        time.sleep(1.0)  # snapshots are named by the second
        alice.takes_snapshots()
    time.sleep(0.3)
    return alice.saw()[before:]


def seen_by_baresip(numbers: list[int]) -> None:
    assert len(numbers) >= WATCH - 1
    assert numbers == sorted(set(numbers))
    a_second = (numbers[-1] - numbers[0]) / (len(numbers) - 1)
    assert 0.7 * FRAME_RATE < a_second < 1.3 * FRAME_RATE


def seen_by_us(told: dict[str, Any]) -> None:
    numbers = [number for number, lies in told["saw"]["video"] if lies == "upright"]
    assert len(numbers) == len(told["saw"]["video"])
    assert len(numbers) > 0.8 * WATCH * FRAME_RATE
    assert numbers == sorted(numbers)
    assert len(numbers) >= 0.9 * (numbers[-1] - numbers[0] + 1)
