"""Offer and answer for one audio stream (RFC 3264): which codec, which keys, which ICE parameters.

An `AudioNegotiation` lives as long as its call. Whoever offers says `offer`, sends it, and gives the answer
to `receive_answer`; who is offered gives the body to `receive_offer` (which refuses at once what cannot
become a call) and says `answer` when candidates are there. Re-INVITEs go through the same four, in either
direction; keys, session id and payload types stay, the version grows when the text changes. Media is
encrypted, with keys from DTLS or from `a=crypto` (`keying.py`), unless `allow_clear` says that clear media will do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from iceway.core.address import Address, is_ip
from iceway.core.errors import IcewayError, ParseError, UsageError
from iceway.media.keying import DtlsTerms, dtls_lines, fingerprints_of, role_in_answer, setup_of
from iceway.media.srtp import DEFAULT_SUITE, KEY_AND_SALT_LENGTH, SDES_SUITES, SrtpKey
from iceway.wire import sdp
from iceway.wire.fingerprint import Fingerprint, Setup
from iceway.wire.sdp import (
    Crypto,
    IceParameters,
    Line,
    MediaDescription,
    Origin,
    RtpMap,
    SessionDescription,
    attribute,
    ice_lines,
    ice_parameters,
)

if TYPE_CHECKING:
    from random import Random

PTIME = 20  # ms of sound a packet; every peer takes it (RFC 3551 §4.2)

_REVERSED = {"sendonly": "recvonly", "recvonly": "sendonly"}
_CLEAR = ("RTP/AVP", "RTP/AVPF")
_SECURE = ("RTP/SAVP", "RTP/SAVPF")
_UNDER_DTLS = ("UDP/TLS/", "DTLS/")  # RFC 5764 §9, and "TCP/DTLS/" of RFC 7850


class NegotiationError(IcewayError):
    """No call can come of this description. `code` is the SIP status that says so; the text says why."""

    def __init__(self, reason: str, code: int = 488) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec under the payload type that one side gave it.

    `feedback` is what the other side may be asked by RTCP (`a=rtcp-fb`), `parameters` what `a=fmtp` says.
    """

    name: str
    payload_type: int
    clock_rate: int
    channels: int = 1
    feedback: tuple[str, ...] = ()
    parameters: str = ""

    def __str__(self) -> str:
        return f"{self.name}/{self.clock_rate}"


CODECS = {
    "opus": Codec("opus", 111, 48000, 2),  # RFC 7587 §7: always 48000/2, whatever is in it
    "PCMU": Codec("PCMU", 0, 8000),
    "PCMA": Codec("PCMA", 8, 8000),
}
FEEDBACK = ("nack", "nack pli", "ccm fir")  # RFC 4585 §4.2, RFC 5104 §7.1
VIDEO_CODECS = {
    "VP8": Codec("VP8", 96, 90000, feedback=FEEDBACK),
    "H264": Codec(
        "H264",
        97,
        90000,
        feedback=FEEDBACK,
        parameters="packetization-mode=1;profile-level-id=42e01f;level-asymmetry-allowed=1",
    ),
}

EVENT = "telephone-event"
# RFC 4733 §2.1: in the clock of the sound if the other side can; many know the old clock alone.
EVENTS = (Codec(EVENT, 110, 48000), Codec(EVENT, 101, 8000))


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What offer and answer came to, from our side.

    `codec` is what we send; any of `receives` may arrive. Keys are None for clear media, and while `dtls` says
    how to get them: then nothing may be sent. `ice` is what the other side said, None if it speaks no ICE; then
    `remote` (its `m=` and `c=` lines, None when they name no IP address) is all there is. `direction` is ours:
    "recvonly" means that we do not send. `events` is the form of telephone keys that we send (None: the other side
    takes none), `hears_events` those that may arrive.
    """

    codec: Codec
    receives: tuple[Codec, ...]
    send_key: SrtpKey | None
    recv_key: SrtpKey | None
    ice: IceParameters | None
    remote: Address | None
    direction: str = "sendrecv"
    ptime: int = PTIME
    rtcp_mux: bool = True
    events: Codec | None = None
    hears_events: tuple[Codec, ...] = ()
    dtls: DtlsTerms | None = None

    @property
    def sends(self) -> bool:
        return self.direction in ("sendrecv", "sendonly")

    @property
    def hears(self) -> bool:
        return self.direction in ("sendrecv", "recvonly")


class AudioNegotiation:
    """Our side of the offers and answers of one call. `rng` draws the key and the session id.

    `sdes`: keys in `a=crypto` are offered and taken; `fingerprint`, of our certificate: so is DTLS.
    """

    def __init__(
        self,
        rng: Random,
        codecs: tuple[str, ...] = ("opus", "PCMU", "PCMA"),
        *,
        allow_clear: bool = False,
        sdes: bool = True,
        fingerprint: Fingerprint | None = None,
        session_name: str = "-",
    ) -> None:
        unknown = [name for name in codecs if name not in CODECS]
        if unknown or not codecs:
            raise UsageError(f"codecs are {', '.join(CODECS)}, not {', '.join(unknown) or 'none'}")
        self.negotiated: Negotiated | None = None
        self._rng = rng
        self._ours = tuple(CODECS[name] for name in codecs)
        rates = {8000, *(codec.clock_rate for codec in self._ours)}
        self._events = tuple(event for event in EVENTS if event.clock_rate in rates)
        self._allow_clear = allow_clear
        self._sdes = sdes
        self._fingerprint = fingerprint
        self._session_name = session_name
        self._origin: Origin | None = None
        self._last_text = ""
        self._send_key: SrtpKey | None = None
        self._offered: SessionDescription | None = None
        self._received: _Offer | None = None
        self._our_direction = "sendrecv"
        # What a later offer must repeat (RFC 3264 §8): the streams, refused ones too, and how ours is named.
        secure = "RTP/SAVP" if sdes or fingerprint is None else "UDP/TLS/RTP/SAVP"
        self._protocol = "RTP/AVP" if allow_clear else secure
        self._streams: tuple[MediaDescription | None, ...] = (None,)
        self._mid: str | None = None

    @property
    def mid(self) -> str | None:
        """How both sides call the stream (RFC 5888), if they name it."""
        return self._mid

    # --- we offer -----------------------------------------------------------------------------------
    def offer(self, ice: IceParameters | None, address: Address, direction: str = "sendrecv") -> str:
        """The body of an offer with these ICE parameters, its default destination at `address`.

        The offer that settles a call (RFC 8839 §4.4) is this one with the chosen candidate alone in
        `ice.candidates`, its address as `address`, and `ice.remote_candidates` naming the other side's.
        """
        self._our_direction = direction
        if self._mid is None and ice is not None and "trickle" in ice.options:
            self._mid = "0"  # by which candidates that come later name the stream (RFC 8840 §4.1)
        keys = self._keys_offered()
        self._events = _renumbered(self._events, self._ours)
        formats = self._ours + self._events
        ours = _audio(formats, self._protocol, keys, ice, address, direction, True, self._mid)
        description = self._described(ours, ice, address)
        self._offered = description
        return sdp.serialize(description)

    def receive_answer(self, body: bytes | str) -> Negotiated:
        """The answer to our last offer. May be said again: 183 and 200 both carry it, forks differ.

        Raises NegotiationError; what was negotiated before still holds then.
        """
        if self._offered is None:
            raise UsageError("there is no offer that this could answer")
        description = _parsed(body)
        index = self._streams.index(None)
        offered = self._offered.media[index]
        if len(description.media) <= index:
            raise NegotiationError("the answer leaves out the audio that was offered")
        media = description.media[index]
        if media.port == 0:
            raise NegotiationError("the other side refused audio (port 0 in its answer)")
        unasked = _under_dtls(media) and not offered.has("fingerprint")
        if media.kind != "audio" or unasked or _base_protocol(media) not in _CLEAR + _SECURE:
            raise NegotiationError(f"the answer is {media.kind} over {media.protocol}, not what was offered")
        theirs = _codecs_of(media, self._ours)
        if not theirs:
            raise NegotiationError(f"the answer takes none of {_names(self._ours)}")
        dtls = self._dtls_answered(offered, description, media)
        send_key, recv_key = (None, None) if dtls else self._keys_answered(offered, media)
        self.negotiated = Negotiated(
            codec=theirs[0],
            # We receive under the numbers of our own offer (RFC 3264 §5.1).
            receives=tuple(codec for codec in self._ours if codec.name in {found.name for found in theirs}),
            send_key=send_key,
            recv_key=recv_key,
            ice=_ice(description, media),
            remote=_destination(description, media),
            direction=_our_direction(description, media, self._our_direction),
            rtcp_mux=media.has("rtcp-mux"),
            events=_event_of(media, theirs[0]),
            hears_events=self._events,
            dtls=dtls,
        )
        return self.negotiated

    # --- we are offered -----------------------------------------------------------------------------
    def receive_offer(self, body: bytes | str) -> Negotiated:
        """What an answer of ours would negotiate; it holds once we `answer`.

        Raises NegotiationError if there is no answer to give.
        """
        description = _parsed(body)
        best: _Offer | None = None
        refusals: list[str] = []
        for index, media in enumerate(description.media):
            try:
                found = self._acceptable(description, index, media)
            except NegotiationError as error:
                refusals.append(error.reason)
                continue
            # Of several audio streams (one clear, one encrypted, as some offer) take the encrypted.
            if best is None or (not best.encrypted and found.encrypted):
                best = found
        if best is None:
            raise NegotiationError("; ".join(dict.fromkeys(refusals)) or "the offer describes no media")
        self._received = best
        return best.negotiated

    def answer(self, ice: IceParameters | None, address: Address, direction: str = "sendrecv") -> str:
        """The body that answers the last offer received: the one stream accepted, all others refused.

        Sets `negotiated`, narrowed by `direction`. Without ICE in the offer there is none in the answer.
        """
        if self._received is None:
            raise UsageError("there is no offer to answer")
        offer = self._received
        theirs = offer.description.media[offer.index]
        negotiated = replace(offer.negotiated, direction=_intersect(offer.negotiated.direction, direction))
        keys: tuple[Line, ...] = ()
        if offer.crypto is not None and negotiated.send_key is not None:
            crypto = Crypto(offer.crypto.tag, offer.crypto.suite, negotiated.send_key.key_and_salt)
            keys = (attribute("crypto", str(crypto)),)
        elif negotiated.dtls is not None and self._fingerprint is not None:
            role = Setup.ACTIVE if negotiated.dtls.active else Setup.PASSIVE
            keys = dtls_lines(self._fingerprint, role)
        self._streams = tuple(
            None if index == offer.index else MediaDescription(media.kind, 0, media.protocol, media.formats)
            for index, media in enumerate(offer.description.media)
        )
        self._protocol, self._mid = theirs.protocol, theirs.mid
        self._ours = tuple(
            negotiated.codec if codec.name == negotiated.codec.name else codec for codec in self._ours
        )
        self._events = tuple(
            negotiated.events
            if negotiated.events and event.clock_rate == negotiated.events.clock_rate
            else event
            for event in self._events
        )
        self._our_direction = direction
        self._send_key = negotiated.send_key or self._send_key
        self.negotiated = negotiated
        said_ice = ice if negotiated.ice is not None else None
        ours = _audio(
            (negotiated.codec, *negotiated.hears_events),
            self._protocol,
            keys,
            said_ice,
            address,
            negotiated.direction,
            negotiated.rtcp_mux,
            self._mid,
        )
        return sdp.serialize(self._described(ours, said_ice, address))

    # --- helpers ------------------------------------------------------------------------------------
    def _acceptable(self, description: SessionDescription, index: int, media: MediaDescription) -> _Offer:
        if media.kind != "audio" or media.port == 0:
            raise NegotiationError("the offer has no audio")
        if _base_protocol(media) not in _CLEAR + _SECURE:
            raise NegotiationError(f"{media.protocol} is not RTP as this client speaks it")
        theirs = _codecs_of(media, self._ours)
        if not theirs:
            offered = ", ".join(_described_formats(media)) or "none"
            raise NegotiationError(f"no codec in common: offered {offered}; we speak {_names(self._ours)}")
        dtls, crypto = self._dtls_offered(description, media), None
        if dtls is None and self._sdes:
            crypto = next((crypto for crypto in media.cryptos if _usable(crypto)), None)
        if not (dtls or crypto or (self._allow_clear and _base_protocol(media) in _CLEAR)):
            raise NegotiationError(self._why_no_key(description, media))
        event = _event_of(media, theirs[0])
        negotiated = Negotiated(
            codec=theirs[0],
            receives=(theirs[0],),
            send_key=self._our_key(crypto.suite) if crypto else None,
            recv_key=_srtp_key(crypto) if crypto else None,
            ice=_ice(description, media),
            remote=_destination(description, media),
            direction=_our_direction(description, media, "sendrecv"),
            rtcp_mux=media.has("rtcp-mux"),
            events=event,
            hears_events=(event,) if event else (),
            dtls=dtls,
        )
        return _Offer(description, index, crypto, negotiated)

    def _keys_offered(self) -> tuple[Line, ...]:
        """All ways that we know; in later offers the one that was agreed on."""
        agreed = self.negotiated
        by_dtls, by_sdes = self._fingerprint is not None, self._sdes
        if agreed is not None and (agreed.dtls or agreed.send_key):
            by_dtls, by_sdes = agreed.dtls is not None, agreed.dtls is None
        lines: list[Line] = []
        if by_sdes:
            suite = self._send_key.suite if self._send_key else DEFAULT_SUITE
            lines.append(attribute("crypto", str(Crypto(1, suite, self._our_key(suite).key_and_salt))))
        if by_dtls and self._fingerprint is not None:
            lines += dtls_lines(self._fingerprint, Setup.ACTPASS)
        return tuple(lines)

    def _dtls_offered(self, description: SessionDescription, media: MediaDescription) -> DtlsTerms | None:
        """What we make of an offer of DTLS, None if there is none that we can take."""
        fingerprints, setup = fingerprints_of(description, media), setup_of(description, media)
        if self._fingerprint is None or not fingerprints or setup is None:
            return None
        current = self.negotiated.dtls if self.negotiated else None
        return DtlsTerms(fingerprints, role_in_answer(setup, current, fingerprints))

    def _dtls_answered(
        self, offered: MediaDescription, description: SessionDescription, media: MediaDescription
    ) -> DtlsTerms | None:
        fingerprints, setup = fingerprints_of(description, media), setup_of(description, media)
        if not offered.has("fingerprint") or not fingerprints:
            return None
        if setup not in (Setup.ACTIVE, Setup.PASSIVE):
            raise NegotiationError("the answer does not say who opens the DTLS connection (a=setup)")
        return DtlsTerms(fingerprints, setup is Setup.PASSIVE)

    def _keys_answered(
        self, offered: MediaDescription, media: MediaDescription
    ) -> tuple[SrtpKey | None, SrtpKey | None]:
        if not offered.cryptos and not self._allow_clear:
            raise NegotiationError(
                "the answer has no fingerprint (a=fingerprint), and keys were offered by DTLS alone"
            )
        theirs = media.cryptos
        if not theirs and not media.attributes("crypto"):
            if self._allow_clear and _base_protocol(media) in _CLEAR:
                return None, None
            raise NegotiationError("the answer carries no key (a=crypto) and clear media is not allowed")
        if not offered.cryptos:
            raise NegotiationError("the answer has a key (a=crypto) where none was offered")
        ours = offered.cryptos[0]
        accepted = next((crypto for crypto in theirs if crypto.tag == ours.tag and _usable(crypto)), None)
        if accepted is None or accepted.suite != ours.suite:
            raise NegotiationError(f"the answer's a=crypto does not accept {ours.suite} under tag {ours.tag}")
        return SrtpKey(ours.suite, ours.key_and_salt), _srtp_key(accepted)

    def _why_no_key(self, description: SessionDescription, media: MediaDescription) -> str:
        """Cause and next step, for whoever made the offer."""
        by_dtls = description.attribute_of(media, "fingerprint") is not None
        if by_dtls and self._fingerprint is not None:
            return (
                "the offered fingerprint (a=fingerprint) or role (a=setup) cannot be used; sha-256 is known"
            )
        if media.attributes("crypto") and not self._sdes:
            return (
                "keys in SDP (a=crypto) are not taken here, since others on the way could read them; "
                "offer DTLS (a=fingerprint)"
            )
        if media.attributes("crypto"):
            return (
                f"none of the offered keys can be used: {', '.join(SDES_SUITES)} are known, "
                "without session parameters"
            )
        if by_dtls or _under_dtls(media):
            return (
                f"media is keyed by DTLS ({media.protocol}), which is not done here; "
                "offer RTP/SAVP with a=crypto (SDES) instead"
            )
        if _base_protocol(media) in _SECURE:
            return f"{media.protocol} was offered without a key (a=crypto)"
        return "the offer is for unencrypted media, which is not allowed here; offer RTP/SAVP with a=crypto"

    def _our_key(self, suite: str) -> SrtpKey:
        # One key for the whole call: a new one would only cost packets. A new suite starts its packet
        # counter afresh, and must not under a key already used.
        if self._send_key is None or self._send_key.suite != suite:
            self._send_key = SrtpKey.draw(self._rng, suite)
        return self._send_key

    def _described(
        self, ours: MediaDescription, ice: IceParameters | None, address: Address
    ) -> SessionDescription:
        """All streams under our origin, whose version grows when anything changed (RFC 3264 §8)."""
        media = tuple(ours if stream is None else stream for stream in self._streams)
        family = "IP6" if address.family == 6 else "IP4"
        if self._origin is None:
            identity = self._rng.getrandbits(62)
            self._origin = Origin("-", identity, 0, address.ip, family)
        session = [Line("s", self._session_name), Line("c", f"IN {family} {address.ip}"), Line("t", "0 0")]
        if ice is not None and ice.lite:
            session.append(attribute("ice-lite"))
        if ice is not None and ice.pacing is not None:
            session.append(attribute("ice-pacing", str(ice.pacing)))
        text = sdp.serialize(SessionDescription(replace(self._origin, version=0), tuple(session), media))
        if text != self._last_text:
            self._last_text = text
            self._origin = replace(self._origin, version=self._origin.version + 1)
        return SessionDescription(self._origin, tuple(session), media)


@dataclass(frozen=True, slots=True)
class _Offer:
    """An offer we can answer: the section we take, its key line, what it comes to."""

    description: SessionDescription
    index: int
    crypto: Crypto | None
    negotiated: Negotiated

    @property
    def encrypted(self) -> bool:
        return self.crypto is not None or self.negotiated.dtls is not None


def _audio(
    codecs: tuple[Codec, ...],
    protocol: str,
    keys: tuple[Line, ...],
    ice: IceParameters | None,
    address: Address,
    direction: str,
    rtcp_mux: bool,
    mid: str | None,
) -> MediaDescription:
    lines: list[Line] = []
    if not rtcp_mux:
        # We have no second component; without RTCP's bandwidth the peer expects none (RFC 3556 §2).
        lines += [Line("b", "RS:0"), Line("b", "RR:0")]
    for codec in codecs:
        mapped = RtpMap(codec.payload_type, codec.name, codec.clock_rate, codec.channels)
        lines.append(attribute("rtpmap", str(mapped)))
        if codec.name == "opus":
            lines.append(attribute("fmtp", f"{codec.payload_type} stereo=0;sprop-stereo=0"))
        elif codec.name == EVENT:
            lines.append(attribute("fmtp", f"{codec.payload_type} 0-15"))
    lines.append(attribute("ptime", str(PTIME)))
    lines.append(attribute(direction))
    lines += keys
    if rtcp_mux:
        lines.append(attribute("rtcp-mux"))
    if mid is not None:
        lines.append(attribute("mid", mid))
    if ice is not None:
        lines += ice_lines(ice)
    formats = tuple(str(codec.payload_type) for codec in codecs)
    return MediaDescription("audio", address.port, protocol, formats, tuple(lines))


def _parsed(body: bytes | str) -> SessionDescription:
    try:
        return sdp.parse(body)
    except ParseError as error:
        raise NegotiationError(f"the session description cannot be read: {error}") from error


def _ice(description: SessionDescription, media: MediaDescription) -> IceParameters | None:
    try:
        return ice_parameters(description, media)
    except ParseError as error:
        raise NegotiationError(f"the ICE lines cannot be read: {error}") from error


def _destination(description: SessionDescription, media: MediaDescription) -> Address | None:
    try:
        connection = description.connection_of(media)
    except ParseError as error:
        raise NegotiationError(f"the connection line cannot be read: {error}") from error
    if connection is None or not is_ip(connection.address):
        return None
    return Address.of(connection.address, media.port)


def _codecs_of(media: MediaDescription, ours: tuple[Codec, ...]) -> tuple[Codec, ...]:
    """Those codecs of a section that we speak, in its order and under its numbers."""
    known = {codec.name.lower(): codec for codec in ours}
    maps = media.rtpmaps
    found: list[Codec] = []
    for text in media.formats:
        try:
            number = sdp.payload_type(text)
        except ParseError:
            continue
        mapped = maps.get(number) or _STATIC.get(number)
        codec = known.get(mapped.encoding.lower()) if mapped else None
        if codec and mapped and mapped.clock_rate == codec.clock_rate and mapped.channels == codec.channels:
            found.append(replace(codec, payload_type=number))
    return tuple(found)


def _event_of(media: MediaDescription, codec: Codec) -> Codec | None:
    """How a section takes telephone keys: in the clock of the sound, else in another that we know."""
    found: dict[int, Codec] = {}
    for text in media.formats:
        try:
            number = sdp.payload_type(text)
        except ParseError:
            continue
        mapped = media.rtpmaps.get(number)
        if mapped and mapped.encoding.lower() == EVENT and number != codec.payload_type:
            found.setdefault(mapped.clock_rate, Codec(EVENT, number, mapped.clock_rate))
    for event in sorted(EVENTS, key=lambda event: event.clock_rate != codec.clock_rate):
        if event.clock_rate in found:
            return found[event.clock_rate]
    return None


def _renumbered(events: tuple[Codec, ...], codecs: tuple[Codec, ...]) -> tuple[Codec, ...]:
    """Under numbers that no codec has, which the other side may have given it."""
    taken = {codec.payload_type for codec in codecs}
    free = (number for number in range(96, 128) if number not in taken | {e.payload_type for e in events})
    numbered = []
    for event in events:
        clashes = event.payload_type in taken
        numbered.append(replace(event, payload_type=next(free)) if clashes else event)
        taken.add(numbered[-1].payload_type)
    return tuple(numbered)


# RFC 3551 §6: what needs no rtpmap.
_STATIC = {0: RtpMap(0, "PCMU", 8000), 8: RtpMap(8, "PCMA", 8000), 9: RtpMap(9, "G722", 8000)}


def _described_formats(media: MediaDescription) -> list[str]:
    maps = media.rtpmaps
    names = []
    for text in media.formats:
        mapped = next((found for number, found in {**_STATIC, **maps}.items() if str(number) == text), None)
        names.append(f"{mapped.encoding}/{mapped.clock_rate}" if mapped else text)
    return names


def _under_dtls(media: MediaDescription) -> bool:
    return media.protocol.removeprefix("TCP/").startswith(_UNDER_DTLS)


def _base_protocol(media: MediaDescription) -> str:
    """Without what carries it. Microsoft names the transport of a relayed TCP path in front: TCP/RTP/SAVP."""
    protocol = media.protocol.removeprefix("TCP/")
    for prefix in _UNDER_DTLS:
        if protocol.startswith(prefix):
            rest = protocol.removeprefix(prefix)
            return rest if rest in _SECURE else protocol
    return protocol


def _usable(crypto: Crypto) -> bool:
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


def _srtp_key(crypto: Crypto) -> SrtpKey:
    return SrtpKey(crypto.suite, crypto.key_and_salt, _mki(crypto) or b"")


def _our_direction(description: SessionDescription, media: MediaDescription, wanted: str) -> str:
    theirs = description.direction_of(media)
    ours = _intersect(_REVERSED.get(theirs, theirs), wanted)
    connection = media.connection or description.connection
    held = connection is not None and connection.address in ("0.0.0.0", "::")
    if held and not media.has("ice-ufrag") and not description.has("ice-ufrag"):
        # Hold as RFC 2543 had it (RFC 3264 §8.4): nowhere to send to. With ICE it only means "not yet".
        ours = _intersect(ours, "recvonly")
    return ours


def _intersect(one: str, other: str) -> str:
    send = all(direction in ("sendrecv", "sendonly") for direction in (one, other))
    receive = all(direction in ("sendrecv", "recvonly") for direction in (one, other))
    return {(True, True): "sendrecv", (True, False): "sendonly", (False, True): "recvonly"}.get(
        (send, receive), "inactive"
    )


def _names(codecs: tuple[Codec, ...]) -> str:
    return ", ".join(map(str, codecs))
