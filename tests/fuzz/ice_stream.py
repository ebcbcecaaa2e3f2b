"""ICE over TCP: frames however they are cut, and the first words at a mux's door, which decide once and for all."""

from __future__ import annotations

from collections.abc import Iterator

from iceway.core.errors import ParseError
from iceway.ice.mux_doors import HEADER, MAX_FIRST, first_word
from iceway.ice.tcp import Framer, frame
from tests.fuzz import stun as messages

FOUND: tuple[bytes, ...] = ()


def check(data: bytes) -> None:
    """The first byte says how long the pieces are."""
    if not data:
        return
    size, stream = data[0] + 1, data[1:]
    whole = _cut(stream, len(stream) or 1)
    assert _cut(stream, size) == whole
    assert stream.startswith(b"".join(map(frame, whole)))
    for packet in whole:
        messages.check(packet)
    _check_door(stream, size)


def seeds() -> Iterator[bytes]:
    for message in messages.seeds():
        yield b"\x06" + frame(message) + frame(b"\xffmedia") + frame(b"")


def _cut(stream: bytes, size: int) -> list[bytes]:
    framer, packets = Framer(), []
    for at in range(0, len(stream), size):
        packets += framer.feed(stream[at : at + size])
    return packets


def _check_door(stream: bytes, size: int) -> None:
    """Nothing that comes later changes what was decided, and it is decided at the latest with the first packet."""
    decided = None
    for end in (*range(0, len(stream), size), len(stream)):
        verdict = _verdict(stream[:end])
        assert decided is None or verdict == decided
        decided = verdict
    if len(stream) >= HEADER + MAX_FIRST:
        assert decided is not None


def _verdict(said: bytes) -> str | bool | None:
    try:
        return first_word(said)
    except ParseError:
        return False
