"""Sound to baresip and back, without ICE: it plays what it hears into its own microphone, and we compare."""

from __future__ import annotations

import random
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iceway.core.address import Address
from iceway.core.machine import drain
from iceway.media.description import AudioNegotiation, Negotiated
from iceway.media.files import FileSource, MemorySink
from iceway.media.heard import compare
from iceway.media.reading import NegotiationError
from iceway.media.session import AudioSession, SendMedia
from iceway.media.speech import speech

MODULES = Path("/usr/lib/baresip/modules")

pytestmark = pytest.mark.interop("baresip")

CONFIG = f"""poll_method epoll
sip_listen 127.0.0.1:0
audio_source aubridge,loop
audio_player aubridge,loop
audio_alert aubridge,alert
ausrc_srate 48000
auplay_srate 48000
ausrc_channels 2
auplay_channels 2
rtcp_mux yes
module_path {MODULES}
module opus.so
module g711.so
module aubridge.so
module srtp.so
module dtls_srtp.so
module_tmp uuid.so
module_tmp account.so
module_app contact.so
module_app menu.so
module_app debug_cmd.so
"""


class Baresip:
    """Calls us at once; we answer with a bare SIP 200 of our own."""

    def __init__(self, home: Path, encryption: str, codecs: str) -> None:
        self.sip = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sip.bind(("127.0.0.1", 0))
        self.sip.settimeout(10)
        (home / "config").write_text(CONFIG)
        (home / "contacts").touch()
        (home / "accounts").write_text(
            f"<sip:bob@127.0.0.1;transport=udp>;regint=0;mediaenc={encryption};audio_codecs={codecs}\n"
        )
        us = f"sip:us@127.0.0.1:{self.sip.getsockname()[1]}"
        self.process = subprocess.Popen(
            ["baresip", "-f", str(home), "-e", f"/dial {us}", "-t", "20"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def offers(self) -> bytes:
        data, self._address = self.sip.recvfrom(9000)
        head, _, body = data.partition(b"\r\n\r\n")
        self._head = head.decode().split("\r\n")
        return body

    def is_answered(self, body: str) -> None:
        names = ("via:", "from:", "call-id:", "cseq:")
        lines = [line for line in self._head if line.lower().startswith(names)]
        to = next(line for line in self._head if line.lower().startswith("to:"))
        port = self.sip.getsockname()[1]
        lines += [f"{to};tag=us", f"Contact: <sip:us@127.0.0.1:{port}>", "Content-Type: application/sdp"]
        head = "\r\n".join(["SIP/2.0 200 OK", *lines, f"Content-Length: {len(body)}", "", ""])
        self.sip.sendto((head + body).encode(), self._address)

    def leaves(self) -> None:
        self.process.kill()  # asked politely, it would wait for an answer to its BYE
        self.process.wait(10)
        self.sip.close()


@pytest.fixture
def baresip(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Baresip]:
    peer = Baresip(tmp_path, *request.param)
    yield peer
    peer.leaves()


def talk(terms: Negotiated, rtp: socket.socket, seconds: float) -> tuple[AudioSession, MemorySink]:
    sink = MemorySink()
    session = AudioSession("us", terms, FileSource(speech("alice")), sink, random.Random(1))
    assert terms.remote is not None
    begun = now = time.monotonic()
    session.start_sending(now)
    while now < begun + seconds:
        wait = max(0.0, (session.poll_timeout() or now) - now)
        if select.select([rtp], [], [], wait)[0]:
            session.receive(rtp.recv(3000), time.monotonic())
        now = time.monotonic()
        session.handle_timeout(now)
        for output in drain(session):
            if isinstance(output, SendMedia):
                rtp.sendto(output.data, terms.remote)
    return session, sink


@pytest.mark.parametrize(
    ("baresip", "codec"),
    [
        (("srtp", "opus/48000/2"), "opus"),
        (("srtp-mand", "pcmu/8000/1"), "PCMU"),
        (("srtp-mandf", "pcma/8000/1"), "PCMA"),
    ],
    indirect=["baresip"],
)
def test_what_we_say_comes_back_from_baresip(baresip: Baresip, codec: str) -> None:
    negotiation = AudioNegotiation(random.Random(1))
    terms = negotiation.receive_offer(baresip.offers())
    assert terms.codec.name == codec
    assert terms.recv_key is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as rtp:
        rtp.bind(("127.0.0.1", 0))
        baresip.is_answered(negotiation.answer(None, Address("127.0.0.1", rtp.getsockname()[1])))
        session, sink = talk(terms, rtp, 6.5)
    heard = compare(speech("alice"), sink.samples)
    assert heard.share > 0.9, heard
    assert heard.correlation > 0.85, heard
    stats = session.stats()
    assert (stats.packets_rejected, stats.packets_late) == (0, 0)
    assert stats.fraction_lost == 0.0, "its receiver reports are read"


@pytest.mark.parametrize("baresip", [("dtls_srtp", "opus/48000/2")], indirect=True)
def test_dtls_is_refused_with_a_reason(baresip: Baresip) -> None:
    with pytest.raises(NegotiationError, match="DTLS"):
        AudioNegotiation(random.Random(1)).receive_offer(baresip.offers())
