"""Secrets out of SIP texts, before a record keeps them.

Hidden: SRTP keys (`a=crypto` inline, `k=`, MIKEY), `a=ice-pwd`, what a client proves in Authorization headers,
relay passwords and all but the head of relay user names in MRAS bodies, telephone keys, and passwords in URIs.
Everything else stays as it was, line for line, so a message remains readable and its structure comparable. The
function never raises and runs in linear time on any text: it sees what strangers send.
"""

from __future__ import annotations

import re

HIDDEN = "[hidden]"
_USER_NAME_KEPT = 8  # enough to tell two credentials apart; the token's expiry and id stay out

_AUTHORIZATION = re.compile(
    r"^[ \t]*(?:proxy-)?(?:authorization|authentication-info)[ \t]*:[^\r\n]*(?:\r?\n[ \t][^\r\n]*)*",
    re.IGNORECASE | re.MULTILINE,
)
_WHOLE_CREDENTIALS = re.compile(r"(:\s*(?:basic|bearer|negotiate)\s+)[^\s,]+", re.IGNORECASE)
_PROOF = re.compile(
    r"\b(response|cnonce|crand|rspauth|gssapi-data)(\s*=\s*)(?:\"(?:[^\"\\]|\\.)*\"?|[^\s,;\"]+)",
    re.IGNORECASE | re.DOTALL,
)
_SIMPLE: tuple[tuple[re.Pattern[str], str], ...] = (
    # SDP: RFC 4568 §6.1 `inline:key||lifetime|MKI`; RFC 8839 §5.4; RFC 4566 §5.12; RFC 4567
    (re.compile(r"(\binline:)[^\s|;]+", re.IGNORECASE), rf"\g<1>{HIDDEN}"),
    (re.compile(r"(\ba=ice-pwd:[ \t]*)[^\s]+", re.IGNORECASE), rf"\g<1>{HIDDEN}"),
    (re.compile(r"^(k=(?:clear|base64|uri):)[^\r\n]+", re.IGNORECASE | re.MULTILINE), rf"\g<1>{HIDDEN}"),
    (re.compile(r"(\ba=key-mgmt:[ \t]*[\w-]{1,32}[ \t]+)[^\s]+", re.IGNORECASE), rf"\g<1>{HIDDEN}"),
    # MRAS bodies; up to the closing tag, whatever stands between (CDATA too)
    (
        re.compile(r"(<(?:[\w.-]{1,64}:)?password\b[^<>]{0,256}>)(?:[^<]|<(?!/))*", re.IGNORECASE),
        rf"\g<1>{HIDDEN}",
    ),
    # telephone keys in INFO (application/dtmf-relay): often a PIN
    (re.compile(r"^([ \t]*signal[ \t]*=)[^\r\n]+", re.IGNORECASE | re.MULTILINE), rf"\g<1>{HIDDEN}"),
    # `sip:alice:secret@host` (RFC 3261 §19.1.1), and parameters that announce a secret
    (
        re.compile(r"(\bsips?:[^\s:@<>\"]{1,256}:)[^\s:@<>\";?/]{1,256}(?=@)", re.IGNORECASE),
        rf"\g<1>{HIDDEN}",
    ),
    (
        re.compile(r"([;?&](?:password|passwd|pwd|secret|token)=)[^\s;&>\"]+", re.IGNORECASE),
        rf"\g<1>{HIDDEN}",
    ),
)
_RELAY_USER = re.compile(
    r"(<(?:[\w.-]{1,64}:)?username\b[^<>]{0,256}>)((?:[^<]|<(?!/))*)",
    re.IGNORECASE,
)


def redact_sip(text: str) -> str:
    """The text of a SIP message without what would let a reader impersonate, decrypt or relay."""
    text = _RELAY_USER.sub(_shorten_user, text)
    text = _AUTHORIZATION.sub(_hide_proofs, text)
    for pattern, replacement in _SIMPLE:
        text = pattern.sub(replacement, text)
    return text


def _hide_proofs(header: re.Match[str]) -> str:
    line = _WHOLE_CREDENTIALS.sub(rf"\g<1>{HIDDEN}", header[0])
    return _PROOF.sub(lambda found: f'{found[1]}{found[2]}"{HIDDEN}"', line)


def _shorten_user(found: re.Match[str]) -> str:
    name = found[2].strip()
    if len(name) <= _USER_NAME_KEPT or name.endswith(HIDDEN):
        return found[0]
    return f"{found[1]}{name[:_USER_NAME_KEPT]}{HIDDEN}"
