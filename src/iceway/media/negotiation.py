"""Offer and answer for several streams (RFC 3264): sound, pictures, slides; over one transport where both can.

Each stream negotiates as if it were alone (`media/description.py`): what is here cuts a description into sections,
hands each to its stream, and puts what they say together again, in the order that sections keep for the whole call
(RFC 3264 §8). A stream that cannot be is refused with port 0, and the others go on.

Streams are bundled (RFC 8843) when the answer says so: then all use the transport, keys and ICE parameters of the first
of them, and sections of the others say none of their own. A stream for which we have no transport is offered for the
bundle alone (`a=bundle-only`). What arrives on a shared transport is told apart by payload types, which streams of
our own offers do not share, and by the sources (`a=ssrc`, RFC 5576) that both sides announce where there are several.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from iceway.core.address import Address
from iceway.core.errors import ParseError, UsageError
from iceway.media.description import AudioNegotiation, Negotiated, StreamNegotiation, VideoNegotiation
from iceway.media.reading import NegotiationError, parsed
from iceway.wire import sdp
from iceway.wire.fingerprint import Fingerprint
from iceway.wire.rtp_extension import MAX_LENGTH, NUMBERS
from iceway.wire.sdp import IceParameters, Line, MediaDescription, Origin, SessionDescription, attribute

if TYPE_CHECKING:
    from random import Random

KINDS = ("audio", "video", "slides")
"""Slides are a second stream of pictures, marked as such (RFC 4796)."""

# Without a direction, JsSIP takes even a refused section for one that flows.
_REST = (attribute("inactive"),)

# RFC 8859: of bundled sections only the first says these.
_OF_TRANSPORT = frozenset(
    (
        "ice-ufrag",
        "ice-pwd",
        "ice-options",
        "ice-mismatch",
        "candidate",
        "remote-candidates",
        "end-of-candidates",
        "crypto",
        "fingerprint",
        "setup",
        "tls-id",
        "rtcp",
    )
)


_MID = "urn:ietf:params:rtp-hdrext:sdes:mid"
_NUMBERS = frozenset(map(str, NUMBERS))
_MID_EXTENSION = 1  # our number for it; any from 1 to 14 would do (RFC 8285 §4.2)


@dataclass(frozen=True, slots=True)
class Transport:
    """Our end of a path: its default address, and its ICE parameters if there is ICE.

    `rtcp` is the default address of RTCP where that has a component of its own.
    """

    address: Address
    ice: IceParameters | None = None
    rtcp: Address | None = None


@dataclass(frozen=True, slots=True)
class StreamTerms:
    """What became of a stream: terms, or None and the reason. `transport` names the stream whose path it shares."""

    negotiated: Negotiated | None
    transport: str
    reason: str = ""


@dataclass(slots=True)
class _Section:
    """One section of the call's descriptions; `kind` is None for one that is nobody's.

    `mid_extension` is the number under which packets may name it (RFC 8843 §15), None if the other side did not ask.
    """

    kind: str | None
    refused: MediaDescription
    mid: str = ""
    mid_extension: int | None = _MID_EXTENSION


_State = tuple[list[_Section], SessionDescription | None, dict[str, StreamTerms], tuple[str, ...]]


class MediaNegotiation:
    """Our side of the offers and answers of one call with streams of these kinds.

    `codecs` gives names by kind (None: all). Streams of a kind may be added to a call by naming it in a later `offer`.
    `bundle=False` is for far sides that stumble over BUNDLE: every stream has a transport of its own.
    """

    def __init__(
        self,
        rng: Random,
        codecs: Mapping[str, tuple[str, ...] | None] | None = None,
        *,
        allow_clear: bool = False,
        sdes: bool = True,
        fingerprint: Fingerprint | None = None,
        session_name: str = "-",
        cname: str = "-",
        bundle: bool = True,
        rtcp_mux: bool = True,
    ) -> None:
        known = {"audio": None, "video": None} if codecs is None else codecs
        unknown = [kind for kind in known if kind not in KINDS]
        if unknown or not known:
            raise UsageError(f"streams are {', '.join(KINDS)}, not {', '.join(unknown) or 'none'}")
        self.terms: dict[str, StreamTerms] = {}
        self._rng = rng
        self._session_name = session_name
        self._cname = cname
        self._bundles = bundle
        self._streams: dict[str, StreamNegotiation] = {}
        for mid, kind in enumerate(known):
            sort = AudioNegotiation if kind == "audio" else VideoNegotiation
            self._streams[kind] = sort(
                rng,
                known[kind],
                allow_clear=allow_clear,
                sdes=sdes,
                fingerprint=fingerprint,
                mid=str(mid),
                rtcp_mux=rtcp_mux,
            )
        self._sections: list[_Section] = []
        self._origin: Origin | None = None
        self._last_text = ""
        self._offered: SessionDescription | None = None
        self._received: SessionDescription | None = None
        self._bundle: tuple[str, ...] = ()
        self._before: _State | None = None  # what held before the offer that was received last

    @property
    def bundle(self) -> tuple[str, ...]:
        """The kinds that share the transport of the first of them."""
        return self._bundle

    def mid(self, kind: str) -> str | None:
        """How both sides call a stream (RFC 5888); None before it has a section."""
        return next((section.mid or None for section in self._sections if section.kind == kind), None)

    def renew(self, kind: str) -> None:
        """The stream's session is over. Another one would count its packets anew, so it sends under another number."""
        self._streams[kind].ssrc = self._rng.getrandbits(32)

    # --- we offer -----------------------------------------------------------------------------------
    def offer(self, transports: Mapping[str, Transport], directions: Mapping[str, str] | None = None) -> str:
        """An offer of the streams that are named in `directions` (all kinds, both ways, unless said).

        Each has the transport given for it; those without are offered for the bundle with the first that has one.
        """
        directions = dict.fromkeys(self._streams, "sendrecv") if directions is None else directions
        first = next((kind for kind in self._in_order(directions) if kind in transports), None)
        if first is None:
            raise UsageError("an offer needs a transport for one of its streams at least")
        known = {section.kind for section in self._sections}
        for wanted in self._in_order(directions):
            if not self._agreed(wanted):
                others = [self._streams[other].numbers for other in known if other not in (None, wanted)]
                self._streams[wanted].avoid(frozenset[int]().union(*others))
            if wanted not in known:
                self._sections.append(self._new_section(wanted))
                known.add(wanted)
        media = []
        for section in self._sections:
            kind = section.kind
            if kind is None or kind not in directions:
                media.append(section.refused)
                continue
            bundled = kind in self._bundle[1:] and self._bundle[0] in transports
            own = transports.get(self._bundle[0] if bundled else kind, transports[first])
            said = sdp.parse(
                self._streams[kind].offer(own.ice, own.address, directions[kind], own.rtcp)
            ).media[0]
            said = self._named(said, section)
            if bundled:
                said = _without_transport(said)
            elif kind not in transports:
                said = _without_transport(replace(said, port=0))
                said = replace(said, lines=(*said.lines, attribute("bundle-only")))
            media.append(said)
        self._offered = self._described(media, transports[first], self._mids(media))
        return sdp.serialize(self._offered)

    def receive_answer(self, body: bytes | str) -> dict[str, StreamTerms]:
        """What became of each stream that was offered last. Raises NegotiationError if nothing did."""
        if self._offered is None:
            raise UsageError("there is no offer that this could answer")
        description = parsed(body)
        bundled = self._bundled(description)
        tagged = next((media for media in description.media if bundled and media.mid == bundled[0]), None)
        terms: dict[str, StreamTerms] = {}
        shared: list[str] = []
        unnamed: list[str] = []
        for index, section in enumerate(self._sections):
            kind, offered = section.kind, self._offered.media[index]
            if kind is None or (offered.port == 0 and not offered.has("bundle-only")):
                continue
            if index >= len(description.media):
                terms[kind] = StreamTerms(None, kind, f"the answer leaves out the {kind} that was offered")
                continue
            media = description.media[index]
            in_bundle = tagged is not None and media.port != 0 and media.mid in bundled
            if in_bundle and tagged is not None and media is not tagged:
                media = _with_transport_of(tagged, media)
            if offered.has("bundle-only") and not in_bundle:
                terms[kind] = StreamTerms(None, kind, "the other side does not bundle streams")
                continue
            try:
                negotiated = self._streams[kind].receive_answer(_alone(description, media))
            except NegotiationError as error:
                terms[kind] = StreamTerms(None, kind, error.reason)
                continue
            terms[kind] = StreamTerms(negotiated, kind)
            if in_bundle and media.mid is not None:
                shared.append(kind)
            if _mid_extension(media) is None:
                unnamed.append(kind)
        self._settle(terms, self._tagged_first(shared, bundled), unnamed)
        return self.terms

    # --- we are offered -----------------------------------------------------------------------------
    def receive_offer(
        self, body: bytes | str, wanted: Collection[str] | None = None
    ) -> dict[str, StreamTerms]:
        """What an answer of ours would negotiate; it holds once we `answer`. Raises NegotiationError if nothing.

        Streams of kinds that are not `wanted` (None: all are) will be refused.
        """
        self._before = None
        wanted = self._streams if wanted is None else wanted
        description = parsed(body)
        doubles = self._doubles(description)
        bundled = self._bundled(description)
        tagged = next((media for media in description.media if bundled and media.mid == bundled[0]), None)
        if tagged is not None and tagged.port == 0:
            tagged = None
        sections: list[_Section] = []
        terms: dict[str, StreamTerms] = {}
        reasons: list[str] = []
        for index, media in enumerate(description.media):
            refused = MediaDescription(media.kind, 0, media.protocol, media.formats, _REST)
            before = self._sections[index].kind if index < len(self._sections) else None
            taken = {section.kind for section in (*sections, *self._sections[index + 1 :])}
            kind = None if index in doubles else self._kind_of(media, before, taken)
            only_bundled = media.port == 0 and media.has("bundle-only") and tagged is not None
            if kind is None or kind not in wanted or (media.port == 0 and not only_bundled):
                sections.append(_Section(before if kind is None else kind, refused, media.mid or ""))
                continue
            if tagged is not None and media is not tagged and media.mid in bundled:
                media = _with_transport_of(tagged, media) if not _has_transport(media) else media
            try:
                terms[kind] = StreamTerms(self._streams[kind].receive_offer(_alone(description, media)), kind)
            except NegotiationError as error:
                reasons.append(error.reason)
                terms[kind] = StreamTerms(None, kind, error.reason)
            sections.append(_Section(kind, refused, media.mid or "", _mid_extension(media)))
        shared = [
            section.kind
            for section in sections
            if tagged is not None and section.kind in terms and section.mid in bundled and section.kind
        ]
        shared = [kind for kind in self._tagged_first(shared, bundled, sections) if terms[kind].negotiated]
        if tagged is None or not any(
            section.mid == tagged.mid and section.kind in shared for section in sections
        ):
            shared = []  # who describes the transport is refused
            for media in description.media:
                for section in sections:
                    if media.has("bundle-only") and section.mid == media.mid and section.kind in terms:
                        terms[section.kind] = StreamTerms(None, section.kind, "its bundle is refused")
        if not any(found.negotiated for found in terms.values()):
            raise NegotiationError(
                "; ".join(dict.fromkeys(reasons)) or "the offer describes no media of ours"
            )
        self._before = (self._sections, self._received, self.terms, self._bundle)
        self._received, self._sections = description, sections
        self._settle(terms, shared)
        return self.terms

    def refuse(self) -> None:
        """The offer that was received last is refused, as a whole: what held before it holds (RFC 3261 §14.1)."""
        if self._before is not None:
            self._sections, self._received, self.terms, self._bundle = self._before
            self._before = None

    def answer(
        self,
        transports: Mapping[str, Transport],
        directions: Mapping[str, str] | None = None,
        refuse: Collection[str] = (),
    ) -> str:
        """The body that answers the last offer received; streams in `refuse` get port 0.

        A stream that has neither a transport nor a place in the bundle is refused, too.
        """
        if self._received is None:
            raise UsageError("there is no offer to answer")
        directions = directions or {}
        tagged = self._bundle[0] if self._bundle else None
        if tagged is not None and (tagged in refuse or tagged not in transports):
            tagged = None
        media: list[MediaDescription] = []
        first: Transport | None = None
        shared: list[str] = []
        for section in self._sections:
            kind = section.kind
            bundled = tagged is not None and kind in self._bundle
            own = transports.get(tagged if bundled and tagged else kind or "")
            if kind is None or kind in refuse or own is None or not self._agreed(kind):
                media.append(section.refused)
                if kind in self.terms and self._agreed(kind):
                    self.terms[kind] = StreamTerms(None, kind, "refused by us")
                continue
            text = self._streams[kind].answer(
                own.ice, own.address, directions.get(kind, "sendrecv"), own.rtcp
            )
            said = self._named(sdp.parse(text).media[0], section)
            first = first or own
            if bundled:
                shared.append(kind)
                said = said if kind == tagged else _without_transport(said)
            negotiated = self._streams[kind].negotiated
            self.terms[kind] = StreamTerms(negotiated, kind)
            media.append(said)
        if first is None:
            raise UsageError("an answer that refuses everything is a refusal of the call")
        self._settle(self.terms, shared if tagged is not None else [])
        mids = tuple(section.mid for section in self._sections if section.kind in self._bundle)
        ordered = self._bundle_mids(mids)
        return sdp.serialize(self._described(media, first, ordered))

    # --- helpers ------------------------------------------------------------------------------------
    def _agreed(self, kind: str) -> bool:
        found = self.terms.get(kind)
        return found is not None and found.negotiated is not None

    def _in_order(self, wanted: Collection[str]) -> list[str]:
        return [kind for kind in self._streams if kind in wanted]

    def _new_section(self, kind: str) -> _Section:
        taken = {section.mid for section in self._sections}
        own = self._streams[kind].mid or ""
        free = next(str(number) for number in range(100) if str(number) not in taken)
        refused = MediaDescription("audio" if kind == "audio" else "video", 0, "RTP/SAVP", ("0",), _REST)
        return _Section(kind, refused, free if own in taken or not own else own)

    def _named(self, media: MediaDescription, section: _Section) -> MediaDescription:
        """Under the name that the call has for it, slides marked as such."""
        lines = [line for line in media.lines if not (line.letter == "a" and line.value.startswith("mid:"))]
        if section.kind == "slides":
            lines.append(attribute("content", "slides"))
        if section.kind is not None and len(self._sections) > 1:
            lines.append(attribute("ssrc", f"{self._streams[section.kind].ssrc} cname:{self._cname}"))
            if section.mid_extension is not None:
                # Our packets are named and have a source of their own; libre sends none in a bundle without this.
                lines.append(attribute("extmap", f"{section.mid_extension} {_MID}"))
        if section.mid:
            lines.append(attribute("mid", section.mid))
        return replace(media, lines=tuple(lines))

    def _doubles(self, description: SessionDescription) -> frozenset[int]:
        """Sections in clear that another one of their kind offers encrypted, as some do: that one is meant."""
        safe = {media.kind for media in description.media if media.port and _encrypted(media)}
        return frozenset(
            index
            for index, media in enumerate(description.media)
            if media.kind in safe
            and not _encrypted(media, description)
            and (index >= len(self._sections) or self._sections[index].kind is None)
        )

    def _kind_of(
        self, media: MediaDescription, before: str | None, taken: Collection[str | None]
    ) -> str | None:
        """Which of our streams a section of theirs is; what it was once, it stays."""
        if before is not None:
            return before
        if media.kind == "audio":
            kind = "audio"
        elif media.kind == "video":
            marked = "slides" in (media.attribute("content") or "").split(",")
            kind = "slides" if marked or "video" in taken else "video"  # browsers mark nothing
        else:
            return None
        return kind if kind in self._streams and kind not in taken else None

    def _bundled(self, description: SessionDescription) -> tuple[str, ...]:
        """The names in the first bundle; a lone one is none."""
        mids = next((mids for semantics, mids in description.groups if semantics == "BUNDLE"), ())
        return mids if len(mids) > 1 and self._bundles else ()

    def _mids(self, media: list[MediaDescription]) -> tuple[str, ...]:
        mids = [said.mid for said in media if said.mid and (said.port or said.has("bundle-only"))]
        return self._bundle_mids(tuple(mids)) if len(mids) > 1 and self._bundles else ()

    def _bundle_mids(self, mids: tuple[str, ...]) -> tuple[str, ...]:
        """The one whose transport it is comes first, as RFC 8843 §7.2 wants."""
        first = next((s.mid for s in self._sections if self._bundle and s.kind == self._bundle[0]), None)
        return tuple(sorted(mids, key=lambda mid: mid != first))

    def _tagged_first(
        self, kinds: list[str], bundled: tuple[str, ...], sections: list[_Section] | None = None
    ) -> list[str]:
        mids = {section.kind: section.mid for section in (sections or self._sections)}
        places = {mid: place for place, mid in enumerate(bundled)}
        return sorted(kinds, key=lambda kind: places.get(mids.get(kind, ""), len(places)))

    def _settle(
        self, terms: dict[str, StreamTerms], shared: list[str], unnamed: Collection[str] = ()
    ) -> None:
        """All streams of a bundle live on the first one's transport and under its keys.

        `unnamed` are those whose packets the other side does not want to be named.
        """
        if not any(found.negotiated for found in terms.values()):
            reasons = dict.fromkeys(found.reason for found in terms.values())
            raise NegotiationError("; ".join(reasons) or "no stream was offered and answered")
        leader = terms[shared[0]].negotiated if shared else None
        if leader is not None:
            for kind in shared:
                own = terms[kind].negotiated
                assert own is not None
                common = replace(
                    own,
                    named=None if kind in unnamed or len(shared) < 2 else self._name_in_packets(kind),
                    send_key=leader.send_key,
                    recv_key=leader.recv_key,
                    dtls=leader.dtls,
                    ice=leader.ice,
                    remote=leader.remote,
                    rtcp_mux=leader.rtcp_mux,
                )
                terms[kind] = StreamTerms(common, shared[0])
        self.terms, self._bundle = terms, tuple(shared) if len(shared) > 1 else ()

    def _name_in_packets(self, kind: str) -> tuple[int, str] | None:
        section = next((section for section in self._sections if section.kind == kind), None)
        if (
            section is None
            or section.mid_extension is None
            or not 0 < len(section.mid.encode()) <= MAX_LENGTH
        ):
            return None
        return section.mid_extension, section.mid

    def _described(
        self, media: list[MediaDescription], first: Transport, bundled: tuple[str, ...]
    ) -> SessionDescription:
        family = "IP6" if first.address.family == 6 else "IP4"
        if self._origin is None:
            self._origin = Origin("-", self._rng.getrandbits(62), 0, first.address.ip, family)
        session = [
            Line("s", self._session_name),
            Line("c", f"IN {family} {first.address.ip}"),
            Line("t", "0 0"),
        ]
        if bundled:
            session.append(attribute("group", f"BUNDLE {' '.join(bundled)}"))
        if first.ice is not None and first.ice.lite:
            session.append(attribute("ice-lite"))
        if first.ice is not None and first.ice.pacing is not None:
            session.append(attribute("ice-pacing", str(first.ice.pacing)))
        said = SessionDescription(replace(self._origin, version=0), tuple(session), tuple(media))
        text = sdp.serialize(said)
        if text != self._last_text:
            self._last_text = text
            self._origin = replace(self._origin, version=self._origin.version + 1)
        return replace(said, origin=self._origin)


def wants_rtcp_apart(body: bytes | str) -> bool:
    """Whether an offer gives RTCP a component of its own, with keys from SDP (DTLS would want a handshake on each)."""
    try:
        media = [media for media in sdp.parse(body).media if media.port]
    except ParseError:
        return False
    return bool(media) and all(_apart(section) for section in media)


def _apart(media: MediaDescription) -> bool:
    seconds = any(text.split()[1:2] == ["2"] for text in media.attributes("candidate"))
    return seconds and not media.has("rtcp-mux") and not media.has("fingerprint")


def _alone(description: SessionDescription, media: MediaDescription) -> str:
    """The description as if it had this section only."""
    return sdp.serialize(replace(description, media=(media,)))


def _mid_extension(media: MediaDescription) -> int | None:
    """The number that they gave the extension which carries a section's name, if they know it and the number is one."""
    for text in media.attributes("extmap"):
        number, _, uri = text.partition(" ")
        number = number.partition("/")[0]
        if uri.split(" ")[0] == _MID and number in _NUMBERS:
            return int(number)
    return None


def _name(line: Line) -> str:
    return line.value.partition(":")[0] if line.letter == "a" else ""


def _encrypted(media: MediaDescription, description: SessionDescription | None = None) -> bool:
    session = description is not None and description.has("fingerprint")
    return session or media.has("crypto") or media.has("fingerprint")


def _has_transport(media: MediaDescription) -> bool:
    return media.port != 0 and any(
        _name(line) in ("ice-ufrag", "crypto", "fingerprint") for line in media.lines
    )


def _without_transport(media: MediaDescription) -> MediaDescription:
    return replace(media, lines=tuple(line for line in media.lines if _name(line) not in _OF_TRANSPORT))


def _with_transport_of(tagged: MediaDescription, media: MediaDescription) -> MediaDescription:
    """A bundled section with what the first one says for it."""
    own = _without_transport(media).lines
    shared = tuple(line for line in tagged.lines if _name(line) in _OF_TRANSPORT or line.letter == "c")
    return replace(media, port=tagged.port, protocol=tagged.protocol, lines=(*own, *shared))
