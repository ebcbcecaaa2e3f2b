"""User management, as the command line offers it: the rules for names in front of the store.

A user is an address in the front end's domain. One may log in with the bare user name or the whole address;
digests for both are kept, because clients differ in which of them they send.
"""

from __future__ import annotations

from iceway.core.errors import ParseError, UsageError
from iceway.frontend.store import SqlStore, User
from iceway.sip.registrar import address_of_record
from iceway.wire.sip import SipUri


def user_address(name: str, domain: str) -> str:
    """`alice`, `alice@example.test` or `sip:alice@example.test` → the address of record. Raises UsageError."""
    text = name if name.startswith(("sip:", "sips:")) else f"sip:{name}"
    if "@" not in text:
        text = f"{text}@{domain}"
    try:
        uri = SipUri.parse(text)
    except ParseError as error:
        raise UsageError(f"{name!r} is not a user name: {error}") from error
    if not uri.user or uri.params or uri.headers or uri.port or uri.password:
        raise UsageError(f"{name!r} is not a user name; write alice or alice@{domain}")
    if uri.host.lower() != domain.lower():
        raise UsageError(f"{name!r} is not in {domain}; this front end serves only that domain")
    return address_of_record(uri)


def add_user(store: SqlStore, name: str, password: str, domain: str, wall_now: float) -> User:
    """Add a user; raises UsageError if there is one of that name already."""
    aor = user_address(name, domain)
    if store.has_user(aor):
        raise UsageError(f"{aor} exists already; change the password instead, or remove the user first")
    store.set_user(aor, domain, _logins(aor), password, wall_now)
    return User(aor, wall_now)


def set_password(store: SqlStore, name: str, password: str, domain: str, wall_now: float) -> None:
    aor = _known(store, name, domain)
    store.set_user(aor, domain, _logins(aor), password, wall_now)


def remove_user(store: SqlStore, name: str, domain: str) -> None:
    """Remove a user and whatever is registered for it."""
    store.remove_user(_known(store, name, domain))


def list_users(store: SqlStore) -> list[User]:
    return store.users()


def _known(store: SqlStore, name: str, domain: str) -> str:
    aor = user_address(name, domain)
    if not store.has_user(aor):
        raise UsageError(f"there is no user {aor}; list the users to see who there is")
    return aor


def _logins(aor: str) -> tuple[str, str]:
    uri = SipUri.parse(aor)
    return uri.username, f"{uri.username}@{uri.host}"
