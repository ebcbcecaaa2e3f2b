"""Transfers with baresip as the one who is transferred and as the one who transfers, all in one LAN.

baresip 1.0 makes the new call with an offer of its own, and tells of it in the dialog of the old one; it knows REFER
but not Replaces, so whom it talks with is not joined with anybody.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from iceway.lab.namespaces import available
from iceway.lab.topologies import DOMAIN
from iceway.media.heard import compare
from iceway.media.speech import speech
from iceway.trace.records import SipReceived, SipSent
from tests.conftest import unavailable
from tests.e2e.story import Story
from tests.interop.baresip import CHECKS, Baresip, pause_before
from tests.interop.three import carol_joins, three_in_a_lan

pytestmark = pytest.mark.interop("baresip", "nft", "ip", "unshare")

HEARD_ENOUGH = 0.95
TALK = CHECKS + 5.0  # seconds
OPUS = "opus/48000/2"
CAROL = f"sip:carol@{DOMAIN}"


@pytest.fixture(autouse=True)
def _laboratory() -> None:
    allowed, reason = available()
    if not allowed:
        unavailable(reason)


def test_baresip_is_transferred(tmp_path: Path) -> None:
    with three_in_a_lan(tmp_path) as lan:
        carol_joins(lan, pause_before(speech("alice"), tmp_path / "carol-says.wav"))
        with Baresip(lan, "bob", speech("bob"), [OPUS]) as baresip:
            words = ["call", f"bob@{DOMAIN}", "--duration", str(CHECKS), "--transfer", f"carol@{DOMAIN}"]
            alice = lan.start("alice", [*words, *lan._account("alice")])
            assert alice.wait(40.0) == 0, lan.log("alice")
            assert f"they talk with {CAROL} now" in lan.log("alice")
            time.sleep(TALK)
            baresip.hangs_up()
            assert lan.ends("carol") == 0, lan.log("carol")
            recordings = baresip.recordings()
        trace = lan.trace()
    story = Story(trace).then("alice", SipSent, start="REFER", says=rf"^Refer-To: <{CAROL}>")
    story.then("alice", SipReceived, start="SIP/2.0 202").then("alice", SipReceived, start="NOTIFY")
    story.then("carol", SipReceived, start="INVITE").then("carol", SipSent, start="SIP/2.0 200")
    story.then("alice", SipReceived, start="NOTIFY", says="^SIP/2.0 200").then("alice", SipSent, start="BYE")
    assert compare(speech("bob"), tmp_path / "carol.wav").share > HEARD_ENOUGH
    assert compare(speech("alice"), recordings[-1]).share > HEARD_ENOUGH


def test_baresip_transfers(tmp_path: Path) -> None:
    with three_in_a_lan(tmp_path) as lan:
        carol_joins(lan, pause_before(speech("alice"), tmp_path / "carol-says.wav"))
        lan.answers("alice", speech("bob"), "alice.wav", 0.0)
        with Baresip(lan, "bob", speech("bob"), [OPUS]) as baresip:
            baresip.dials("alice")
            baresip.waits_for("CALL_ESTABLISHED")
            baresip.transfers("carol")
            baresip.waits_for("CALL_CLOSED")
        time.sleep(TALK)
        assert lan.stop("carol") == 0, lan.log("carol")
        assert lan.ends("alice") == 0, lan.log("alice")
        trace = lan.trace()
    story = Story(trace).then("alice", SipReceived, start="REFER").then("alice", SipSent, start="SIP/2.0 202")
    story.then("alice", SipSent, start="NOTIFY", says="^SIP/2.0 100").then(
        "alice", SipSent, start="INVITE sip:carol@"
    )
    story.then("alice", SipSent, start="NOTIFY", says="^SIP/2.0 200").then("alice", SipReceived, start="BYE")
    assert f"talking with sip:alice@{DOMAIN}" in lan.log("carol")
    assert compare(speech("alice"), tmp_path / "alice.wav").share > HEARD_ENOUGH
    assert compare(speech("bob"), tmp_path / "carol.wav").share > 0.3, "he had begun to say it to Bob"
