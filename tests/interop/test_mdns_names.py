"""Names in place of addresses between us and others on one link: Chromium both ways, Avahi as the one who answers."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from iceway.core.machine import AddressesChanged
from iceway.ice.agent import Agent
from iceway.ice.candidate import NamedCandidate, parse, serialize
from iceway.ice.config import AgentConfig
from iceway.io.driver import Driver
from iceway.io.recorder import Recorder
from iceway.lab import topologies
from iceway.lab.namespaces import KernelLab
from iceway.trace.records import NameResolved

pytestmark = pytest.mark.interop("ip", "nft", "nsenter", "unshare")

ALICE, BOB = "10.0.0.21", "10.0.0.20"


def on_one_link(run: Callable[[KernelLab], Coroutine[Any, Any, None]]) -> None:
    with KernelLab(topologies.one_lan()) as lab, lab.enter("alice"):
        asyncio.run(run(lab))


def resolved(recorder: Recorder) -> list[NameResolved]:
    found = [entry.record for entry in recorder.entries if isinstance(entry.record, NameResolved)]
    return [record for record in found if record.record_type == "mDNS"]


ANSWER = """v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=mid:0
a=setup:active
a=sctp-port:5000
a=fingerprint:sha-256 {fingerprint}
a=ice-ufrag:{ufrag}
a=ice-pwd:{pwd}
{candidates}
"""


@pytest.mark.interop("chromium")
@pytest.mark.parametrize("we_hide", [True, False])
def test_chromium_and_we_find_each_other_by_name(we_hide: bool, tmp_path: Path) -> None:
    """The browser as it comes: it hides its addresses. That it resolved our name, its statistics tell."""
    pytest.importorskip("playwright")
    from tests.interop.chromium import PATIENCE, browser

    recorder = Recorder(keep=True)
    agent = Agent("alice/ice", AgentConfig(controlling=False, mdns=we_hide), random.Random())

    async def run(lab: KernelLab) -> None:
        async with (
            browser(lab, "bob", tmp_path) as chromium,
            asyncio.timeout(PATIENCE),
            chromium.peer({"iceServers": []}) as peer,
            Driver(agent, recorder=recorder) as driver,
        ):
            driver.call(lambda now: agent.gather((ALICE,), (), now))
            offer = await peer.offer()
            ufrag, pwd = (re.search(rf"a=ice-{word}:(\S+)", offer)[1] for word in ("ufrag", "pwd"))
            driver.call(lambda now: agent.set_remote(ufrag, pwd, now))
            told = [serialize(candidate) for candidate in agent.local_candidates]
            assert len(told) == 1
            assert (ALICE in told[0]) is not we_hide
            answer = ANSWER.format(
                fingerprint=":".join(["AB"] * 32),
                ufrag=agent.local_ufrag,
                pwd=agent.local_pwd,
                candidates="\n".join(f"a=candidate:{line}" for line in told),
            )
            await peer.take_answer(answer.replace("\n", "\r\n"))

            async def theirs(found: dict[str, Any] | None) -> None:
                if found is not None and found["candidate"]:
                    assert BOB not in found["candidate"]
                    candidate = parse(found["candidate"])
                    driver.call(lambda now: agent.add_remote_candidate(candidate, now))

            await peer.trickle_to(theirs)
            while True:
                ours, pair = agent.selected, await peer.selected()
                if ours is not None and pair is not None and pair[1][0] == "host" and resolved(recorder):
                    break
                await asyncio.sleep(0.05)
            assert ours.remote.address.ip == BOB
            assert pair[1][1] == ours.local.address.port
            driver.call(agent.close)

    on_one_link(run)
    assert [record.answers for record in resolved(recorder)] == [(BOB,)]


AVAHI = """
[server]
host-name=printer
use-ipv4=yes
use-ipv6=no
enable-dbus=no
allow-interfaces=eth0
[publish]
publish-workstation=no
publish-hinfo=no
"""


@pytest.mark.interop("avahi-daemon")
def test_avahi_answers_us(tmp_path: Path) -> None:
    """A responder that owes nothing to browsers; it answers questions for one asker to that one alone."""
    (tmp_path / "avahi.conf").write_text(AVAHI)
    recorder = Recorder(keep=True)
    agent = Agent("alice/ice", AgentConfig(controlling=True), random.Random())

    async def run(lab: KernelLab) -> None:
        daemon = lab.popen(
            "bob",
            [
                *("unshare", "-m", "--", "sh", "-c"),
                'mount -t tmpfs none /run && mkdir -p /run/avahi-daemon && exec "$@"',
                *("sh", "avahi-daemon", "--no-drop-root", "--no-chroot", "--no-rlimits"),
                *("-f", str(tmp_path / "avahi.conf")),
            ],
        )
        async with Driver(agent, recorder=recorder, addresses=lambda: (ALICE,)) as driver:
            driver.feed(AddressesChanged((ALICE,)))
            driver.call(lambda now: agent.gather((ALICE,), (), now))
            async with asyncio.timeout(20):
                while not (found := [record for record in resolved(recorder) if record.answers]):
                    assert daemon.poll() is None
                    named = NamedCandidate("printer.local", 9, 5, "1")
                    driver.call(lambda now, named=named: agent.add_remote_candidate(named, now))
                    await asyncio.sleep(0.2)
            assert found[0].answers == (BOB,)
            driver.call(agent.close)

    on_one_link(run)
