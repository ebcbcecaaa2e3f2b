"""STUN messages: whatever the bytes, ParseError or a message; what was read is written so that it is read again;
FINGERPRINT and integrity notice a change of any bit that they cover.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from iceway.core.errors import ParseError
from iceway.wire import stun
from iceway.wire.stun import StunMessage

KEY = b"a key that is not in the corpus"
VECTORS = Path(__file__).parent.parent / "vectors" / "rfc5769.json"

FOUND = (
    # SOFTWARE and the phrase of an ERROR-CODE, badly encoded: U+FFFD takes more room than what it stands for.
    b"\x00\x01" + bytes(12) + b"\x80\x22\x02\xf8" + b"\xff" * 760,
    b"\x01\x11" + bytes(12) + b"\x00\x09\x02\xfc\x00\x00\x04\x00" + b"\xff" * 760,
)


def check(data: bytes) -> None:
    _check(data)
    _check(framed(data))


def seeds() -> Iterator[bytes]:
    for vector in json.loads(VECTORS.read_text()).values():
        message = bytes.fromhex(vector["hex"])
        yield message
        yield message[:2] + message[8:]


def framed(data: bytes) -> bytes:
    """A message whose header fits, so that the search spends its time on attributes: type, transaction, body."""
    type, transaction, body = data[:2].ljust(2, b"\0"), data[2:14].ljust(12, b"\0"), data[14:]
    body = body[: len(body) & ~3]
    return bytes((type[0] & 0x3F, type[1])) + len(body).to_bytes(2, "big") + stun._COOKIE + transaction + body


def _check(data: bytes) -> None:
    try:
        message = stun.parse(data)
    except ParseError:
        return
    stun.describe(message)
    assert not stun.verify_integrity(message, KEY)
    for sha256, fingerprint in ((False, True), (True, False)):
        written = stun.serialize(message, KEY, sha256=sha256, fingerprint=fingerprint)
        again = stun.parse(written)
        assert again == message
        assert stun.verify_integrity(again, KEY)
        _check_changed(again, int.from_bytes(message.transaction_id[:4], "big"))
    plain = stun.serialize(message)
    assert stun.serialize(stun.parse(plain)) == plain


def _check_changed(message: StunMessage, which: int) -> None:
    """One bit of the message is another: nobody takes it for what was protected."""
    at = which % (len(message.raw) * 8)
    changed = bytearray(message.raw)
    changed[at // 8] ^= 1 << at % 8
    with contextlib.suppress(ParseError):
        other = stun.parse(bytes(changed))
        covered = at // 8 < _end_of_integrity(message)
        assert not other.has_fingerprint
        assert not (covered and stun.verify_integrity(other, KEY))


def _end_of_integrity(message: StunMessage) -> int:
    at = message.integrity_at if message.integrity_sha256_at is None else message.integrity_sha256_at
    assert at is not None
    return at + 4 + int.from_bytes(message.raw[at + 2 : at + 4], "big")
