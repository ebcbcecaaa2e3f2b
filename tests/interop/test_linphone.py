"""Calls with linphonec both ways: SHA-256, GRUU, SDES and DTLS, two components, in our offers one, our relay.

It offers no rtcp-mux, and RTCP on a component of its own. So does our answer, unless DTLS would have to shake hands on
each: then we send none, and say so with `b=RS:0` (RFC 3556).
Where it wants DTLS it takes no RTP/SAVP, not even one that names a fingerprint: our client offers DTLS alone then.
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
from iceway.lab.topologies import DOMAIN
from iceway.lab.topology import Topology
from iceway.media.heard import compare
from iceway.media.speech import speech
from iceway.trace.entry import Entry
from iceway.trace.records import (
    CallState,
    MediaKeyed,
    MediaRejected,
    MediaSummary,
    Registered,
    SipReceived,
    SipSent,
)
from tests.conftest import unavailable
from tests.e2e.story import Story, every
from tests.interop.baresip import pause_before
from tests.interop.linphone import Linphone
from tests.interop.phones import trace_of

pytestmark = pytest.mark.interop("linphonec", "nft", "ip", "unshare")

HEARD_ENOUGH = 0.95
HEADQUARTERS = "10.0.0.0/24"
BREATH = 0.5  # seconds before each speaks; linphone does so before anybody can hear it
TALK = 7.0  # seconds: the longest recording, and checks before it


@pytest.fixture(autouse=True)
def _laboratory() -> None:
    allowed, reason = available()
    if not allowed:
        unavailable(reason)


@pytest.mark.parametrize(
    ("them", "topology", "path", "keys", "codec"),
    [
        ("bob", topologies.relayed_udp(), PathClass.RELAY_UDP, "dtls", "opus"),
        ("alice", topologies.relayed_tcp(), PathClass.RELAY_TCP, "sdes", "PCMU"),
    ],
)
def test_linphone_calls_us_and_is_called(
    tmp_path: Path, them: str, topology: Topology, path: PathClass, keys: str, codec: str
) -> None:
    us = {"alice": "bob", "bob": "alice"}[them]
    said = {who: pause_before(speech(who), tmp_path / f"{who}.wav", BREATH) for who in (us, them)}
    with (
        KernelOffice(topology, tmp_path, allow_peers=[HEADQUARTERS]) as office,
        Linphone(office, them, said[them], {"sdes": "srtp", "dtls": "dtls"}[keys], codec) as linphone,
    ):
        heard = linphone.records()
        office.answers(us, said[us], "heard-1.wav")
        linphone.dials(us)
        linphone.waits_for("Media streams established")
        time.sleep(TALK)
        linphone.hangs_up()
        assert office.ends(us) == 0, office.log(us)
        called = trace_of(us, tmp_path)
        heard_each_other(us, them, tmp_path / "heard-1.wav", heard)

        heard = linphone.records()
        assert office.calls(us, them, said[us], "heard-2.wav") == 0, office.log(us)
        calling = trace_of(us, tmp_path)
        heard_each_other(us, them, tmp_path / "heard-2.wav", heard)
        for server in ("edge", "frontend"):
            assert office.stop(server) == 0, office.log(server)
        registered_with_sha256(office.trace(), them)

    offer = {"sdes": r"^m=audio \d+ RTP/SAVP ", "dtls": r"^m=audio \d+ UDP/TLS/RTP/SAVP "}[keys]
    gruu = rf"^Contact: <sip:{them}@{DOMAIN};gr=urn:uuid:"
    second = r"^a=candidate:\S+ 2 UDP"
    rtcp = (second, r"^a=rtcp:\d+ IN IP4 ") if keys == "sdes" else (r"^b=RS:0", r"^b=RR:0")
    story = Story(called).then(us, SipReceived, start="INVITE", says=(offer, gruu, second))
    story.then(us, SipSent, start="SIP/2.0 200", cseq="INVITE", says=rtcp)
    story.then(us, CallState, state="confirmed").then(us, SipReceived, start="BYE")
    story = Story(calling)
    if keys == "dtls":  # both ways of agreeing on keys were offered, which it does not take
        story.then(us, SipSent, start="INVITE", says="^a=crypto:").then(us, SipReceived, start="SIP/2.0 488")
    story.then(us, SipSent, start="INVITE", says=(offer, "^a=rtcp-mux"))
    story.then(us, SipReceived, start="SIP/2.0 200", cseq="INVITE", says=offer)
    story.then(us, CallState, state="settled").then(us, SipSent, start="BYE")
    if keys == "sdes":
        assert every(called, MediaSummary, us)[0].round_trip is not None, "they report on what we send"
    for trace in (called, calling):
        assert verdict(trace, us).path is path
        assert len(every(trace, MediaKeyed, us)) == (keys == "dtls")
        (summary,) = every(trace, MediaSummary, us)
        assert codec in summary.codec
        assert not every(trace, MediaRejected, us)


def registered_with_sha256(trace: list[Entry], who: str) -> None:
    story = Story(trace).then("frontend", SipReceived, start="REGISTER", says="^User-Agent: Linphonec")
    story.then("frontend", SipReceived, start="REGISTER", says="^Authorization: .*algorithm=SHA-256")
    story.then("frontend", Registered, aor=f"sip:{who}@", outside=who == "alice")


def heard_each_other(us: str, them: str, ours: Path, theirs: Path) -> None:
    we_heard, they_heard = compare(speech(them), ours), compare(speech(us), theirs)
    assert we_heard.share > HEARD_ENOUGH, we_heard
    assert they_heard.share > HEARD_ENOUGH, they_heard
