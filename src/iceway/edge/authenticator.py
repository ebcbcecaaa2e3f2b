"""The relay's view of the key ring: a USERNAME becomes the key its owner must have used, or a reason why not."""

from __future__ import annotations

from iceway.edge import credentials
from iceway.edge.credentials import KeyRing
from iceway.turn.auth import Accepted, Rejected
from iceway.wire import stun


class TokenAuthenticator:
    """An `iceway.turn.auth.Authenticator`. `ring` may be replaced at any time, as certificates roll over."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring

    def lookup(self, username: bytes, realm: str, wall_time: float) -> Accepted | Rejected:
        answer = self.ring.verify(username.decode("ascii", "replace"), wall_time)
        if isinstance(answer, credentials.Rejected):
            return Rejected(answer.reason, answer.phrase)
        key = stun.long_term_key(username, realm, answer.password)
        return Accepted(key, answer.user_id, answer.expires_at)
