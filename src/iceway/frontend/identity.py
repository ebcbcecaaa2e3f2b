"""Who sent a request: digest credentials checked against the store, and what an authenticated user may claim."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iceway.core.errors import ParseError
from iceway.frontend.config import AuthenticationConfig
from iceway.frontend.guesses import Guesses
from iceway.frontend.store import UserStore
from iceway.sip.digest import Algorithm, DigestServer, NotAuthenticated
from iceway.sip.registrar import address_of_record
from iceway.wire.sip import Challenge, Credentials, NameAddr, Request

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class User:
    """`aor` is the address of record that the digest proved."""

    aor: str


@dataclass(frozen=True, slots=True)
class Challenged:
    """Answer `status` with `headers`. `failed`: a proof was wrong, which is worth a record.

    A 503 is no challenge: there were too many wrong proofs, and this one was not looked at.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    reason: str
    claimed: str = ""
    failed: bool = False


class Doorkeeper:
    """One realm's digest server over the store. `now` is wall time, so nonces of a pool agree."""

    def __init__(
        self, realm: str, store: UserStore, key: bytes, rng: Random, config: AuthenticationConfig
    ) -> None:
        self._realm = realm
        self._store = store
        self._config = config
        algorithms = tuple(map(Algorithm, config.algorithms))
        self._digest = DigestServer(realm, key, rng, algorithms)
        self._guesses = Guesses()

    def identify(self, request: Request, source: str, *, proxy: bool, wall_now: float) -> User | Challenged:
        """`source` is the sender's IP. `proxy`: challenge as a proxy (407), for requests that are somebody
        else's to answer."""
        verdict = self._digest.check(request, self._ha1, wall_now, proxy=proxy)
        if not isinstance(verdict, NotAuthenticated) or verdict.failed or verdict.stale:
            aor = self._store.owner(verdict.username, self._realm)
            user = aor or verdict.username
            if (pause := math.ceil(self._guesses.pause(user, source, wall_now))) > 0:
                reason = f"too many wrong passwords from {source}; not heard for {pause} s"
                later = ("Retry-After", str(pause))
                return Challenged(503, (later,), reason, verdict.username, failed=True)
            if not isinstance(verdict, NotAuthenticated):
                if aor is not None:
                    self._guesses.right(user, source)
                    return User(aor)
                verdict = NotAuthenticated("the user was removed", verdict.username, failed=True)
            if verdict.failed:
                self._guesses.wrong(user, source, wall_now)
        name = "Proxy-Authenticate" if proxy else "WWW-Authenticate"
        values = self._digest.challenges(wall_now, verdict.stale)
        headers = tuple((name, value) for value in values if self._understands(request, value))
        return Challenged(407 if proxy else 401, headers, verdict.reason, verdict.username, verdict.failed)

    def without_our_credentials(self, request: Request) -> Request:
        """The request as others may see it: proofs meant for us are taken out (RFC 3261 §22.3)."""
        for name in ("Authorization", "Proxy-Authorization"):
            kept = [value for value in request.headers.all(name) if not self._is_ours(value)]
            request = request.with_header(name, *kept) if kept else request.without_header(name)
        return request

    def _understands(self, request: Request, challenge: str) -> bool:
        agent = request.headers.get("User-Agent") or ""
        if not agent.startswith(self._config.md5_only_agents) or "MD5" not in self._config.algorithms:
            return True
        return Challenge.parse(challenge).algorithm == Algorithm.MD5

    def _ha1(self, login: str, algorithm: Algorithm) -> str | None:
        return self._store.ha1(login, self._realm, algorithm.value)

    def _is_ours(self, value: str) -> bool:
        try:
            return Credentials.parse(value).realm == self._realm
        except ParseError:
            return True


def claims(address: NameAddr, user: User) -> bool:
    """Whether an address (From, To) is the user's own."""
    try:
        return address_of_record(address.sip) == user.aor
    except ParseError:
        return False
