"""Calls with baresip-python, today's libre: SHA-256, 100rel, ICE with our relay, SDES and DTLS, both directions."""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from iceway.edge.credentials import KeyRing
from iceway.explain.model import PathClass
from iceway.explain.path import verdict
from iceway.lab import topologies
from iceway.lab.kernel_office import KernelOffice
from iceway.lab.namespaces import available
from iceway.lab.office import password_of
from iceway.lab.topologies import DOMAIN
from iceway.lab.topology import Topology
from iceway.media.heard import compare
from iceway.media.speech import speech
from iceway.trace.records import CallState, MediaKeyed, MediaSummary, SipReceived, SipSent
from tests.conftest import unavailable
from tests.e2e.story import Story, every
from tests.interop.baresip import SERVERS, pause_before
from tests.interop.phones import OurPhone, closing, trace_of

pytest.importorskip("baresip")

pytestmark = pytest.mark.interop("nft", "ip", "unshare")

PROGRAM = Path(__file__).parent / "peers" / "baresip_phone.py"
HEARD_ENOUGH = 0.9
HEADQUARTERS = "10.0.0.0/24"
CHECKS = 3.0  # seconds in which it checks every pair, and does not listen
WATCH = 5.0  # seconds
FRAME_RATE = 12.0  # of the slower side
SEEN_ENOUGH = 0.9
OPUS, PCMU = "opus/48000/2", "pcmu/8000/1"


@pytest.fixture(autouse=True)
def _laboratory() -> None:
    allowed, reason = available()
    if not allowed:
        unavailable(reason)


class Phone:
    """The telephone of `name`, for one call. What it tells is in its log, line by line."""

    def __init__(
        self, office: KernelOffice, name: str, codec: str, encryption: str, number: int, **orders: object
    ) -> None:
        self._office = office
        self.program = f"{name}-baresip-{number}"
        self.record = office.directory / f"{self.program}.wav"
        keys = KeyRing.from_pem((office.directory / "ca" / "edge.key").read_bytes())
        relay = keys.mint(f"sip:{name}@{DOMAIN}", 3600.0, time.time())
        wishes = {
            "name": name,
            "domain": DOMAIN,
            "password": password_of(name),
            "server": SERVERS[name],
            "ca": str(office.directory / "ca" / "ca.pem"),
            "account": [
                "medianat=ice",
                f'stunserver="turn:av.{DOMAIN}:3478"',
                f"stunuser={relay.username}",
                f"stunpass={relay.password}",
                f"mediaenc={encryption}",
                "rtcp_mux=yes",
                "100rel=yes",
            ],
            "codec": codec,
            "play": str(speech(name)),
            "record": str(self.record),
            "listens": 0.5,
            **orders,
        }
        orders_file = office.directory / f"{self.program}.json"
        orders_file.write_text(json.dumps(wishes))
        argv = [sys.executable, str(PROGRAM), str(orders_file)]
        office.launch(name, argv, self.program)
        office.wait_for_line(self.program, '"registered"')

    def closes(self) -> dict[str, Any]:
        """What it told at the end of its call."""
        return closing(self._office, self.program)


def test_baresip_python_calls_us_and_is_called(tmp_path: Path) -> None:
    """With keys in SDP, through our relay."""
    us, them, codec, encryption = "alice", "bob", PCMU, "srtp-mand"
    with KernelOffice(topologies.relayed_udp(), tmp_path, allow_peers=[HEADQUARTERS]) as office:
        said = pause_before(speech(us), tmp_path / "said.wav", CHECKS)
        office.answers(us, said, "heard-1.wav")
        phone = Phone(office, them, codec, encryption, 1, dials=us, talks=CHECKS + 4.5)
        assert office.ends(us, 30.0) == 0, office.log(us)
        phone.closes()
        called = trace_of(us, tmp_path)
        heard_each_other(us, them, tmp_path / "heard-1.wav", phone.record)

        phone = Phone(office, them, codec, encryption, 2)
        assert office.calls(us, them, said, "heard-2.wav") == 0, office.log(us)
        phone.closes()
        calling = trace_of(us, tmp_path)
        heard_each_other(us, them, tmp_path / "heard-2.wav", phone.record)

    story = Story(called).then(us, SipReceived, start="INVITE", says=r"^m=audio \d+ RTP/SAVPF? ")
    story.then(us, SipSent, start="SIP/2.0 183").then(us, SipReceived, start="PRACK")
    story.then(us, SipSent, start="SIP/2.0 200", cseq="INVITE").then(us, SipReceived, start="BYE")
    story = Story(calling).then(us, SipSent, start="INVITE")
    story.then(us, SipReceived, start="SIP/2.0 200", cseq="INVITE").then(us, CallState, state="settled")
    for trace in (called, calling):
        assert verdict(trace, us).path is PathClass.RELAY_UDP
        assert not every(trace, MediaKeyed, us)
        (summary,) = every(trace, MediaSummary, us)
        assert summary.codec.startswith("PCMU")


@pytest.mark.parametrize(
    ("bundle", "topology", "path"),
    [
        pytest.param(True, topologies.relayed_tcp(), PathClass.RELAY_TCP, id="bundled"),
        pytest.param(False, topologies.reflexive(), PathClass.REFLEXIVE, id="two transports"),
    ],
)
def test_sound_and_pictures_go_both_ways(
    tmp_path: Path, bundle: bool, topology: Topology, path: PathClass
) -> None:
    """Opus and VP8 under DTLS, in a call of ours and in one of theirs: numbered pictures, upright and in order."""
    play = str(pause_before(speech("bob"), tmp_path / "said.wav", 0.5))
    with KernelOffice(topology, tmp_path, allow_peers=[HEADQUARTERS]) as office:
        alices = partial(Phone, office, "alice", OPUS, "dtls_srtp", video=True, bundle=bundle)
        bobs = partial(OurPhone, office, "bob", play=play)

        bob = bobs(1)
        met(bob, alices(1, dials="bob", talks=WATCH))
        called = trace_of(bob.program, tmp_path)

        alice = alices(2)
        bob = bobs(
            2, calls=f"sip:alice@{DOMAIN}", talks=WATCH + 4.0
        )  # from the answer on, so keys come first
        met(bob, alice)
        calling = trace_of(bob.program, tmp_path)
    for trace in (called, calling):
        assert verdict(trace, "call.1/ice").path is path
        assert len(every(trace, MediaKeyed)) == (1 if bundle else 2), "each transport has its own keys"
        codecs = {summary.media: summary.codec.partition("/")[0] for summary in every(trace, MediaSummary)}
        assert codecs == {"audio": "opus", "video": "VP8"}


def met(bob: OurPhone, alice: Phone) -> None:
    watched(bob.closes(), alice.closes())
    heard_each_other("bob", "alice", bob.record, alice.record)


def watched(*ends: dict[str, Any]) -> None:
    """Each end saw most of what the other showed, from when both could see."""
    for end in ends:
        saw = end["saw"]["video"] if isinstance(end["saw"], dict) else end["saw"]
        numbers = [number for number, lies in saw if lies == "upright"]
        assert len(numbers) == len(saw)
        assert numbers == sorted(numbers)
        whole = numbers[-1] - numbers[0] + 1
        assert len(numbers) >= SEEN_ENOUGH * whole, numbers
        assert whole > WATCH * FRAME_RATE / 2


def heard_each_other(us: str, them: str, ours: Path, theirs: Path) -> None:
    we_heard, they_heard = compare(speech(them), ours), compare(speech(us), theirs)
    assert we_heard.share > HEARD_ENOUGH, we_heard
    assert they_heard.share > HEARD_ENOUGH, they_heard
