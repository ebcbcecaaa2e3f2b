"""Digest authentication, both sides (RFC 3261 §22, RFC 7616, RFC 8760).

The server keeps no passwords, only H(user:realm:password) for each algorithm, and no list of nonces: a nonce
carries its time and a keyed hash that proves it ours. What it does remember, for as long as a nonce lives, is
which counts of it were used, so that a recorded request cannot be played again. The client answers the
strongest challenge it knows, and goes on with the same nonce and a rising count until it is told otherwise.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from iceway.core.errors import ParseError
from iceway.wire.sip import Challenge, Credentials, Request, Response, SipUri, parse_challenges

if TYPE_CHECKING:
    from random import Random


class Algorithm(StrEnum):
    """Strongest first (RFC 8760 §2.1)."""

    SHA_512_256 = "SHA-512-256"
    SHA_256 = "SHA-256"
    MD5 = "MD5"


_HASHES = {Algorithm.MD5: "md5", Algorithm.SHA_256: "sha256", Algorithm.SHA_512_256: "sha512_256"}
_MAX_NONCES = 20000
_COUNT_WINDOW = 64
_NONCE_COUNT = re.compile(r"[0-9A-Fa-f]{8}")
_NULL_URI = "(null)"  # libpurple's SIPE plug-in hashes and sends this instead of the Request-URI


def hash_a1(username: str, realm: str, password: str, algorithm: Algorithm) -> str:
    """H(A1) of RFC 7616 §3.4.2, in hex: all that a server needs to keep of a password."""
    return _hash(algorithm, f"{username}:{realm}:{password}")


# --- server ---------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Authenticated:
    """The request comes from `username`."""

    username: str


@dataclass(frozen=True, slots=True)
class NotAuthenticated:
    """Answer with `challenges(now, stale)`. `username` is whom the request claimed to be from, if anybody.

    `failed` tells a proof that does not hold from one that is missing or merely outdated.
    """

    reason: str
    username: str = ""
    stale: bool = False
    failed: bool = False


HashLookup = Callable[[str, Algorithm], "str | None"]
"""H(A1) of a user for an algorithm, or None if there is no such user (or hash)."""


class DigestServer:
    """Challenges and checks for one realm. `key` signs nonces: servers that share it accept each other's."""

    def __init__(
        self,
        realm: str,
        key: bytes,
        rng: Random,
        algorithms: tuple[Algorithm, ...] = tuple(Algorithm),
        nonce_lifetime: float = 300.0,
    ) -> None:
        self.realm = realm
        self._key = key
        self._rng = rng
        self._algorithms = algorithms
        self._lifetime = nonce_lifetime
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()  # nonce → highest count, bit mask

    def challenges(self, now: float, stale: bool = False) -> tuple[str, ...]:
        """The values of WWW-Authenticate (or Proxy-Authenticate), one a field, strongest first."""
        nonce = self._new_nonce(now)
        values = []
        for algorithm in self._algorithms:
            params = [
                ("realm", self.realm),
                ("nonce", nonce),
                ("qop", "auth"),
                ("algorithm", algorithm.value),
            ]
            if stale:
                params.append(("stale", "true"))
            values.append(str(Challenge.digest(params)))
        return tuple(values)

    def check(
        self, request: Request, lookup: HashLookup, now: float, *, proxy: bool = False
    ) -> Authenticated | NotAuthenticated:
        """Who sent this request, as far as its Authorization (or Proxy-Authorization) proves it."""
        credentials = self._ours(request, "Proxy-Authorization" if proxy else "Authorization")
        if credentials is None:
            return NotAuthenticated("no credentials")
        user = credentials.username
        algorithm = _algorithm(credentials.algorithm)
        if algorithm not in self._algorithms or algorithm is None:
            return NotAuthenticated(
                f"algorithm {credentials.algorithm[:20]} was not offered", user, failed=True
            )
        if (credentials.get("qop") or "").lower() != "auth":
            return NotAuthenticated("only qop=auth is accepted", user, failed=True)
        count = _count(credentials.get("nc") or "")
        uri = credentials.get("uri") or ""
        if count is None or not credentials.get("cnonce"):
            return NotAuthenticated("nc or cnonce is missing", user, failed=True)
        if not _same_resource(uri, request.uri):
            return NotAuthenticated(
                f"the proof is for {uri[:60]!r}, not for the request's URI", user, failed=True
            )
        stored = lookup(user, algorithm)
        proof = _response(stored or "", request.method, uri, credentials, algorithm)
        if not hmac.compare_digest(proof.encode(), (credentials.get("response") or "").lower().encode()):
            return NotAuthenticated("wrong password", user, failed=True)
        if stored is None:
            return NotAuthenticated("no such user", user, failed=True)
        # Only now: a nonce is called stale to nobody but those who know the password (RFC 7616 §3.3).
        if (why := self._nonce_fault(credentials.nonce, now)) is not None:
            return NotAuthenticated(why, user, stale=True)
        if not self._fresh_count(credentials.nonce, count):
            return NotAuthenticated("the nonce count was used before", user, stale=True)
        return Authenticated(user)

    def _ours(self, request: Request, header: str) -> Credentials | None:
        for field in request.headers.all(header):
            try:
                credentials = Credentials.parse(field)
            except ParseError:
                continue
            if credentials.is_digest and credentials.realm == self.realm:
                return credentials
        return None

    def _new_nonce(self, now: float) -> str:
        made = int(now * 1000).to_bytes(8, "big", signed=True) + self._rng.getrandbits(64).to_bytes(8, "big")
        return base64.b64encode(made + self._signature(made)).decode()

    def _signature(self, made: bytes) -> bytes:
        return hmac.digest(self._key, b"nonce " + self.realm.encode() + b"\0" + made, "sha256")[:16]

    def _nonce_fault(self, nonce: str, now: float) -> str | None:
        try:
            raw = base64.b64decode(nonce, validate=True)
        except ValueError:
            raw = b""
        made, signature = raw[:16], raw[16:]
        if not hmac.compare_digest(signature, self._signature(made)):
            return "the nonce is not one of ours"
        age = now - int.from_bytes(made[:8], "big", signed=True) / 1000
        if not -1.0 <= age <= self._lifetime:
            return f"the nonce is {age:.0f} s old"
        return None

    def _fresh_count(self, nonce: str, count: int) -> bool:
        """Whether this count of the nonce is new; remembers it. Counts may arrive a little out of order."""
        highest, mask = self._counts.pop(nonce, (0, 0))
        if count > highest:
            mask = (mask << min(count - highest, _COUNT_WINDOW) | 1) & ((1 << _COUNT_WINDOW) - 1)
            highest, fresh = count, True
        else:
            bit = 1 << min(highest - count, _COUNT_WINDOW)
            fresh = bit < 1 << _COUNT_WINDOW and not mask & bit
            mask |= bit
        self._counts[nonce] = (highest, mask)
        while len(self._counts) > _MAX_NONCES:
            self._counts.popitem(last=False)
        return fresh


# --- client ---------------------------------------------------------------------------------------------
@dataclass(slots=True)
class _Known:
    challenge: Challenge
    algorithm: Algorithm
    count: int = 0


class DigestClient:
    """One user's credentials, for the realms that asked for them when we registered.

    Without a registration any realm may ask. With one, others are somebody in a call who would like a digest to
    guess the password from.
    """

    def __init__(self, username: str, password: str, rng: Random) -> None:
        self._username = username
        self._password = password
        self._rng = rng
        self._known: dict[tuple[str, str], _Known] = {}  # (header, realm)
        self._home: set[str] = set()

    def authorize(self, request: Request) -> Request:
        """The request with credentials for every realm that has asked before (and old ones removed)."""
        request = request.without_header("Authorization", "Proxy-Authorization")
        for (header, _), known in self._known.items():
            request = request.with_last(header, self._credentials(known, request))
        return request

    def answer(self, response: Response, request: Request, *, preemptive: bool = False) -> Request | None:
        """The request again, answering the challenge of a 401 or 407; None if there is no use in trying.

        Without use: no algorithm in common, a realm that is not ours, or our proof was refused (a nonce gone
        stale is no refusal, nor is the failure of credentials sent unasked, told with `preemptive`).
        """
        asked, header = (
            ("WWW-Authenticate", "Authorization")
            if response.status == 401
            else ("Proxy-Authenticate", "Proxy-Authorization")
        )
        best: dict[str, _Known] = {}
        for challenge in parse_challenges(response.headers.all(asked)):
            algorithm = _algorithm(challenge.algorithm) if challenge.is_digest else None
            if algorithm is None or not challenge.nonce or (challenge.qop and "auth" not in challenge.qop):
                continue
            if request.method == "REGISTER":
                self._home.add(challenge.realm)
            elif self._home and challenge.realm not in self._home:
                continue
            rank = list(Algorithm).index(algorithm)
            held = best.get(challenge.realm)
            if held is None or rank < list(Algorithm).index(held.algorithm):
                best[challenge.realm] = _Known(challenge, algorithm)
        sent = {
            credentials.realm
            for credentials in map(_parsed, request.headers.all(header))
            if credentials is not None
        }
        if not best or any(
            realm in sent and not known.challenge.stale and not preemptive for realm, known in best.items()
        ):
            for realm in best:
                self._known.pop((header, realm), None)
            return None
        for realm, known in best.items():
            self._known[header, realm] = known
        return self.authorize(request)

    def _credentials(self, known: _Known, request: Request) -> str:
        known.count += 1
        challenge, realm = known.challenge, known.challenge.realm
        params = [
            ("username", self._username),
            ("realm", realm),
            ("nonce", challenge.nonce),
            ("uri", request.uri),
            ("algorithm", known.challenge.algorithm),
        ]
        if challenge.qop:
            cnonce = f"{self._rng.getrandbits(64):016x}"
            params += [("qop", "auth"), ("nc", f"{known.count:08x}"), ("cnonce", cnonce)]
        if (opaque := challenge.get("opaque")) is not None:
            params.append(("opaque", opaque))
        a1 = hash_a1(self._username, realm, self._password, known.algorithm)
        unproved = Credentials.digest(params)
        proof = _response(a1, request.method, request.uri, unproved, known.algorithm)
        return str(Credentials.digest([*params, ("response", proof)]))


# --- both -----------------------------------------------------------------------------------------------
def _response(a1: str, method: str, uri: str, credentials: Credentials, algorithm: Algorithm) -> str:
    """The request-digest of RFC 7616 §3.4.1; without qop, that of RFC 2617 §3.2.2.1."""
    a2 = _hash(algorithm, f"{method}:{uri}")
    qop = credentials.get("qop")
    if not qop:
        return _hash(algorithm, f"{a1}:{credentials.nonce}:{a2}")
    middle = f"{credentials.nonce}:{credentials.get('nc')}:{credentials.get('cnonce')}:{qop}"
    return _hash(algorithm, f"{a1}:{middle}:{a2}")


def _hash(algorithm: Algorithm, text: str) -> str:
    return hashlib.new(_HASHES[algorithm], text.encode(), usedforsecurity=False).hexdigest()


def _algorithm(name: str) -> Algorithm | None:
    try:
        return Algorithm(name.upper())
    except ValueError:
        return None


def _count(text: str) -> int | None:
    return int(text, 16) if _NONCE_COUNT.fullmatch(text) else None


def _parsed(field: str) -> Credentials | None:
    try:
        return Credentials.parse(field)
    except ParseError:
        return None


def _same_resource(uri: str, requested: str) -> bool:
    """Whether credentials for `uri` may speak for a request to `requested`: same user at the same host."""
    if uri in (requested, _NULL_URI):
        return True
    try:
        one, other = SipUri.parse(uri), SipUri.parse(requested)
    except ParseError:
        return False
    return one.username == other.username and one.host.lower() == other.host.lower()
