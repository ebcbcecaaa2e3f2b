"""The store: users whose passwords nobody can read, bindings that outlive the process."""

from __future__ import annotations

import os
from hashlib import md5, sha256
from pathlib import Path

import pytest

from iceway.core.errors import EnvironmentFailure, UsageError
from iceway.frontend.store import SqlStore
from iceway.sip.registrar import Binding

ALICE = "sip:alice@example.test"
NOON = 1_767_268_800.0
PHONE = Binding(
    aor=ALICE,
    contact="<sip:alice@192.0.2.10;transport=tls>;+sip.instance=\"<urn:uuid:1>\"",
    call_id="one",
    cseq=7,
    expires_at=NOON + 600,
    path=("<sip:token@edge.example.test;lr;ob>", "<sip:other;lr>"),
    q=0.5,
    instance="urn:uuid:1",
    reg_id=1,
    outside=True,
    user_agent="phone/1",
    updated_at=NOON,
)  # fmt: skip


def test_bindings_survive_a_restart(tmp_path: Path) -> None:
    first = SqlStore(str(tmp_path / "fe.sqlite"))
    first.replace(ALICE, [PHONE])
    first.close()
    second = SqlStore(str(tmp_path / "fe.sqlite"))
    assert second.bindings(ALICE) == [PHONE]
    assert second.bindings("sip:bob@example.test") == []
    assert second.next_expiry() == NOON + 600
    assert second.take_expired(NOON + 599) == []
    assert second.take_expired(NOON + 600) == [PHONE]
    assert second.next_expiry() is None
    second.close()


def test_a_new_database_is_for_its_owner_only(tmp_path: Path) -> None:
    """The digests in it would let any other account of the machine sign in as anybody."""
    before = os.umask(0o022)
    try:
        store = SqlStore(str(tmp_path / "fe.sqlite"))
        store.set_user(ALICE, "example.test", ("alice",), "correct horse", NOON)
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    finally:
        os.umask(before)
    store.close()
    assert set(modes) >= {"fe.sqlite", "fe.sqlite-wal"}
    assert set(modes.values()) == {0o600}


def test_passwords_are_kept_as_digests_only(tmp_path: Path) -> None:
    path = tmp_path / "fe.sqlite"
    store = SqlStore(str(path))
    assert store.set_user(ALICE, "example.test", ("alice", "alice@example.test"), "correct horse", NOON)
    assert store.ha1("alice", "example.test", "MD5") == md5(b"alice:example.test:correct horse").hexdigest()
    assert (
        store.ha1("alice@example.test", "example.test", "SHA-256")
        == sha256(b"alice@example.test:example.test:correct horse").hexdigest()
    )
    assert store.ha1("alice", "other.test", "MD5") is None
    assert store.ha1("alice", "example.test", "SHA-512-256") is None
    assert store.owner("alice", "example.test") == ALICE
    assert store.owner("bob", "example.test") is None
    store.close()
    for file in tmp_path.iterdir():
        assert b"correct horse" not in file.read_bytes()


def test_a_new_password_replaces_the_old_one_and_keeps_the_user() -> None:
    store = SqlStore()
    store.set_user(ALICE, "example.test", ("alice",), "one", NOON)
    before = store.ha1("alice", "example.test", "MD5")
    assert not store.set_user(ALICE, "example.test", ("alice",), "two", NOON + 5)
    assert store.ha1("alice", "example.test", "MD5") != before
    assert [user.created_at for user in store.users()] == [NOON]
    store.close()


def test_a_removed_user_leaves_nothing() -> None:
    store = SqlStore()
    store.set_user(ALICE, "example.test", ("alice",), "one", NOON)
    store.replace(ALICE, [PHONE])
    assert store.remove_user(ALICE)
    assert not store.remove_user(ALICE)
    assert store.users() == []
    assert store.ha1("alice", "example.test", "MD5") is None
    assert store.bindings(ALICE) == []
    store.close()


def test_two_processes_share_one_database(tmp_path: Path) -> None:
    server, command = (SqlStore(str(tmp_path / "fe.sqlite")) for _ in range(2))
    assert not server.has_user(ALICE)
    command.set_user(ALICE, "example.test", ("alice",), "one", NOON)
    assert server.has_user(ALICE)
    server.close()
    command.close()


def test_an_empty_password_is_refused() -> None:
    store = SqlStore()
    with pytest.raises(UsageError):
        store.set_user(ALICE, "example.test", ("alice",), "", NOON)
    store.close()


@pytest.mark.parametrize("url", ["/no/such/directory/fe.sqlite", "nodialect://x", "sqlite://host:bad/x"])
def test_a_database_that_cannot_be_opened_names_a_remedy(url: str) -> None:
    with pytest.raises(EnvironmentFailure) as failure:
        SqlStore(url)
    assert "cannot be opened" in failure.value.cause
    assert failure.value.remedy


def test_secrets_are_made_once(tmp_path: Path) -> None:
    store = SqlStore(str(tmp_path / "fe.sqlite"))
    assert store.secret("nonces", b"first") == b"first"
    store.close()
    again = SqlStore(str(tmp_path / "fe.sqlite"))
    assert again.secret("nonces", b"second") == b"first"
    assert again.secret("tokens", b"third") == b"third"
    again.close()
