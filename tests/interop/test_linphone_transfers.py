"""Attended transfers with linphonec in all three parts, in one LAN: it brings two of ours together, is brought together
with one, and is the one with whom somebody is brought together. It knows Replaces, and names phones by their GRUU.
"""

from __future__ import annotations

import sys
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
from tests.interop.linphone import Linphone
from tests.interop.three import carol_joins, three_in_a_lan

pytestmark = pytest.mark.interop("linphonec", "nft", "ip", "unshare")

HEARD_ENOUGH = 0.95
TALK = 9.0  # seconds
CONSULT = Path(__file__).parent / "peers" / "consult.py"


@pytest.fixture(autouse=True)
def _laboratory() -> None:
    allowed, reason = available()
    if not allowed:
        unavailable(reason)


def test_linphone_brings_two_of_ours_together(tmp_path: Path) -> None:
    with three_in_a_lan(tmp_path) as lan:
        carol_joins(lan, speech("bob"))
        lan.answers("alice", speech("alice"), "alice.wav", 0.0)
        with Linphone(lan, "bob", speech("bob"), "srtp", "opus") as linphone:
            linphone.dials("alice")
            linphone.waits_for("Call 1 with sip:alice@example.test connected")
            linphone.types("pause 1")
            linphone.dials("carol")
            linphone.waits_for("Call 2 with sip:carol@example.test connected")
            time.sleep(1.0)
            linphone.types("transfer 1 --to-call 2")
            lan.wait_for_line("alice", "talking with them now")
            time.sleep(TALK)
        assert lan.stop("carol") == 0, lan.log("carol")
        assert lan.ends("alice") == 0, lan.log("alice")
        trace = lan.trace()
    story = Story(trace).then("alice", SipReceived, start="REFER", says=r"^Refer-To: .*[?&]Replaces=")
    story.then("alice", SipSent, start=f"INVITE sip:carol@{DOMAIN}", says=r"^Require: replaces")
    story.then("carol", SipReceived, start="INVITE", says=r"^Replaces: ").then(
        "carol", SipSent, start="SIP/2.0 200"
    )
    story.then("alice", SipSent, start="NOTIFY", says="^SIP/2.0 200")
    assert compare(speech("bob"), tmp_path / "alice.wav").share > 0.3, "she had begun to say it to Bob"
    assert compare(speech("alice"), tmp_path / "carol.wav").share > 0.3


@pytest.mark.parametrize("way", ["bob carol", "carol bob"])
def test_linphone_is_brought_together_with_one_of_ours(tmp_path: Path, way: str) -> None:
    first, second = way.split()
    with three_in_a_lan(tmp_path) as lan:
        carol_joins(lan, speech("alice"))
        with Linphone(lan, "bob", speech("bob"), "srtp", "opus") as linphone:
            people = (f"sip:{name}@{DOMAIN}" for name in ("alice", first, second))
            alice = lan.launch("alice", [sys.executable, str(CONSULT), *people], "alice")
            lan.wait_for_line("alice", "brought together", 60.0)
            assert alice.wait(10.0) == 0, lan.log("alice")
            time.sleep(TALK)
            linphone.hangs_up()
            assert lan.ends("carol") == 0, lan.log("carol")
        trace = lan.trace()
    replaced = Story(trace).then(
        "carol", SipReceived if first == "bob" else SipSent, start="INVITE", says="^Replaces: "
    )
    replaced.then("carol", SipSent if first == "bob" else SipReceived, start="SIP/2.0 200")
    assert compare(speech("bob"), tmp_path / "carol.wav").share > 0.3
