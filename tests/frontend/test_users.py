"""User management: names as people write them, mistakes told in words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from iceway.core.errors import UsageError
from iceway.frontend.store import SqlStore
from iceway.frontend.users import add_user, list_users, remove_user, set_password, user_address

DOMAIN = "example.test"


@pytest.fixture
def store() -> Iterator[SqlStore]:
    opened = SqlStore()
    yield opened
    opened.close()


def test_a_user_is_added_listed_and_removed(store: SqlStore) -> None:
    add_user(store, "alice", "secret", DOMAIN, 1.0)
    add_user(store, "sip:bob@example.test", "secret", DOMAIN, 2.0)
    assert [user.aor for user in list_users(store)] == ["sip:alice@example.test", "sip:bob@example.test"]
    assert (
        store.owner("alice", DOMAIN) == store.owner("alice@example.test", DOMAIN) == "sip:alice@example.test"
    )
    remove_user(store, "alice@example.test", DOMAIN)
    assert [user.aor for user in list_users(store)] == ["sip:bob@example.test"]


def test_a_password_is_changed_only_for_somebody(store: SqlStore) -> None:
    add_user(store, "alice", "secret", DOMAIN, 1.0)
    old = store.ha1("alice", DOMAIN, "SHA-256")
    set_password(store, "alice", "better", DOMAIN, 2.0)
    assert store.ha1("alice", DOMAIN, "SHA-256") not in (None, old)
    with pytest.raises(UsageError, match=r"no user sip:bob@example\.test"):
        set_password(store, "bob", "better", DOMAIN, 2.0)
    with pytest.raises(UsageError, match="exists already"):
        add_user(store, "alice", "again", DOMAIN, 3.0)


@pytest.mark.parametrize(
    "name",
    ["", "alice@other.test", "alice@", "@example.test", "al ice", "sip:alice;x=y@", "sip:a@example.test:5060",
     "sip:a:pw@example.test", "sip:a@example.test;transport=tls", "sip:a@example.test?x=y"],
)  # fmt: skip
def test_names_that_are_none_are_explained(name: str) -> None:
    with pytest.raises(UsageError):
        user_address(name, DOMAIN)


def test_names_are_canonical() -> None:
    assert user_address("alice@EXAMPLE.test", DOMAIN) == "sip:alice@example.test"
    assert user_address("sips:alice@example.test", DOMAIN) == "sip:alice@example.test"
