"""What a session description of the other side says of one stream: lines in, values out.

Whatever cannot be read, and without which no call can come of it, is a `NegotiationError` with the reason.
"""

from __future__ import annotations

from iceway.core.address import Address, is_ip
from iceway.core.errors import IcewayError, ParseError
from iceway.media.srtp import KEY_AND_SALT_LENGTH, SDES_SUITES, SrtpKey
from iceway.wire import sdp
from iceway.wire.sdp import Crypto, IceParameters, MediaDescription, SessionDescription, ice_parameters

CLEAR = ("RTP/AVP", "RTP/AVPF")
SECURE = ("RTP/SAVP", "RTP/SAVPF")
MAX_SSRCS = 16  # of a section

_UNDER_DTLS = ("UDP/TLS/", "DTLS/")  # RFC 5764 §9, and "TCP/DTLS/" of RFC 7850
_REVERSED = {"sendonly": "recvonly", "recvonly": "sendonly"}


class NegotiationError(IcewayError):
    """No call can come of this description. `code` is the SIP status that says so; the text says why."""

    def __init__(self, reason: str, code: int = 488) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


def parsed(body: bytes | str) -> SessionDescription:
    """The whole of it. Raises NegotiationError."""
    try:
        return sdp.parse(body)
    except ParseError as error:
        raise NegotiationError(f"the session description cannot be read: {error}") from error


def ice_of(description: SessionDescription, media: MediaDescription) -> IceParameters | None:
    """None if it speaks no ICE. Raises NegotiationError."""
    try:
        return ice_parameters(description, media)
    except ParseError as error:
        raise NegotiationError(f"the ICE lines cannot be read: {error}") from error


def destination(description: SessionDescription, media: MediaDescription) -> Address | None:
    """Its `m=` and `c=` lines; None if they name no IP address. Raises NegotiationError."""
    try:
        connection = description.connection_of(media)
    except ParseError as error:
        raise NegotiationError(f"the connection line cannot be read: {error}") from error
    if connection is None or not is_ip(connection.address):
        return None
    return Address.of(connection.address, media.port)


def announced_sources(media: MediaDescription) -> tuple[int, ...]:
    """The sources that a section announces (RFC 5576 §4.1), each once; nonsense is passed over."""
    words = (text.split(None, 1)[0] for text in media.attributes("ssrc") if text.strip())
    numbers = (int(word) for word in words if word.isascii() and word.isdigit() and len(word) <= 10)
    return tuple(dict.fromkeys(number for number in numbers if number < 1 << 32))[:MAX_SSRCS]


def under_dtls(media: MediaDescription) -> bool:
    """Whether its protocol is one that DTLS carries (RFC 5764 §8)."""
    return media.protocol.removeprefix("TCP/").startswith(_UNDER_DTLS)


def base_protocol(media: MediaDescription) -> str:
    """Without what carries it. Microsoft names the transport of a relayed TCP path in front: TCP/RTP/SAVP."""
    protocol = media.protocol.removeprefix("TCP/")
    for prefix in _UNDER_DTLS:
        if protocol.startswith(prefix):
            rest = protocol.removeprefix(prefix)
            return rest if rest in SECURE else protocol
    return protocol


def usable(crypto: Crypto) -> bool:
    """Parameters that change the packets make a line unusable unless we do as they say (RFC 4568 §6.3.7)."""
    declared = [text for text in crypto.session_parameters if not text.startswith(("-", "WSH="))]
    return (
        crypto.suite in SDES_SUITES
        and len(crypto.key_and_salt) == KEY_AND_SALT_LENGTH
        and not declared
        and _mki(crypto) is not None
    )


def _mki(crypto: Crypto) -> bytes | None:
    """The key identifier every packet carries, b"" without one, None if it is nonsense."""
    if crypto.mki is None:
        return b""
    value, _, length = crypto.mki.partition(":")
    if not (value.isascii() and value.isdigit() and length.isascii() and length.isdigit()):
        return None
    if len(value) > 20 or len(length) > 3 or not 1 <= int(length) <= 128:
        return None
    return int(value).to_bytes(int(length)) if int(value) < 1 << 8 * int(length) else None


def srtp_key(crypto: Crypto) -> SrtpKey:
    """The key of a usable line."""
    return SrtpKey(crypto.suite, crypto.key_and_salt, _mki(crypto) or b"")


def our_direction(description: SessionDescription, media: MediaDescription, wanted: str) -> str:
    """Which way media flows, seen from here, if we want so much and they say so much."""
    theirs = description.direction_of(media)
    ours = intersection(_REVERSED.get(theirs, theirs), wanted)
    connection = media.connection or description.connection
    held = connection is not None and connection.address in ("0.0.0.0", "::")
    if held and not media.has("ice-ufrag") and not description.has("ice-ufrag"):
        # Hold as RFC 2543 had it (RFC 3264 §8.4): nowhere to send to. With ICE it only means "not yet".
        ours = intersection(ours, "recvonly")
    return ours


def intersection(one: str, other: str) -> str:
    """What two directions, both seen from here, leave of each other."""
    send = all(direction in ("sendrecv", "sendonly") for direction in (one, other))
    receive = all(direction in ("sendrecv", "recvonly") for direction in (one, other))
    return {(True, True): "sendrecv", (True, False): "sendonly", (False, True): "recvonly"}.get(
        (send, receive), "inactive"
    )
