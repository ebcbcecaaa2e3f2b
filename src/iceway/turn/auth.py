"""Who may use the relay: authenticators, and nonces that need no memory.

An `Authenticator` turns a USERNAME into the key that the client must have used, or says why not. It sees the
name before anything is proved, so it must be cheap and must not remember strangers.
"""

from __future__ import annotations

import base64
import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from iceway.core.address import Address
from iceway.wire import stun

NONCE_LIFETIME = 3600  # RFC 8489 §9.2.4 leaves it open; an hour as RFC 8656 §5 suggests
UNAUTHORIZED = "Unauthorized"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The name is good. `key` is the long-term key that requests must be protected with.

    `user_id` is who counts against quotas and owns allocations; it stays the same when credentials are renewed.
    """

    key: bytes
    user_id: str
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """`reason` goes on record here. `phrase` is what the client is told: more than "Unauthorized" only where
    that helps an honest client and teaches a dishonest one nothing ("Credentials expired 93 s ago")."""

    reason: str
    phrase: str = UNAUTHORIZED


class Authenticator(Protocol):
    def lookup(self, username: bytes, realm: str, wall_time: float) -> Accepted | Rejected: ...


class StaticAuthenticator:
    """Fixed users with passwords."""

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = {name.encode(): password for name, password in users.items()}

    def lookup(self, username: bytes, realm: str, wall_time: float) -> Accepted | Rejected:
        password = self._users.get(username)
        if password is None:
            return Rejected("unknown user")
        key = stun.long_term_key(username, realm, password)
        return Accepted(key, username.decode(errors="backslashreplace"))


class TimeLimitedAuthenticator:
    """Names "expiry:user" with the password base64(HMAC-SHA1(secret, name)), as `use-auth-secret` of coturn."""

    def __init__(self, secret: str | bytes) -> None:
        self._secret = secret.encode() if isinstance(secret, str) else secret

    def credentials(self, user: str, expires_at: float) -> tuple[str, str]:
        """User name and password for a client."""
        username = f"{math.floor(expires_at)}:{user}"
        return username, self._password(username.encode()).decode()

    def lookup(self, username: bytes, realm: str, wall_time: float) -> Accepted | Rejected:
        expiry, colon, user = username.partition(b":")
        if not colon or not expiry.isdigit() or len(expiry) > 12:
            return Rejected("the user name holds no expiry time")
        expires_at = int(expiry)
        if expires_at <= wall_time:
            ago = f"redentials expired {wall_time - expires_at:.0f} s ago"
            return Rejected("c" + ago, "C" + ago)
        key = stun.long_term_key(username, realm, self._password(username))
        return Accepted(key, user.decode(errors="backslashreplace"), float(expires_at))

    def _password(self, username: bytes) -> bytes:
        return base64.b64encode(hmac.digest(self._secret, username, "sha1"))


class Nonces:
    """Nonces that carry their own time and are bound to the client's address, under a key of this server."""

    def __init__(self, key: bytes, lifetime: float = NONCE_LIFETIME) -> None:
        self._key = key
        self._lifetime = lifetime

    def make(self, client: Address, now: float) -> bytes:
        stamp = (int(now) & 0xFFFFFFFF).to_bytes(4, "big")
        return base64.urlsafe_b64encode(stamp + self._seal(stamp, client))

    def is_fresh(self, nonce: bytes, client: Address, now: float) -> bool:
        try:
            # 16 characters and nothing else: the lenient decoder would take other spellings of the same bytes.
            raw = base64.b64decode(nonce, altchars=b"-_", validate=True) if len(nonce) == 16 else b""
        except ValueError:
            return False
        if len(raw) != 12 or not hmac.compare_digest(raw[4:], self._seal(raw[:4], client)):
            return False
        age = (int(now) - int.from_bytes(raw[:4], "big")) & 0xFFFFFFFF
        return age <= self._lifetime

    def _seal(self, stamp: bytes, client: Address) -> bytes:
        return hmac.digest(self._key, stamp + str(client).encode(), "sha1")[:8]
