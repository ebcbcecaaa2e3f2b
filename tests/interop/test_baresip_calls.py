"""Whole calls with baresip: registered through our edge and front end, TLS, ICE and our relay, sound both ways.

Alice is outside, Bob in headquarters; one of them has our client, the other a baresip. baresip 1.0 knows
neither SHA-256 nor 100rel, calls ICE complete only when every check of its own has ended, and listens from
then on. Once a relay refuses it one peer (403) it lets go of the relay, and checks that it then owes never end:
as long as the other side settles the pair with a re-INVITE that does no harm, but a caller of its kind needs a
relay that refuses it no candidate of the other side.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from iceway.explain.model import PathClass
from iceway.explain.path import verdict
from iceway.lab import topologies
from iceway.lab.kernel_office import KernelOffice
from iceway.lab.namespaces import available
from iceway.lab.topology import Topology
from iceway.media.heard import compare
from iceway.media.speech import speech
from iceway.trace.entry import Entry
from iceway.trace.records import CallState, IceStateChanged, MediaStarted, Registered, SipReceived, SipSent
from tests.conftest import unavailable
from tests.e2e.story import Story, every
from tests.interop.baresip import CHECKS, Baresip, pause_before

pytestmark = pytest.mark.interop("baresip", "nft", "ip", "unshare")

HEARD_ENOUGH = 0.95
HEADQUARTERS = "10.0.0.0/24"
TALK = CHECKS + 5.0  # seconds
OPUS, PCMU = "opus/48000/2", "pcmu/8000/1"
SETTLING = (r"^a=remote-candidates:1 ", r"^a=candidate:")


@pytest.mark.parametrize(
    ("us", "them", "topology", "path", "codec"),
    [
        ("bob", "alice", topologies.reflexive(), PathClass.REFLEXIVE, OPUS),
        ("alice", "bob", topologies.relayed_udp(), PathClass.RELAY_UDP, PCMU),
        ("bob", "alice", topologies.relayed_tcp(), PathClass.RELAY_TCP, OPUS),
    ],
)
def test_we_call_baresip(
    tmp_path: Path, us: str, them: str, topology: Topology, path: PathClass, codec: str
) -> None:
    with KernelOffice(topology, tmp_path) as office:
        with Baresip(office, them, speech(them), [codec]) as baresip:
            said = pause_before(speech(us), tmp_path / "said.wav")
            assert office.calls(us, them, said, "heard.wav") == 0, office.log(us)
            baresip.waits_for("CALL_CLOSED")
        trace = closed(office)

    registered_with_md5(trace, them)
    story = Story(trace).then(us, SipSent, start="INVITE", says=r"^a=candidate:.* typ relay ")
    story.then(us, SipReceived, start="SIP/2.0 180").then(us, SipReceived, start="SIP/2.0 200", cseq="INVITE")
    story.then(us, CallState, state="confirmed").then(us, IceStateChanged, state="completed")
    settled = Story(trace).then(us, SipSent, start="INVITE", says=SETTLING)
    settled.then(us, SipReceived, start="SIP/2.0 200", cseq="INVITE").then(us, CallState, state="settled")
    settled.then(us, SipSent, start="BYE").then(us, SipReceived, start="SIP/2.0 200", cseq="BYE")
    assert f'username="{us}"' not in baresip.log(), "our credentials are for the front end, not for baresip"
    took(trace, us, path, baresip)
    heard_each_other(us, them, tmp_path / "heard.wav", baresip)


@pytest.mark.parametrize(
    ("topology", "path", "codec"),
    [
        (topologies.reflexive(), PathClass.REFLEXIVE, OPUS),
        (topologies.relayed_tcp(), PathClass.RELAY_TCP, PCMU),
    ],
)
def test_baresip_calls_us_and_hears_it_ring(
    tmp_path: Path, topology: Topology, path: PathClass, codec: str
) -> None:
    """Our 183 brings candidates, so checks run while it rings; early media waits at the end of the path."""
    trace, baresip = called_by_baresip(tmp_path, topology, codec, ring_for=1.0)
    story = Story(trace).then("bob", SipReceived, start="INVITE").then("bob", SipSent, start="SIP/2.0 180")
    story.then("bob", SipSent, start="SIP/2.0 183", says=r"^a=candidate:")
    story.then("bob", MediaStarted, direction="sent", early=True).then("bob", SipSent, start="SIP/2.0 200")
    story.then("bob", CallState, state="confirmed").then("bob", IceStateChanged, state="completed")
    story.then("bob", SipReceived, start="BYE").then("bob", SipSent, start="SIP/2.0 200", cseq="BYE")
    assert not every(trace, SipSent, "bob", says=r"^RSeq:"), "baresip does not support reliable responses"
    took(trace, "bob", path, baresip)
    heard_each_other("bob", "alice", tmp_path / "heard.wav", baresip)


def test_baresip_settles_the_pair_with_a_reinvite(tmp_path: Path) -> None:
    """It names every candidate of ours; our answer names the one of the pair, where it goes on sending to."""
    trace, baresip = called_by_baresip(tmp_path, topologies.relayed_udp(), PCMU, ring_for=0.0)
    judged = verdict(trace, "bob")
    assert judged.local is not None
    story = Story(trace).then("bob", SipSent, start="SIP/2.0 200", cseq="INVITE")
    story.then("bob", IceStateChanged, state="completed")
    story.then("bob", SipReceived, start="INVITE", says=SETTLING)
    story.then("bob", SipSent, start="SIP/2.0 200", says=rf"^m=audio {judged.local.address.port} ")
    story.then("bob", CallState, state="settled")
    took(trace, "bob", PathClass.RELAY_UDP, baresip)
    heard_each_other("bob", "alice", tmp_path / "heard.wav", baresip)


# --- the office and its calls -------------------------------------------------------------------------------
@pytest.fixture(autouse=True)
def _laboratory() -> None:
    allowed, reason = available()
    if not allowed:
        unavailable(reason)


def closed(office: KernelOffice) -> list[Entry]:
    """The servers end; the whole trace."""
    for server in ("edge", "frontend"):
        assert office.stop(server) == 0, office.log(server)
    return office.trace()


def called_by_baresip(
    directory: Path,
    topology: Topology,
    codec: str,
    ring_for: float,
    encryption: str = "srtp-mand",
    talk: float = TALK,
) -> tuple[list[Entry], Baresip]:
    """Alice's baresip calls Bob, who has our client; both speak, and baresip hangs up."""
    with KernelOffice(topology, directory, allow_peers=[HEADQUARTERS]) as office:
        said = pause_before(speech("bob"), directory / "said.wav")
        office.answers("bob", said, "heard.wav", ring_for)
        with Baresip(office, "alice", speech("alice"), [codec], encryption) as baresip:
            baresip.dials("bob")
            baresip.waits_for("CALL_ESTABLISHED")
            time.sleep(talk)
            baresip.hangs_up()
            assert office.ends("bob") == 0, office.log("bob")
        return closed(office), baresip


# --- what must be so ----------------------------------------------------------------------------------------
def registered_with_md5(trace: list[Entry], who: str) -> None:
    """The front end lets a client in that knows only MD5, having offered it nothing else at last."""
    story = Story(trace).then(
        "frontend", SipReceived, start="REGISTER", says="^User-Agent: baresip", transport="tls"
    )
    story.then("frontend", SipSent, start="SIP/2.0 401", says="algorithm=MD5")
    story.then("frontend", Registered, aor=f"sip:{who}@", outside=who == "alice")


def took(trace: list[Entry], us: str, path: PathClass, baresip: Baresip) -> None:
    """The path that was to be expected, and baresip sends where we listen."""
    judged = verdict(trace, us)
    assert judged.path is path, judged
    assert judged.local is not None
    assert f"mnat 'ice' connected: raddr {judged.local.address} " in baresip.log()


def heard_each_other(us: str, them: str, recording: Path, baresip: Baresip) -> None:
    we_heard, they_heard = compare(speech(them), recording), compare(speech(us), baresip.heard())
    assert we_heard.share > HEARD_ENOUGH, we_heard
    assert they_heard.share > HEARD_ENOUGH, they_heard
