"""What passes a call on: Refer-To (RFC 3515), Replaces (RFC 3891), Subscription-State and Event (RFC 6665), and the
status line that tells what became of it (message/sipfrag, RFC 3420).

Of what a Refer-To may embed in its URI only Replaces is read: other headers would let a stranger write our requests.
Every parser raises ParseError and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from urllib.parse import quote as percent_encode
from urllib.parse import unquote as percent_decode

from iceway.core.errors import ParseError
from iceway.wire.sip.fields import NameAddr
from iceway.wire.sip.syntax import Params, is_token, parse_params

SIPFRAG = "message/sipfrag"
LONGEST = 200  # characters of a reason that are kept
_SAFE = "-_.!~*'()"
_CALL_ID = re.compile(r"[!-+\--:<-~]{1,255}")  # printable, without comma and semicolon
_STATUS = re.compile(r"SIP/2\.0[ \t]+([1-6][0-9]{2})(?:[ \t]+([^\r\n]*))?[ \t]*(?:\r?\n|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Replaces:
    """Which dialog a new call takes the place of. The tags are as the one sees them who is to give it up."""

    call_id: str
    to_tag: str
    from_tag: str
    early_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Replaces:
        call_id, semicolon, rest = text.strip().partition(";")
        params = parse_params(semicolon + rest)
        call_id = call_id.strip()
        if not _CALL_ID.fullmatch(call_id):
            raise ParseError(f"Replaces {text[:60]!r} names no Call-ID")
        return cls(call_id, _one(params, "to-tag"), _one(params, "from-tag"), params.has("early-only"))

    def __str__(self) -> str:
        early = ";early-only" if self.early_only else ""
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{early}"


@dataclass(frozen=True, slots=True)
class ReferTo:
    """Whom to call, and which call of theirs the new one is to replace. `method` is what is asked for: INVITE, or else
    something that nobody should do because a stranger says so."""

    address: NameAddr
    replaces: Replaces | None = None
    method: str = "INVITE"

    @classmethod
    def parse(cls, text: str) -> ReferTo:
        """Raises ParseError, also for what is no SIP URI."""
        named = NameAddr.parse(text)
        uri = named.sip
        method = (uri.param("method") or "INVITE").upper()
        bare = replace(uri, headers="", params=uri.params.without("method"))
        return cls(NameAddr(str(bare), named.display), _embedded(uri.headers), method)

    def __str__(self) -> str:
        uri = self.address.uri
        if self.replaces is not None:
            # Whoever does not know of Replaces would ring instead (RFC 5589 §7.1).
            uri += f"?Replaces={percent_encode(str(self.replaces), safe=_SAFE)}&Require=replaces"
        return str(NameAddr(uri, self.address.display))


def parse_event(text: str) -> tuple[str, str | None]:
    """An Event: the package, and the id that tells one subscription from another."""
    package, semicolon, rest = text.partition(";")
    if not is_token(package.strip()):
        raise ParseError(f"Event {text[:60]!r} names no package")
    return package.strip().lower(), parse_params(semicolon + rest).get("id") or None


def parse_subscription_state(text: str) -> str:
    """`active`, `pending`, `terminated`, or what else it says."""
    state, semicolon, rest = text.partition(";")
    parse_params(semicolon + rest)
    if not is_token(state.strip()):
        raise ParseError(f"Subscription-State {text[:60]!r} says nothing")
    return state.strip().lower()


def parse_fragment(body: bytes) -> tuple[int, str]:
    """The status line that a message/sipfrag begins with: `SIP/2.0 180 Ringing`."""
    found = _STATUS.match(body[:1000].decode("utf-8", "replace"))
    if found is None:
        raise ParseError(f"a fragment of SIP begins with {body[:40]!r}, which is no status line")
    return int(found[1]), " ".join((found[2] or "").split())[:LONGEST]


def fragment(status: int, reason: str) -> bytes:
    return f"SIP/2.0 {status} {' '.join(reason.split())[:LONGEST]}\r\n".encode()


def _embedded(headers: str) -> Replaces | None:
    """The Replaces among a URI's headers."""
    fields = [part.partition("=") for part in headers.split("&") if part]
    values = [value for name, _, value in fields if percent_decode(name).lower() == "replaces"]
    if len(values) > 1:
        raise ParseError("a Refer-To asks for more than one call to be replaced")
    return Replaces.parse(percent_decode(values[0])) if values else None


def _one(params: Params, name: str) -> str:
    values = [value for key, value in params if key.lower() == name]
    if len(values) != 1 or not is_token(values[0] or ""):
        raise ParseError(f"Replaces needs one {name}")
    return values[0] or ""
