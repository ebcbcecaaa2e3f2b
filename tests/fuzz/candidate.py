"""Candidate lines: whatever the text, ParseError or a candidate; what was read is written so that it is read again."""

from __future__ import annotations

from collections.abc import Iterator

from iceway.core.errors import ParseError
from iceway.ice.candidate import MAX_ATTRIBUTE, parse, serialize

# RFC 8839 §5.1, RFC 6544 §4.5, and lines as browsers write them.
LINES = (
    "candidate:1 1 UDP 2130706431 203.0.113.141 8998 typ host",
    "a=candidate:2 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 203.0.113.141 rport 8998",
    "candidate:1 1 UDP 2130706431 fe80::6676:baff:fe9c:ee4a 8998 typ host",
    "candidate:3 1 TCP 2105458943 10.0.1.1 9 typ host tcptype active",
    "candidate:842163049 1 udp 1677729535 198.51.100.4 61665 typ srflx raddr 0.0.0.0 rport 0 generation 0"
    " ufrag a1B+ network-cost 999",
    "candidate:5 2 udp 41885695 2001:db8::7 50001 typ relay raddr 2001:db8::1 rport 3478",
    "candidate:6 1 udp 7 0b1c.local 5000 typ prflx",
    "candidate:7 1 udp 2113937151 947efeaa-6436-492d-95f9-1460d83b79a0.local 42174 typ host generation 0",
)

FOUND: tuple[bytes, ...] = ()


def check(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    try:
        candidate = parse(text)
    except ParseError:
        return
    str(candidate)
    written = serialize(candidate)
    if len(written) <= MAX_ATTRIBUTE:
        assert parse(written) == candidate
        assert parse(f"a=candidate:{written}") == candidate


def seeds() -> Iterator[bytes]:
    for line in LINES:
        yield line.encode()
