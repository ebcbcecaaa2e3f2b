"""Candidates on their way after the description: `application/trickle-ice-sdpfrag` (RFC 8840 §9).

    a=ice-ufrag:8hhY
    a=ice-pwd:asd88fgpdd777uzjYhagZg
    m=audio 9 RTP/SAVP 0
    a=mid:0
    a=candidate:1 1 UDP 2130706431 192.0.2.1 50000 typ host
    a=end-of-candidates

A fragment is the ICE lines of a description without the rest, so it is read as a description with the rest put
in front. Its `m=` lines say nothing but where a section begins; `a=mid` tells which one it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from iceway.core.errors import ParseError
from iceway.wire import sdp
from iceway.wire.sdp import IceParameters, attribute, ice_lines, ice_parameters

MEDIA_TYPE = "application/trickle-ice-sdpfrag"
INFO_PACKAGE = "trickle-ice"  # RFC 8840 §10
_REST = "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\n"


@dataclass(frozen=True, slots=True)
class Section:
    """The ICE lines of one media section; `pseudo` is its `m=` line, `mid` None if it is not named."""

    mid: str | None
    ice: IceParameters
    pseudo: str = "audio 9 RTP/SAVP 0"


def parse(data: bytes | str) -> tuple[Section, ...]:
    """The sections of a fragment. Raises ParseError, whatever the bytes."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    description = sdp.parse(_REST + text.lstrip("\r\n"))
    sections = []
    for media in description.media:
        ice = ice_parameters(description, media)
        if ice is None:
            raise ParseError("a fragment without ice-ufrag and ice-pwd belongs to no session")
        sections.append(Section(media.mid, ice, str(media)))
    return tuple(sections)


def serialize(*sections: Section) -> str:
    """The body; `encode()` it as UTF-8. Every section says its own user name and password."""
    out: list[str] = []
    for section in sections:
        out.append(f"m={section.pseudo}")
        if section.mid is not None:
            out.append(str(attribute("mid", section.mid)))
        out += map(str, ice_lines(section.ice))
    return "\r\n".join(out) + "\r\n"
