"""Session descriptions: whatever the bytes, ParseError or a description; what was read is written so that it is
read again; the readers of lines raise nothing but ParseError either.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from iceway.core.errors import ParseError
from iceway.wire import sdp
from tests.fuzz import candidate

OFFER = """v=0
o=- 4962303333179871722 1 IN IP4 192.0.2.1
s=-
c=IN IP4 192.0.2.1
t=0 0
a=group:BUNDLE 0
a=ice-options:trickle ice2
m=audio 54400/2 RTP/SAVP 0 96
c=IN IP6 2001:db8::1
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:32
a=ice-ufrag:8hhY
a=ice-pwd:asd88fgpdd777uzjYhagZg
a=remote-candidates:1 192.0.2.3 45664
a=sendonly
a=rtcp:54401 IN IP4 192.0.2.1
a=end-of-candidates
"""

FOUND = (
    # Keys whose lifetime is empty, or there twice: they could not be written as they were read.
    OFFER.replace("2^20|1:32", "|1:32").encode(),
    OFFER.replace("2^20|1:32", "2^20|2^21").encode(),
)


def check(data: bytes) -> None:
    try:
        description = sdp.parse(data)
    except ParseError:
        return
    text = sdp.serialize(description)
    if len(text.encode()) <= sdp.MAX_BYTES:
        assert sdp.parse(text) == description
        assert sdp.parse(text.encode()) == description
    for media in description.media:
        with contextlib.suppress(ParseError):
            parameters = sdp.ice_parameters(description, media)
            if parameters is not None:
                sdp.ice_lines(parameters)
                for line in parameters.candidates:
                    candidate.check(line.encode())
        with contextlib.suppress(ParseError):
            str(media.connection)
        for line in media.attributes("crypto"):
            with contextlib.suppress(ParseError):
                crypto = sdp.Crypto.parse(line)
                assert sdp.Crypto.parse(str(crypto)) == crypto


def seeds() -> Iterator[bytes]:
    lines = "".join(f"a={line.removeprefix('a=')}\n" for line in candidate.LINES)
    yield OFFER.encode()
    yield (OFFER + lines).encode()
    yield OFFER.replace("\n", "\r\n").encode()
