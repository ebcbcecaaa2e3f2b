"""Why a socket or a handshake failed, in words a person can act on. `StreamClosed.reason` comes from here.

Lower case, no full stop, no error numbers: the words end up inside sentences ("edge av.example.test:443:
connection refused").
"""

from __future__ import annotations

import errno
import ssl
from typing import Any

from iceway.core.address import Address, canonical_ip, is_ip

CLOSED_BY_US = "closed by us"
CLOSED_BY_PEER = "closed by peer"
TIMED_OUT = "timed out"
HANDSHAKE_TIMED_OUT = "TLS handshake timed out"
SLOW_READER = "peer reads too slowly"

_BY_ERRNO = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "reset by peer",
    errno.EPIPE: CLOSED_BY_PEER,
    errno.ETIMEDOUT: TIMED_OUT,
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
    errno.EADDRNOTAVAIL: "address is not on this machine",
    errno.EMFILE: "too many open files in this process",
    errno.ENFILE: "too many open files on this machine",
}

# OpenSSL's names for what went wrong, ours and what the other end told us in an alert (RFC 8446 §6.2).
_BY_TLS_REASON = {
    "TLSV1_ALERT_UNKNOWN_CA": "peer does not trust our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "peer refused our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "peer refused our certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "peer refused our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "peer says that our certificate expired",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "peer wants a client certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "peer refused the TLS handshake",
    "TLSV1_ALERT_PROTOCOL_VERSION": "peer refused our TLS version",
    "UNSUPPORTED_PROTOCOL": "peer speaks only an outdated TLS version",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "peer sent no certificate",
    "WRONG_VERSION_NUMBER": "peer does not speak TLS",
    "HTTP_REQUEST": "peer does not speak TLS",
    "RECORD_LAYER_FAILURE": "peer does not speak TLS",
    "UNEXPECTED_EOF_WHILE_READING": CLOSED_BY_PEER,
}

_CERTIFICATE_NOT_YET_VALID = 9  # X509_V_ERR_*, openssl/x509_vfy.h
_CERTIFICATE_HAS_EXPIRED = 10


def failure_words(error: BaseException | None) -> str:
    """The cause of a failed or ended connection. None is an orderly end by the peer."""
    match error:
        case None:
            return CLOSED_BY_PEER
        case ssl.SSLCertVerificationError(verify_code=code):
            return distrust_words(code)
        case ssl.SSLError():
            return tls_words(getattr(error, "reason", None) or str(error))
        case TimeoutError():
            return TIMED_OUT
        case OSError(errno=number) if number in _BY_ERRNO:
            return _BY_ERRNO[number]
        case ConnectionError():
            return CLOSED_BY_PEER
        case OSError(strerror=text):
            return (text or str(error) or "failed").lower()
        case _:
            return str(error) or type(error).__name__


def distrust_words(code: int) -> str:
    """Why OpenSSL does not believe a certificate; `code` is its X509_V_ERR."""
    if code == _CERTIFICATE_HAS_EXPIRED:
        return "certificate expired"
    if code == _CERTIFICATE_NOT_YET_VALID:
        return "certificate is not valid yet"
    return "certificate not trusted"


def tls_words(reason: str) -> str:
    """What OpenSSL's name for a failure means."""
    return _BY_TLS_REASON.get(reason, f"TLS failed: {reason.lower().replace('_', ' ')}")


def bind_words(error: OSError, local: Address) -> str:
    """Why a socket could not be bound to `local`."""
    if error.errno == errno.EADDRINUSE:
        return f"port {local.port} on {local.ip} is in use"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"address {local.ip} is not on this machine"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"no permission for port {local.port}: run as root or grant CAP_NET_BIND_SERVICE"
    return failure_words(error)


def certificate_names(certificate: dict[str, Any] | None) -> tuple[str, ...]:
    """The DNS names of a certificate as `ssl.SSLObject.getpeercert` tells it, lower case."""
    if not certificate:
        return ()
    return tuple(value.lower() for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS")


def name_mismatch(certificate: dict[str, Any] | None, server_name: str) -> str | None:
    """None if the certificate is for `server_name`, else words saying for whom it is.

    Only subjectAltName counts (RFC 6125 §6.4.4 leaves the common name as a last resort; it is none here),
    compared as RFC 5922 §7.2 asks: whole names, ASCII case-insensitively, no wildcards.
    """
    names = certificate_names(certificate)
    ips = tuple(
        canonical_ip(value.strip())
        for kind, value in (certificate or {}).get("subjectAltName", ())
        if kind == "IP Address" and is_ip(value.strip())
    )
    wanted = server_name.lower().rstrip(".")
    if is_ip(server_name):
        if canonical_ip(server_name) in ips:
            return None
    elif wanted in names:
        return None
    return f"certificate is for {', '.join(names + ips) or 'nobody'}, not {wanted}"
