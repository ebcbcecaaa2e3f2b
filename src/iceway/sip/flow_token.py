"""Flow tokens (RFC 5626 §5.2): a flow's id, sealed, as the user part of a Path or Record-Route URI.

Whoever gets such a URI back knows over which flow the request goes on, without remembering anything; and only
URIs that it made itself. A connection's id means something only while the process lives, so its tokens carry a
mark of the process; a UDP flow is its two addresses, and its token is good as long as the key is.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

_MAC = 12
_MARK = 6
_UDP = "udp|"


class FlowTokens:
    """Seals and opens. Without `use_key` a key is drawn at first use and lives as long as this object."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._key: bytes | None = None
        self._mark = b""

    def use_key(self, key: bytes) -> None:
        """Seal and open with this key, which outlives the process."""
        self._key = key

    def seal(self, flow_id: str) -> str:
        self._draw()
        mark = bytes(_MARK) if flow_id.startswith(_UDP) else self._mark
        payload = mark + flow_id.encode()
        return urlsafe_b64encode(self._mac(payload) + payload).decode().rstrip("=")

    def open(self, token: str) -> str | None:
        """The flow's id; None for anything that was not sealed here (or by a process that is gone)."""
        self._draw()
        try:
            raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        except ValueError:
            return None
        mac, payload = raw[:_MAC], raw[_MAC:]
        if len(payload) <= _MARK or not hmac.compare_digest(mac, self._mac(payload)):
            return None
        flow_id = payload[_MARK:].decode(errors="replace")
        if not flow_id.startswith(_UDP) and payload[:_MARK] != self._mark:
            return None
        return flow_id

    def _mac(self, payload: bytes) -> bytes:
        assert self._key is not None
        return hmac.digest(self._key, payload, sha256)[:_MAC]

    def _draw(self) -> None:
        if not self._mark:
            self._mark = b"\1" + self._rng.randbytes(_MARK - 1)
        if self._key is None:
            self._key = self._rng.randbytes(32)
