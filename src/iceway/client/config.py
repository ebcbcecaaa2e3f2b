"""What a client is told about its user and its network. Everything else it finds out by itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from iceway.client.ways import Ways
from iceway.core.address import Transport
from iceway.core.errors import UsageError
from iceway.ice.config import IceServer
from iceway.media.dtls import DtlsIdentity
from iceway.media.keying import Keys


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A SIP server given by hand, instead of by SRV: `tls:edge.example.test:443`, `tcp:192.0.2.1:5060`."""

    host: str
    port: int
    transport: Transport = Transport.TLS

    @classmethod
    def parse(cls, text: str) -> ServerAddress:
        """Transport (default tls), host, port (default 5061 for TLS, else 5060). Raises UsageError."""
        head, colon, rest = text.partition(":")
        if colon and head in tuple(Transport):
            transport, where = Transport(head), rest
        else:
            transport, where = Transport.TLS, text
        host, colon, port_text = where.rpartition(":")
        if not colon or where.endswith("]"):
            host, port_text = where, "5061" if transport is Transport.TLS else "5060"
        if not host or not port_text.isdecimal() or not 0 < int(port_text) < 65536:
            raise UsageError(f"{text!r} is not a server; write tls:host:port, tcp:host:port or udp:host:port")
        return cls(host.strip("[]"), int(port_text), transport)

    def __str__(self) -> str:
        return f"{self.transport.value}:{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PhoneConfig:
    """One user's client.

    `identity` is the SIP address of record ("sip:alice@example.test"). `server` replaces the search by SRV.
    `relays` are STUN and TURN servers configured by hand, used beside those that the front end names;
    `ask_for_relays=False` never asks the front end. `ways` says which ways media may take. `relay_limit` bounds, in
    seconds, how long a call waits for relay credentials that are still on their way. `ring_for` is how long a called
    client rings before it picks up by itself (None: somebody else decides).
    `session_expires`: after so many seconds without a sign of life from the other side's phone a call is over (0: none
    are asked for).

    `bundle`: all streams of a call share one path where the other side can do that (RFC 8843), which is most often
    wanted; False gives each a path of its own. `rtcp_mux=False`: our offers give RTCP a component of its own (with keys
    in SDP alone, since DTLS would shake hands on each), for phones that know no other way; offers of theirs are answered
    in kind anyway.

    `keys` says how keys for the media may be agreed on. DTLS needs a `certificate` (`io/selfsigned.py` makes one);
    without it "both" is SDES alone. SDES is neither offered nor taken over signalling in clear, where everybody on
    the way could read the keys.
    """

    identity: str
    password: str = field(repr=False)
    server: ServerAddress | None = None
    relays: tuple[IceServer, ...] = ()
    ask_for_relays: bool = True
    ways: Ways = field(default_factory=Ways)
    codecs: tuple[str, ...] = ("opus", "G722", "PCMU", "PCMA")
    video_codecs: tuple[str, ...] = ("VP8", "H264")
    bundle: bool = True
    rtcp_mux: bool = True
    allow_clear: bool = False
    relay_limit: float = 3.0
    ring_for: float | None = None
    session_expires: int = 1800
    keys: Keys = Keys.BOTH
    certificate: DtlsIdentity | None = None

    def __post_init__(self) -> None:
        if self.keys is Keys.DTLS and self.certificate is None:
            raise UsageError("keys by DTLS need a certificate; make one with io.selfsigned.media_identity()")
        scheme, _, rest = self.identity.partition(":")
        user, at, domain = rest.rpartition("@")
        if scheme not in ("sip", "sips") or not at or not user or not domain:
            raise UsageError(f"{self.identity!r} is not a SIP address; write sip:user@domain")

    @property
    def user(self) -> str:
        return self.identity.partition(":")[2].rpartition("@")[0]

    @property
    def dtls(self) -> DtlsIdentity | None:
        """By which we are known in a handshake, if there may be one."""
        return None if self.keys is Keys.SDES else self.certificate

    @property
    def domain(self) -> str:
        return self.identity.rpartition("@")[2]
