"""Formats in session descriptions: the codecs that we speak, under whose numbers, and what is said of them.

A codec is ours until the other side describes it; then it has their payload type, and of feedback and parameters what
both understand.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from iceway.core.errors import ParseError
from iceway.wire import sdp
from iceway.wire.sdp import Line, MediaDescription, RtpMap, attribute


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
    "G722": Codec("G722", 9, 8000),  # the clock is not the 16 kHz of its samples (RFC 3551 §4.5.2)
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


def codecs_of(media: MediaDescription, ours: tuple[Codec, ...]) -> tuple[Codec, ...]:
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
            theirs = _as_they_say(codec, media, number)
            if theirs is not None:
                found.append(theirs)
    return tuple(found)


def _as_they_say(codec: Codec, media: MediaDescription, number: int) -> Codec | None:
    """Our codec under their number, with what both understand; None where we do not speak that kind of it."""
    theirs = replace(codec, payload_type=number)
    if codec.feedback:
        # For one payload type, or "*" for all of them (RFC 4585 §4.2).
        words = (text.split(None, 1) for text in media.attributes("rtcp-fb"))
        said = {found[1].strip() for found in words if len(found) == 2 and found[0] in ("*", str(number))}
        theirs = replace(theirs, feedback=tuple(kind for kind in codec.feedback if kind in said))
    if codec.name == "H264":
        parameters = _parameters(media.fmtp(number))
        profile = parameters.get("profile-level-id", "420010").lower()  # RFC 6184 §8.1
        if parameters.get("packetization-mode") != "1" or not _BASELINE.fullmatch(profile):
            return None
        ours = f"packetization-mode=1;profile-level-id={profile[:4]}1f;level-asymmetry-allowed=1"
        theirs = replace(theirs, parameters=ours)
    return theirs


_BASELINE = re.compile(r"42[0-9a-f]{4}")


def _parameters(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def codec_lines(codec: Codec) -> list[Line]:
    """What a section says of one of its formats."""
    number = codec.payload_type
    lines = [attribute("rtpmap", str(RtpMap(number, codec.name, codec.clock_rate, codec.channels)))]
    if codec.name == "opus":
        lines.append(attribute("fmtp", f"{number} stereo=0;sprop-stereo=0"))
    elif codec.name == EVENT:
        lines.append(attribute("fmtp", f"{number} 0-15"))
    elif codec.parameters:
        lines.append(attribute("fmtp", f"{number} {codec.parameters}"))
    return lines + [attribute("rtcp-fb", f"{number} {kind}") for kind in codec.feedback]


def event_of(media: MediaDescription, codec: Codec) -> Codec | None:
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


def renumbered(formats: tuple[Codec, ...], taken: Collection[int]) -> tuple[Codec, ...]:
    """Under numbers that are not taken: another format has them, or the other side gave them to one."""
    taken = set(taken)
    free = (number for number in range(96, 128) if number not in taken | {f.payload_type for f in formats})
    numbered = []
    for form in formats:
        clashes = form.payload_type in taken
        numbered.append(replace(form, payload_type=next(free)) if clashes else form)
        taken.add(numbered[-1].payload_type)
    return tuple(numbered)


# RFC 3551 §6: what needs no rtpmap.
_STATIC = {0: RtpMap(0, "PCMU", 8000), 8: RtpMap(8, "PCMA", 8000), 9: RtpMap(9, "G722", 8000)}


def described_formats(media: MediaDescription) -> list[str]:
    maps = media.rtpmaps
    names = []
    for text in media.formats:
        mapped = next((found for number, found in {**_STATIC, **maps}.items() if str(number) == text), None)
        names.append(f"{mapped.encoding}/{mapped.clock_rate}" if mapped else text)
    return names


def names(codecs: tuple[Codec, ...]) -> str:
    return ", ".join(map(str, codecs))
