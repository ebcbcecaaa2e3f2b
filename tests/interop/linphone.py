"""linphonec in the office: a telephone with two components, no rtcp-mux and SHA-256, typed at like a terminal.

It registers over TLS, gathers from our relay with credentials minted for it, plays a file into its calls and
records what it hears. It answers by itself. RTCP goes its own way (component 2), which ends at nobody here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from iceway.edge.credentials import KeyRing
from iceway.lab.kernel_office import KernelOffice
from iceway.lab.office import password_of
from iceway.lab.topologies import DOMAIN
from tests.interop.baresip import SERVERS

PATIENCE = 20.0

_CONFIG = """\
[sip]
sip_port=0
sip_tcp_port=0
sip_tls_port=-1
root_ca={ca}
media_encryption={encryption}
media_encryption_mandatory=1
register_only_when_network_is_up=0
publish_presence=0
use_ipv6=0
default_proxy=0

[proxy_0]
reg_proxy=<sip:{server};transport=tls>
reg_route=<sip:{server};transport=tls;lr>
reg_identity=sip:{name}@{domain}
reg_expires=600
reg_sendregister=1
nat_policy_ref=nat

[auth_info_0]
username={name}
passwd={password}

[auth_info_1]
username={relay_user}
passwd={relay_password}

[nat_policy_0]
ref=nat
stun_server=av.{domain}:3478
stun_server_username={relay_user}
protocols=stun,turn,ice

[rtp]
audio_adaptive_jitt_comp_enabled=0

[sound]
echocancellation=0

[audio_codec_0]
mime=opus
rate=48000
channels=2
enabled={opus}

[video]
capture=0
display=0
"""


class Linphone:
    """The telephone of `name`, on the host of that name. Ready once entered: it is registered."""

    def __init__(self, office: KernelOffice, name: str, play: Path, encryption: str, codec: str) -> None:
        self.name = name
        self._office = office
        self._play = play
        self._encryption = encryption
        self._opus = int(codec == "opus")
        self._program = f"{name}-linphone"
        self._home = office.directory / self._program
        self._recordings = 0

    def __enter__(self) -> Self:
        (self._home / ".local/share/linphone/usr-crt").mkdir(parents=True)  # without it, there is no stack
        (self._home / "config").write_text(self._config())
        keyboard = self._home / "keyboard"
        os.mkfifo(keyboard)
        self._keyboard = os.open(keyboard, os.O_RDWR)
        command = f"HOME={self._home} exec linphonec -c {self._home}/config -a -d 6 -l {self._home}/log < {keyboard}"
        self._process = self._office.launch(self.name, ["sh", "-c", command], self._program)
        try:
            self._until("LinphoneRegistrationOk]", self.log)
            self._until("Using wav files", self.told)
            self.types(f"play {self._play}")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    # --- what it is told ----------------------------------------------------------------------------------
    def types(self, line: str) -> None:
        """What somebody types at it."""
        os.write(self._keyboard, f" {line}\n".encode())

    def dials(self, peer: str) -> None:
        self.types(f"call sip:{peer}@{DOMAIN}")

    def hangs_up(self) -> None:
        self.types("terminate")

    def records(self) -> Path:
        """Where it will keep what it hears in the calls to come."""
        self._recordings += 1
        heard = self._home / f"heard-{self._recordings}.wav"
        self.types(f"record {heard}")
        return heard

    # --- what it tells ------------------------------------------------------------------------------------
    def waits_for(self, words: str, limit: float = PATIENCE) -> None:
        self._office.wait_for_line(self._program, words, limit)

    def told(self) -> str:
        """What it said on the terminal."""
        return self._office.log(self._program)

    def log(self) -> str:
        """What it noted for developers: every message, every check."""
        file = self._home / "log"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    # --- helpers ------------------------------------------------------------------------------------------
    def _config(self) -> str:
        keys = KeyRing.from_pem((self._office.directory / "ca" / "edge.key").read_bytes())
        relay = keys.mint(f"sip:{self.name}@{DOMAIN}", 3600.0, time.time())
        return _CONFIG.format(
            ca=self._office.directory / "ca" / "ca.pem",
            encryption=self._encryption,
            opus=self._opus,
            server=SERVERS[self.name],
            name=self.name,
            domain=DOMAIN,
            password=password_of(self.name),
            relay_user=relay.username,
            relay_password=relay.password,
        )

    def _until(self, words: str, read: Callable[[], str]) -> None:
        """Type until it has got so far. Asked for a certificate by a server it asks us for a password, lets all else
        wait, takes the next line for the answer, and loses the first letter of the one behind."""
        deadline = time.monotonic() + PATIENCE
        while words not in read():
            assert time.monotonic() < deadline, f"no {words!r}:\n{self.told()}"
            self.types("soundcard use files")
            time.sleep(0.1)

    def _end(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)
        os.close(self._keyboard)
