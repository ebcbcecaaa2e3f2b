"""A guest behind a firewall that drops all UDP: page, WebSocket and relay over TCP, through this kernel's NATs."""

from __future__ import annotations

import asyncio
import shlex
from pathlib import Path

import pytest

pytest.importorskip("playwright")

from playwright.async_api import async_playwright

from iceway.lab import topologies
from iceway.lab.kernel_office import KernelOffice
from iceway.lab.namespaces import available
from iceway.lab.office import password_of
from iceway.lab.topologies import DOMAIN, FRONTEND_PORT
from iceway.media.heard import compare
from iceway.media.sound import Samples
from iceway.media.speech import speech
from tests.conftest import unavailable
from tests.interop.baresip import pause_before
from tests.interop.chromium import PROGRAM
from tests.interop.listening import heard, listen
from tests.interop.webphone import built, guests

pytestmark = pytest.mark.interop("chromium", "ip", "nft", "nsenter", "unshare")

HEARD_ENOUGH = 0.9
SPOKEN_ENOUGH = 0.75
"""Of what goes through the browser's echo cancellation and noise suppression."""
PAUSE = 2.0
FRONTEND = f"""\
domain = "{DOMAIN}"
name = "frontend.{DOMAIN}"
edges = [{{ name = "edge.{DOMAIN}", mras = "edge.{DOMAIN}:5062" }}]
listen = [
  {{ address = "0.0.0.0:{FRONTEND_PORT}" }},
  {{ address = "0.0.0.0:443", transport = "wss" }},
]
"""


def test_a_guest_without_udp_talks_over_the_relay_by_tcp(tmp_path: Path) -> None:
    allowed, reason = available()
    if not allowed:
        unavailable(reason)
    if (missing := built()) is not None:
        unavailable(missing)
    with KernelOffice(topologies.relayed_tcp(), tmp_path, frontend_toml=FRONTEND) as office:
        said = pause_before(speech("alice"), tmp_path / "said.wav", PAUSE)  # until the page listens
        office.answers("alice", said, "heard.wav")
        program = tmp_path / "chromium"
        program.write_text(f'#!/bin/sh\nexec {shlex.join([*office.words("bob"), PROGRAM])} "$@"\n')
        program.chmod(0o700)

        async def visit() -> Samples:
            microphone = f"--use-file-for-fake-audio-capture={speech('bob')}"
            async with (
                async_playwright() as playwright,
                guests(playwright, f"https://frontend.{DOMAIN}/", microphone, program=program) as new_guest,
            ):
                bob = await new_guest()
                await bob.signs_in("bob", password_of("bob"))
                await bob.is_ready()
                await bob.dials("alice")
                await listen(bob.page, "voice")
                await bob.talks()
                await bob.reads("#path", f"relayed via edge av.{DOMAIN} over TCP")
                await asyncio.sleep(PAUSE + 8)
                await bob.presses("Hang up")
                return await heard(bob.page)

        bob_heard = asyncio.run(visit())
        assert office.ends("alice") == 0, office.log("alice")
    assert compare(speech("alice"), bob_heard).share > HEARD_ENOUGH
    assert compare(speech("bob"), tmp_path / "heard.wav").share > SPOKEN_ENOUGH
