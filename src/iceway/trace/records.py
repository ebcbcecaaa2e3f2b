"""The vocabulary of traces: what a machine says about what it did, as it does it.

A record is a frozen value without time or place; whoever drives the machine stamps it (see `entry.py`).
Records are for `explain/` and `studio/`: everything those tell a person must be derivable from here, so a
record names causes ("401 twice: credentials expired 93 s ago"), never only outcomes. Records never carry
secrets: SIP text goes through `redact.py` first, and keys, passwords and TURN credentials are left out.

Addresses are `iceway.core.address.Address`; durations and instants are seconds; `call_id` is SIP's Call-ID.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from iceway.core.address import Address


@dataclass(frozen=True, slots=True)
class Record:
    """Base of all records."""


# --- the process and its surroundings -------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Started(Record):
    """A program began. `role` is client, edge, frontend, peer, name server …"""

    role: str
    version: str
    identity: str = ""


@dataclass(frozen=True, slots=True)
class Note(Record):
    """Something worth a line that no other record says. `level` is info, warning or error."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class NameResolved(Record):
    """A DNS look-up ended. `answers` reads like a zone file's right-hand side; `error` says why it failed."""

    name: str
    record_type: str
    answers: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ConnectionOpened(Record):
    """A stream is up, outgoing or accepted. `peer_names` are those of the verified certificate."""

    stream: str
    local: Address
    remote: Address
    transport: str
    incoming: bool
    peer_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConnectionClosed(Record):
    """A stream ended or never came up; `reason` in words."""

    stream: str
    reason: str
    remote: Address | None = None


@dataclass(frozen=True, slots=True)
class Malformed(Record):
    """Bytes that no parser would take. Dropped or answered; never fatal."""

    protocol: str
    remote: Address | None
    reason: str
    size: int


# --- SIP ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class SipSent(Record):
    """One SIP message out. `text` is the whole message, redacted."""

    transport: str
    local: Address
    remote: Address
    start_line: str
    call_id: str
    cseq: str
    text: str


@dataclass(frozen=True, slots=True)
class SipReceived(Record):
    """One SIP message in. `text` is the whole message, redacted."""

    transport: str
    local: Address
    remote: Address
    start_line: str
    call_id: str
    cseq: str
    text: str


@dataclass(frozen=True, slots=True)
class SipTransactionFailed(Record):
    """A transaction ended without a final answer: timeout, transport error, cancelled."""

    method: str
    call_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class SipAuthenticationFailed(Record):
    """A digest that did not verify, seen by the server (`user` as claimed) or told to the client."""

    user: str
    remote: Address | None
    reason: str


@dataclass(frozen=True, slots=True)
class Registered(Record):
    """A binding was stored (front end) or confirmed (client). `path` is the route back through edges."""

    aor: str
    contact: str
    expires: float
    path: tuple[str, ...] = ()
    outside: bool | None = None


@dataclass(frozen=True, slots=True)
class Unregistered(Record):
    aor: str
    contact: str
    reason: str


@dataclass(frozen=True, slots=True)
class CallState(Record):
    """A step in a call: trying, ringing, early, confirmed, settled, ended, failed. `reason` where it matters."""

    call_id: str
    state: str
    local_uri: str
    remote_uri: str
    reason: str = ""


# --- relay credentials ----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class CredentialsRequested(Record):
    """A SERVICE request for relay credentials went out (client) or came in (front end, edge)."""

    identity: str
    location: str
    duration: float


@dataclass(frozen=True, slots=True)
class CredentialsMinted(Record):
    """The edge made credentials. `user_id` is the opaque id in the user name; `key_id` names the ring's key."""

    user_id: str
    key_id: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class CredentialsReceived(Record):
    """The client got credentials (themselves not shown) and learned its relay."""

    host: str
    udp_port: int | None
    tcp_port: int | None
    duration: float


@dataclass(frozen=True, slots=True)
class CredentialsRefused(Record):
    """Nobody gave credentials, and why."""

    identity: str
    reason: str


# --- STUN and TURN --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class StunSent(Record):
    """One STUN or TURN message out. `attributes` are readable (name, value) pairs; `raw` is hex.

    Checks sent through a relay carry `relay`: the relayed address they left from.
    """

    transport: str
    local: Address
    remote: Address
    method: str
    message_class: str
    transaction_id: str
    attributes: tuple[tuple[str, str], ...] = ()
    raw: str = ""
    relay: Address | None = None


@dataclass(frozen=True, slots=True)
class StunReceived(Record):
    """One STUN or TURN message in; fields as in StunSent."""

    transport: str
    local: Address
    remote: Address
    method: str
    message_class: str
    transaction_id: str
    attributes: tuple[tuple[str, str], ...] = ()
    raw: str = ""
    relay: Address | None = None


@dataclass(frozen=True, slots=True)
class RelayRefused(Record):
    """The relay said no. `code` is the STUN error; `detail` the cause as the server knows it."""

    client: Address
    transport: str
    method: str
    code: int
    detail: str
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class AllocationCreated(Record):
    client: Address
    transport: str
    relayed: Address
    lifetime: float
    user_id: str = ""


@dataclass(frozen=True, slots=True)
class AllocationEnded(Record):
    """`reason`: expired, released by client, stream closed, shut down. Byte counts are of relayed payload."""

    client: Address
    relayed: Address
    reason: str
    bytes_to_peers: int = 0
    bytes_to_client: int = 0
    packets_to_peers: int = 0
    packets_to_client: int = 0


@dataclass(frozen=True, slots=True)
class PermissionInstalled(Record):
    relayed: Address
    peer_ip: str


@dataclass(frozen=True, slots=True)
class ChannelBound(Record):
    relayed: Address
    channel: int
    peer: Address


@dataclass(frozen=True, slots=True)
class RelayDropped(Record):
    """Payload the relay did not forward, first time per cause: no permission, peer not allowed …"""

    relayed: Address
    peer: Address
    reason: str


# --- ICE ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class CandidateInfo:
    """A candidate as people talk about it (RFC 8445 §5.1). `relay_transport` is how its client reaches the relay,
    `tcp_type` (active, passive, so) who opens the connection where it is over TCP."""

    type: str
    transport: str
    address: Address
    priority: int
    foundation: str
    component: int = 1
    related: Address | None = None
    relay_transport: str | None = None
    server: str | None = None
    tcp_type: str | None = None

    def __str__(self) -> str:
        over = f" over {self.relay_transport.upper()}" if self.relay_transport else ""
        tcp = f" TCP {self.tcp_type}" if self.tcp_type else ""
        return f"{self.type}{over} {self.address}{tcp}"


@dataclass(frozen=True, slots=True)
class GatheringStarted(Record):
    """`agent` names the ICE agent in all records below (one per media transport: "call.1/ice")."""

    agent: str
    interfaces: tuple[str, ...]
    servers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ServerAnswered(Record):
    """A STUN or TURN server gave a candidate. `server` reads "turn:av.example.test:3478?transport=udp"."""

    agent: str
    server: str
    local: Address | None
    round_trip: float


@dataclass(frozen=True, slots=True)
class ServerRefused(Record):
    """A server said no; `detail` says why as far as the client can know ("credentials expired 93 s ago")."""

    agent: str
    server: str
    code: int
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ServerUnreachable(Record):
    """No answer at all: `detail` counts tries and time, or names the connection error."""

    agent: str
    server: str
    detail: str


@dataclass(frozen=True, slots=True)
class ServerSkipped(Record):
    """A server that was never asked, and why: no interface of its family, relays not wanted, asked already."""

    agent: str
    server: str
    reason: str


@dataclass(frozen=True, slots=True)
class CandidateGathered(Record):
    agent: str
    candidate: CandidateInfo


@dataclass(frozen=True, slots=True)
class CandidatePruned(Record):
    """A gathered candidate that is not used; `reason` names what it repeats."""

    agent: str
    candidate: CandidateInfo
    reason: str


@dataclass(frozen=True, slots=True)
class CandidateReceived(Record):
    agent: str
    candidate: CandidateInfo


@dataclass(frozen=True, slots=True)
class GatheringFinished(Record):
    agent: str
    duration: float


@dataclass(frozen=True, slots=True)
class PairFormed(Record):
    """`pair` numbers pairs within the agent."""

    agent: str
    pair: int
    local: CandidateInfo
    remote: CandidateInfo
    priority: int


@dataclass(frozen=True, slots=True)
class PairPruned(Record):
    agent: str
    local: CandidateInfo
    remote: CandidateInfo
    reason: str


@dataclass(frozen=True, slots=True)
class PairChecked(Record):
    """A connectivity check left. `attempt` counts from 1 with retransmissions; `cause`: ordinary, triggered, nomination."""

    agent: str
    pair: int
    attempt: int
    cause: str


@dataclass(frozen=True, slots=True)
class PairSucceeded(Record):
    agent: str
    pair: int
    round_trip: float
    mapped: Address


@dataclass(frozen=True, slots=True)
class PairFailed(Record):
    """`reason` in words: "no answer to 7 checks in 8.1 s", "answer came from elsewhere (symmetric)"."""

    agent: str
    pair: int
    reason: str


@dataclass(frozen=True, slots=True)
class RoleConflict(Record):
    agent: str
    now_controlling: bool


@dataclass(frozen=True, slots=True)
class PairNominated(Record):
    agent: str
    pair: int
    by_us: bool


@dataclass(frozen=True, slots=True)
class PairSelected(Record):
    """Media now uses this pair. `early` marks a valid pair used before nomination."""

    agent: str
    pair: int
    local: CandidateInfo
    remote: CandidateInfo
    early: bool
    round_trip: float | None = None


@dataclass(frozen=True, slots=True)
class ConsentLost(Record):
    agent: str
    pair: int
    silent_for: float


@dataclass(frozen=True, slots=True)
class IceStateChanged(Record):
    """new, gathering, checking, connected (a valid pair), completed (nominated), failed, closed."""

    agent: str
    state: str
    reason: str = ""


# --- media ----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class MediaStarted(Record):
    """First packet of a direction ("sent" or "received"). `early`: before the call was answered.

    `media`, here and below: "audio", "video" or "slides".
    """

    call_id: str
    direction: str
    codec: str
    early: bool
    media: str = "audio"


@dataclass(frozen=True, slots=True)
class MediaSummary(Record):
    """At the end of a call. Jitter in seconds (RFC 3550 §A.8); lost counts packets never played."""

    call_id: str
    codec: str
    packets_sent: int
    packets_received: int
    packets_lost: int
    packets_late: int
    jitter: float
    round_trip: float | None = None
    media: str = "audio"


@dataclass(frozen=True, slots=True)
class MediaQuality(Record):
    """How a stream of the other side was for the last `span` seconds, as it came in here. Times in seconds.

    `loss` is the share (0–1) of packets never played, `late` that of those which came all the same, `far_loss` what the
    other side last reported of ours. Without `clocks_agree`, `one_way` is half a round trip and what comes on top. Of
    sound: the E-model's rating `r` and `mos` (ITU-T G.107; `wideband`: G.107.1), the share of samples made up, and the
    delay from mouth to ear. Of pictures: how many were shown a second, and the standstills that ended in this time.
    """

    call_id: str
    span: float
    loss: float
    jitter: float
    bit_rate: int
    round_trip: float | None = None
    one_way: float | None = None
    clocks_agree: bool | None = None
    far_loss: float | None = None
    r: float | None = None
    mos: float | None = None
    wideband: bool | None = None
    concealed: float | None = None
    mouth_to_ear: float | None = None
    frame_rate: float | None = None
    freezes: int = 0
    frozen: float = 0.0
    late: float = 0.0
    media: str = "audio"


@dataclass(frozen=True, slots=True)
class VideoFroze(Record):
    """A picture stood still for `length` seconds, from `start` on (seconds after the stream's first picture).

    `reason`: "loss" (packets were missing), "no whole picture" (there was no ground to go on from), or "nothing came".
    """

    call_id: str
    start: float
    length: float
    reason: str
    media: str = "video"


@dataclass(frozen=True, slots=True)
class MediaRejected(Record):
    """RTP or RTCP that was not played: bad authentication, unknown payload … counted, first of each cause."""

    call_id: str
    reason: str
    media: str = "audio"


@dataclass(frozen=True, slots=True)
class MediaKeyed(Record):
    """A DTLS handshake on the media path gave the keys. `role` is ours (RFC 5763 §5): active opened it.

    `duration` counts from the path on, `repeated` how often a flight of ours went out again.
    """

    call_id: str
    role: str
    suite: str
    duration: float
    repeated: int


@dataclass(frozen=True, slots=True)
class MediaKeyFailed(Record):
    """No keys, so no sound, in neither direction; the call itself goes on."""

    call_id: str
    reason: str


# --- the laboratory -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class PacketTranslated(Record):
    """A simulated NAT rewrote a packet, first packet of each mapping and direction."""

    nat: str
    transport: str
    before: Address
    after: Address
    peer: Address
    outgoing: bool


@dataclass(frozen=True, slots=True)
class PacketDropped(Record):
    """A simulated box dropped a packet, first of each flow and cause: filtered, blocked, no route, lost …"""

    where: str
    transport: str
    source: Address
    destination: Address
    reason: str


@dataclass(frozen=True, slots=True)
class Measured(Record):
    """A figure somebody measured about the run (correlation of sound, round trips to first media …)."""

    what: str
    value: float
    unit: str = ""
    details: tuple[tuple[str, str], ...] = field(default=())
