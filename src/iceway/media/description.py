"""Offer and answer for one stream (RFC 3264), of sound as a rule: which codec, which keys, which ICE parameters.

An `AudioNegotiation` lives as long as its call. Whoever offers says `offer`, sends it, and gives the answer
to `receive_answer`; who is offered gives the body to `receive_offer` (which refuses at once what cannot
become a call) and says `answer` when candidates are there. Re-INVITEs go through the same four, in either
direction; keys, session id and payload types stay, the version grows when the text changes. Media is
encrypted, with keys from DTLS or from `a=crypto` (`keying.py`), unless `allow_clear` says that clear media will do.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from iceway.core.address import Address
from iceway.core.errors import UsageError
from iceway.media.formats import (
    CODECS,
    EVENTS,
    VIDEO_CODECS,
    Codec,
    codec_lines,
    codecs_of,
    described_formats,
    event_of,
    names,
    renumbered,
)
from iceway.media.keying import DtlsTerms, dtls_lines, fingerprints_of, role_in_answer, setup_of
from iceway.media.reading import (
    CLEAR,
    SECURE,
    NegotiationError,
    announced_sources,
    base_protocol,
    destination,
    ice_of,
    intersection,
    our_direction,
    parsed,
    srtp_key,
    under_dtls,
    usable,
)
from iceway.media.srtp import DEFAULT_SUITE, SDES_SUITES, SrtpKey
from iceway.wire import sdp
from iceway.wire.fingerprint import Fingerprint, Setup
from iceway.wire.sdp import (
    Crypto,
    IceParameters,
    Line,
    MediaDescription,
    Origin,
    SessionDescription,
    attribute,
    ice_lines,
)

if TYPE_CHECKING:
    from random import Random

PTIME = 20  # ms of sound a packet; every peer takes it (RFC 3551 §4.2)


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What offer and answer came to, from our side.

    `codec` is what we send; any of `receives` may arrive. Keys are None for clear media, and while `dtls` says
    how to get them: then nothing may be sent. `ice` is what the other side said, None if it speaks no ICE; then
    `remote` (its `m=` and `c=` lines, None when they name no IP address) is all there is. `direction` is ours:
    "recvonly" means that we do not send. `events` is the form of telephone keys that we send (None: the other side
    takes none), `hears_events` those that may arrive. `ssrc` is what we send under, `their_ssrcs` what they announced
    (RFC 5576), if anything; `named` is how packets on a shared transport say whose they are, by the number of a header
    extension and the name of the stream (RFC 8843 §15). `rtcp_apart`: RTCP has a component of its own.
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
    ssrc: int | None = None
    their_ssrcs: tuple[int, ...] = ()
    named: tuple[int, str] | None = None
    rtcp_apart: bool = False

    @property
    def reports(self) -> bool:
        """Whether RTCP has a way: that of the packets (RFC 5761), or one of its own."""
        return self.rtcp_mux or self.rtcp_apart

    @property
    def sends(self) -> bool:
        return self.direction in ("sendrecv", "sendonly")

    @property
    def hears(self) -> bool:
        return self.direction in ("sendrecv", "recvonly")


class StreamNegotiation:
    """Our side of the offers and answers about one stream. `rng` draws the key and the session id.

    `codecs` are all that we know unless said, best first. `mid` is how we name the stream where the other side does
    not (RFC 5888). `sdes`: keys in `a=crypto` are offered and taken; `fingerprint`, of our certificate: so is DTLS.
    """

    _kind = "audio"
    _known = CODECS

    def __init__(
        self,
        rng: Random,
        codecs: tuple[str, ...] | None = None,
        *,
        allow_clear: bool = False,
        sdes: bool = True,
        fingerprint: Fingerprint | None = None,
        session_name: str = "-",
        mid: str | None = None,
        rtcp_mux: bool = True,
    ) -> None:
        codecs = tuple(self._known) if codecs is None else codecs
        unknown = [name for name in codecs if name not in self._known]
        if unknown or not codecs:
            raise UsageError(f"codecs are {', '.join(self._known)}, not {', '.join(unknown) or 'none'}")
        self.negotiated: Negotiated | None = None
        self._rng = rng
        self._ours = tuple(self._known[name] for name in codecs)
        rates = {8000, *(codec.clock_rate for codec in self._ours)}
        self._events = tuple(event for event in EVENTS if event.clock_rate in rates and self._kind == "audio")
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
        self._mid = mid
        self._rtcp_mux = rtcp_mux
        self.ssrc = rng.getrandbits(32)

    @property
    def numbers(self) -> frozenset[int]:
        """The payload types that are in use for the stream."""
        return frozenset(codec.payload_type for codec in self._ours + self._events)

    def avoid(self, taken: Collection[int]) -> None:
        """Use other payload types than these: other streams on the same transport have them (RFC 8843 §9.1)."""
        self._ours = renumbered(self._ours, taken)
        self._events = renumbered(self._events, {*taken, *(codec.payload_type for codec in self._ours)})

    @property
    def mid(self) -> str | None:
        """How both sides call the stream (RFC 5888), if they name it."""
        return self._mid

    # --- we offer -----------------------------------------------------------------------------------
    def offer(
        self,
        ice: IceParameters | None,
        address: Address,
        direction: str = "sendrecv",
        rtcp: Address | None = None,
    ) -> str:
        """The body of an offer with these ICE parameters, its default destination at `address`.

        The offer that settles a call (RFC 8839 §4.4) is this one with the chosen candidate alone in
        `ice.candidates`, its address as `address`, and `ice.remote_candidates` naming the other side's. `rtcp` is where
        RTCP goes if it has a component of its own.
        """
        self._our_direction = direction
        if self._mid is None and ice is not None and "trickle" in ice.options:
            self._mid = "0"  # by which candidates that come later name the stream (RFC 8840 §4.1)
        keys = self._keys_offered()
        self._events = renumbered(self._events, [codec.payload_type for codec in self._ours])
        formats = self._ours + self._events
        mux = self._rtcp_mux
        ours = _section(
            self._kind, formats, self._protocol, keys, ice, address, direction, mux, self._mid, rtcp
        )
        description = self._described(ours, ice, address)
        self._offered = description
        return sdp.serialize(description)

    def receive_answer(self, body: bytes | str) -> Negotiated:
        """The answer to our last offer. May be said again: 183 and 200 both carry it, forks differ.

        Raises NegotiationError; what was negotiated before still holds then.
        """
        if self._offered is None:
            raise UsageError("there is no offer that this could answer")
        description = parsed(body)
        index = self._streams.index(None)
        offered = self._offered.media[index]
        if len(description.media) <= index:
            raise NegotiationError(f"the answer leaves out the {self._kind} that was offered")
        media = description.media[index]
        if media.port == 0:
            raise NegotiationError(f"the other side refused {self._kind} (port 0 in its answer)")
        unasked = under_dtls(media) and not offered.has("fingerprint")
        if media.kind != self._kind or unasked or base_protocol(media) not in CLEAR + SECURE:
            raise NegotiationError(f"the answer is {media.kind} over {media.protocol}, not what was offered")
        theirs = codecs_of(media, self._ours)
        if not theirs:
            raise NegotiationError(f"the answer takes none of {names(self._ours)}")
        dtls = self._dtls_answered(offered, description, media)
        send_key, recv_key = (None, None) if dtls else self._keys_answered(offered, media)
        self.negotiated = Negotiated(
            codec=theirs[0],
            # We receive under the numbers of our own offer (RFC 3264 §5.1).
            receives=tuple(codec for codec in self._ours if codec.name in {found.name for found in theirs}),
            send_key=send_key,
            recv_key=recv_key,
            ice=ice_of(description, media),
            remote=destination(description, media),
            direction=our_direction(description, media, self._our_direction),
            rtcp_mux=media.has("rtcp-mux") and self._rtcp_mux,
            events=event_of(media, theirs[0]) if self._events else None,
            hears_events=self._events,
            dtls=dtls,
            ssrc=self.ssrc,
            their_ssrcs=announced_sources(media),
        )
        return self.negotiated

    # --- we are offered -----------------------------------------------------------------------------
    def receive_offer(self, body: bytes | str) -> Negotiated:
        """What an answer of ours would negotiate; it holds once we `answer`.

        Raises NegotiationError if there is no answer to give.
        """
        description = parsed(body)
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

    def answer(
        self,
        ice: IceParameters | None,
        address: Address,
        direction: str = "sendrecv",
        rtcp: Address | None = None,
    ) -> str:
        """The body that answers the last offer received: the one stream accepted, all others refused.

        Sets `negotiated`, narrowed by `direction`. Without ICE in the offer there is none in the answer.
        """
        if self._received is None:
            raise UsageError("there is no offer to answer")
        offer = self._received
        theirs = offer.description.media[offer.index]
        ours = intersection(offer.negotiated.direction, direction)
        negotiated = replace(offer.negotiated, direction=ours, ssrc=self.ssrc)
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
        said = _section(
            self._kind,
            (negotiated.codec, *negotiated.hears_events),
            self._protocol,
            keys,
            said_ice,
            address,
            negotiated.direction,
            negotiated.rtcp_mux,
            self._mid,
            rtcp,
        )
        return sdp.serialize(self._described(said, said_ice, address))

    # --- helpers ------------------------------------------------------------------------------------
    def _acceptable(self, description: SessionDescription, index: int, media: MediaDescription) -> _Offer:
        if media.kind != self._kind or media.port == 0:
            raise NegotiationError(f"the offer has no {self._kind}")
        if base_protocol(media) not in CLEAR + SECURE:
            raise NegotiationError(f"{media.protocol} is not RTP as this client speaks it")
        theirs = codecs_of(media, self._ours)
        if not theirs:
            offered = ", ".join(described_formats(media)) or "none"
            raise NegotiationError(f"no codec in common: offered {offered}; we speak {names(self._ours)}")
        dtls, crypto = self._dtls_offered(description, media), None
        if dtls is None and self._sdes:
            crypto = next((crypto for crypto in media.cryptos if usable(crypto)), None)
        if not (dtls or crypto or (self._allow_clear and base_protocol(media) in CLEAR)):
            raise NegotiationError(self._why_no_key(description, media))
        event = event_of(media, theirs[0]) if self._events else None
        negotiated = Negotiated(
            codec=theirs[0],
            receives=(theirs[0],),
            send_key=self._our_key(crypto.suite) if crypto else None,
            recv_key=srtp_key(crypto) if crypto else None,
            ice=ice_of(description, media),
            remote=destination(description, media),
            direction=our_direction(description, media, "sendrecv"),
            rtcp_mux=media.has("rtcp-mux"),
            events=event,
            hears_events=(event,) if event else (),
            dtls=dtls,
            ssrc=self.ssrc,
            their_ssrcs=announced_sources(media),
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
            if self._allow_clear and base_protocol(media) in CLEAR:
                return None, None
            raise NegotiationError("the answer carries no key (a=crypto) and clear media is not allowed")
        if not offered.cryptos:
            raise NegotiationError("the answer has a key (a=crypto) where none was offered")
        ours = offered.cryptos[0]
        accepted = next((crypto for crypto in theirs if crypto.tag == ours.tag and usable(crypto)), None)
        if accepted is None or accepted.suite != ours.suite:
            raise NegotiationError(f"the answer's a=crypto does not accept {ours.suite} under tag {ours.tag}")
        return SrtpKey(ours.suite, ours.key_and_salt), srtp_key(accepted)

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
        if by_dtls or under_dtls(media):
            return (
                f"media is keyed by DTLS ({media.protocol}), which is not done here; "
                "offer RTP/SAVP with a=crypto (SDES) instead"
            )
        if base_protocol(media) in SECURE:
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


class AudioNegotiation(StreamNegotiation):
    """The sound of a call; the whole of it, where it has nothing else."""


class VideoNegotiation(StreamNegotiation):
    """A stream of pictures, as one of several streams of a call (`media/negotiation.py`)."""

    _kind = "video"
    _known = VIDEO_CODECS


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


def _section(
    kind: str,
    codecs: tuple[Codec, ...],
    protocol: str,
    keys: tuple[Line, ...],
    ice: IceParameters | None,
    address: Address,
    direction: str,
    rtcp_mux: bool,
    mid: str | None,
    rtcp: Address | None,
) -> MediaDescription:
    lines: list[Line] = []
    if not rtcp_mux and rtcp is None:
        # There is no second component; without RTCP's bandwidth the peer expects none (RFC 3556 §2).
        lines += [Line("b", "RS:0"), Line("b", "RR:0")]
    for codec in codecs:
        lines += codec_lines(codec)
    if kind == "audio":
        lines.append(attribute("ptime", str(PTIME)))
    lines.append(attribute(direction))
    lines += keys
    if rtcp_mux:
        lines.append(attribute("rtcp-mux"))
    elif rtcp is not None:
        lines.append(attribute("rtcp", f"{rtcp.port} IN IP{rtcp.family} {rtcp.ip}"))  # RFC 3605
    if mid is not None:
        lines.append(attribute("mid", mid))
    if ice is not None:
        lines += ice_lines(ice)
    formats = tuple(str(codec.payload_type) for codec in codecs)
    return MediaDescription(kind, address.port, protocol, formats, tuple(lines))
