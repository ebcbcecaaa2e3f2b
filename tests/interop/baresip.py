"""A headless baresip in the office: somebody whose telephone is not ours.

It registers through the edge over TLS, uses the relay with credentials minted for it (it cannot ask for them),
plays a recording into its calls and records what it hears. It is told what to do, and tells what happens, over
its control port, in JSON behind the length of each message.
"""

from __future__ import annotations

import json
import socket
import time
import wave
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import numpy as np

from iceway.edge.credentials import KeyRing
from iceway.frontend.store import SqlStore
from iceway.frontend.users import set_password
from iceway.lab.kernel_office import KernelOffice
from iceway.lab.topologies import ACCESS_PORT, DOMAIN, FRONTEND_PORT
from iceway.media.files import load
from iceway.media.pattern import numbered, read
from iceway.media.picture import picture_of
from iceway.media.sound import RATE, Samples
from iceway.media.video_files import MkvRecorder

SERVERS = {"alice": f"edge.{DOMAIN}:{ACCESS_PORT}", "bob": f"frontend.{DOMAIN}:{FRONTEND_PORT}"}
MODULES = Path("/usr/lib/baresip/modules")
PASSWORD = "without-blanks"  # at one, baresip takes the password to end
CONTROL = ("127.0.0.1", 4444)
PATIENCE = 20.0
CHECKS = 4  # seconds in which baresip checks every pair to its end, whatever was nominated
SILENCE = 30  # seconds behind the recording: at its end baresip would end the call

_CONFIG = f"""\
poll_method epoll
sip_cafile {{ca}}
audio_source aufile,{{play}}
audio_player aubridge,ear
audio_alert aubridge,alert
ausrc_srate {RATE}
auplay_srate {RATE}
ausrc_channels 2
auplay_channels 2
rtcp_mux yes
snd_path {{heard}}
ctrl_tcp_listen {CONTROL[0]}:{CONTROL[1]}
module_path {MODULES}
module opus.so
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module stun.so
module turn.so
module ice.so
module srtp.so
module dtls_srtp.so
module_tmp uuid.so
module_tmp account.so
module_app contact.so
module_app menu.so
module_app debug_cmd.so
module_app ctrl_tcp.so
"""
_WITH_PICTURES = """\
video_source avformat,{film}
video_display fakevideo,nowhere
video_size {width}x{height}
video_bitrate 400000
video_fps {frame_rate}
module {coder}.so
module avformat.so
module fakevideo.so
module snapshot.so
"""
SIZE, FRAME_RATE = (320, 180), 15


class Baresip:
    """The telephone of `name`, on the host of that name. Ready once entered: it is registered."""

    def __init__(
        self,
        office: KernelOffice,
        name: str,
        play: Path,
        codecs: Sequence[str],
        encryption: str = "srtp-mand",
        *,
        video: str = "",
        film: Path | None = None,
    ) -> None:
        """`video` is the codec that pictures are coded with, `film` what it shows, over and over."""
        self.name = name
        self._encryption = encryption
        self._program = f"{name}-baresip"
        self.events: list[dict[str, Any]] = []
        self._office = office
        self._home = office.directory / self._program
        self._heard = self._home / "heard"
        self._heard.mkdir(parents=True)
        self._received = b""
        said = self._home / "said.wav"
        _write(np.concatenate([load(play), np.zeros(SILENCE * RATE, np.int16)]), 2, said)
        config = _CONFIG.format(ca=office.directory / "ca" / "ca.pem", play=said, heard=self._heard)
        if film is not None:
            width, height = SIZE
            coder = {"H264": "avcodec", "VP8": "vp8"}[video]
            config += _WITH_PICTURES.format(
                film=film, width=width, height=height, frame_rate=FRAME_RATE, coder=coder
            )
        (self._home / "config").write_text(config)
        (self._home / "contacts").touch()
        (self._home / "accounts").write_text(self._account(codecs) + "\n")

    def __enter__(self) -> Self:
        store = SqlStore(str(self._office.directory / "frontend.sqlite"))
        set_password(store, self.name, PASSWORD, DOMAIN, time.time())
        store.close()
        argv = ["baresip", "-4", "-s", "-v", "-f", str(self._home), "-t", "120"]
        self._process = self._office.launch(self.name, argv, self._program)
        try:
            self._office.wait_for_line(self._program, "[1 binding]")  # its event may be over before we listen
            with self._office.enter(self.name):
                self._control = socket.create_connection(CONTROL, PATIENCE)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._control.close()
        self._end()

    # --- what it is told ----------------------------------------------------------------------------------
    def dials(self, peer: str) -> None:
        self._command("dial", f"sip:{peer}@{DOMAIN}")

    def hangs_up(self) -> None:
        self._command("hangup")

    def transfers(self, peer: str) -> None:
        """Whom it talks with is to call somebody else."""
        self._command("transfer", f"sip:{peer}@{DOMAIN}")

    def takes_snapshots(self) -> None:
        """Of both pictures, as PNG files."""
        self._command("snapshot")

    # --- what it tells ------------------------------------------------------------------------------------
    def waits_for(self, kind: str, limit: float = PATIENCE) -> dict[str, Any]:
        """The first event of a kind (CALL_ESTABLISHED, CALL_CLOSED …), once it has come."""
        deadline = time.monotonic() + limit
        while True:
            for event in self.events:
                if event.get("type") == kind:
                    return event
            left = deadline - time.monotonic()
            assert left > 0, f"baresip tells no {kind}: {self.events}\n{self.log()}"
            self._read(left)

    def heard(self) -> Path:
        """What it heard in its call."""
        (recording,) = self.recordings()
        return recording

    def recordings(self) -> list[Path]:
        """What it heard in each of its calls."""
        found = sorted(self._heard.glob("*-dec.wav"))
        assert found, self.log()
        return found

    def saw(self) -> list[int]:
        """The numbers on the snapshots of what it received, in the order in which it took them."""
        files = sorted(
            self._office.directory.glob("snapshot-recv-*.png"), key=lambda file: file.stat().st_mtime_ns
        )
        numbers = []
        for file in files:
            with av.open(file) as container:
                reading = read(picture_of(next(container.decode(video=0))))
            assert reading is not None, f"{file} is no test pattern"
            assert reading.lies == "upright"
            numbers.append(reading.number)
        return numbers

    def log(self) -> str:
        return self._office.log(self._program)

    # --- helpers ------------------------------------------------------------------------------------------
    def _account(self, codecs: Sequence[str]) -> str:
        identity = f"sip:{self.name}@{DOMAIN}"
        keys = KeyRing.from_pem((self._office.directory / "ca" / "edge.key").read_bytes())
        relay = keys.mint(identity, 3600.0, time.time())
        parameters = {
            "auth_user": self.name,
            "auth_pass": PASSWORD,
            "outbound": f'"sip:{SERVERS[self.name]};transport=tls"',
            "regint": "600",
            "answermode": "auto",
            "medianat": "ice",
            "stunserver": f'"turn:av.{DOMAIN}:3478"',
            "stunuser": relay.username,
            "stunpass": relay.password,
            "mediaenc": self._encryption,
            "audio_codecs": ",".join(codecs),
        }
        return f"<{identity};transport=tls>" + "".join(f";{k}={v}" for k, v in parameters.items())

    def _end(self) -> None:
        self._process.kill()  # asked politely, it would wait for answers of servers
        self._process.wait(PATIENCE)

    def _command(self, command: str, params: str = "") -> None:
        text = json.dumps({"command": command, "params": params})
        self._control.sendall(f"{len(text)}:{text},".encode())

    def _read(self, limit: float) -> None:
        self._control.settimeout(limit)
        try:
            data = self._control.recv(65536)
        except TimeoutError:
            return
        assert data, f"baresip ended\n{self.log()}"
        self._received += data
        while True:  # netstrings: `length:text,`
            length, colon, rest = self._received.partition(b":")
            if not colon or len(rest) <= int(length):
                return
            self.events.append(json.loads(rest[: int(length)]))
            self._received = rest[int(length) + 1 :]


def pause_before(recording: Path, file: Path, pause: float = CHECKS) -> Path:
    """The recording after a pause as long as baresip's checks last: only then does it listen."""
    _write(np.concatenate([np.zeros(int(pause * RATE), np.int16), load(recording)]), 1, file)
    return file


def film(file: Path, length: int = 450) -> Path:
    """A film of numbered pictures."""
    recorder = MkvRecorder(file, size=SIZE, with_sound=False)
    for number in range(length):
        recorder.pictures.show(numbered(number, *SIZE), number / FRAME_RATE)
    recorder.pictures.close()
    return file


def _write(samples: Samples, channels: int, file: Path) -> None:
    with wave.open(str(file), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(np.repeat(samples, channels).astype("<i2").tobytes())
