"""Calls with a baresip whose keys come from DTLS: it in either role, sound both ways.

It offers UDP/TLS/RTP/SAVPF and takes our RTP/SAVP that names both ways; its handshake begins when its ICE is done.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from iceway.explain.model import PathClass
from iceway.lab import topologies
from iceway.lab.kernel_office import KernelOffice
from iceway.lab.namespaces import available
from iceway.lab.topology import Topology
from iceway.media.speech import speech
from iceway.trace.entry import Entry
from iceway.trace.records import MediaKeyed, MediaRejected, SipReceived, SipSent
from tests.conftest import unavailable
from tests.e2e.story import Story, every
from tests.interop.baresip import CHECKS, Baresip, pause_before
from tests.interop.test_baresip_calls import (
    OPUS,
    PCMU,
    TALK,
    called_by_baresip,
    closed,
    heard_each_other,
    took,
)

pytestmark = pytest.mark.interop("baresip", "nft", "ip", "unshare")


@pytest.fixture(autouse=True)
def _laboratory() -> None:
    allowed, reason = available()
    if not allowed:
        unavailable(reason)


@pytest.mark.parametrize(
    ("us", "them", "topology", "path", "codec"),
    [
        ("bob", "alice", topologies.reflexive(), PathClass.REFLEXIVE, OPUS),
        ("alice", "bob", topologies.relayed_udp(), PathClass.RELAY_UDP, PCMU),
    ],
)
def test_we_call_baresip(
    tmp_path: Path, us: str, them: str, topology: Topology, path: PathClass, codec: str
) -> None:
    with KernelOffice(topology, tmp_path) as office:
        with Baresip(office, them, speech(them), [codec], "dtls_srtp") as baresip:
            said = pause_before(speech(us), tmp_path / "said.wav")
            assert office.calls(us, them, said, "heard.wav") == 0, office.log(us)
            baresip.waits_for("CALL_CLOSED")
        trace = closed(office)
    story = Story(trace).then(us, SipSent, start="INVITE", says=("^a=crypto:", "^a=setup:actpass"))
    story.then(us, SipReceived, start="SIP/2.0 200", cseq="INVITE", says=("^a=fingerprint:", "^a=setup:"))
    keyed(trace, us, baresip)
    took(trace, us, path, baresip)
    heard_each_other(us, them, tmp_path / "heard.wav", baresip)


@pytest.mark.parametrize(
    ("topology", "path", "codec"),
    [
        (topologies.reflexive(), PathClass.REFLEXIVE, OPUS),
        (topologies.relayed_tcp(), PathClass.RELAY_TCP, PCMU),
    ],
)
def test_baresip_calls_us(tmp_path: Path, topology: Topology, path: PathClass, codec: str) -> None:
    # Nobody says a word before there are keys, which come when its checks have ended.
    talk = TALK + CHECKS + 1.0
    trace, baresip = called_by_baresip(tmp_path, topology, codec, 1.0, "dtls_srtp", talk)
    story = Story(trace).then(
        "bob", SipReceived, start="INVITE", says=("^m=audio .*UDP/TLS/RTP/", "^a=setup:")
    )
    story.then("bob", SipSent, start="SIP/2.0 200", cseq="INVITE", says=("^a=fingerprint:", "^a=setup:"))
    keyed(trace, "bob", baresip)
    took(trace, "bob", path, baresip)
    heard_each_other("bob", "alice", tmp_path / "heard.wav", baresip)


def keyed(trace: list[Entry], us: str, baresip: Baresip) -> None:
    """Once, for the whole call, as soon as its checks have ended; both say so."""
    (record,) = every(trace, MediaKeyed, us)
    assert record.duration < CHECKS + 1.0, record
    assert "verified sha-256 fingerprint OK" in baresip.log()
    # When it hangs up it forgets its keys first, and says goodbye (RTCP BYE) in clear.
    assert [one.reason for one in every(trace, MediaRejected, us)] in ([], ["not SRTP"])
