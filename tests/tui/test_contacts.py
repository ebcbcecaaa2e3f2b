from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.core.errors import UsageError
from iceway.tui.contacts import MAX_RECENT, Contact, ContactBook, Recent

BOB = Contact("Bob", "sip:bob@example.test")


def book(where: Path) -> ContactBook:
    return ContactBook(where / "config" / "contacts.toml", where / "state" / "calls.toml")


def test_a_contact_is_there_again_next_time_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    first = book(tmp_path)
    first.put(Contact("Carol", "sip:carol@example.test"))
    first.put(BOB)
    first.called(Recent("sip:bob@example.test", 1_700_000_000.5, True, True, 42.0, "they hung up"))
    again = book(tmp_path)
    assert [one.name for one in again.contacts] == ["Bob", "Carol"]
    assert again.recent == first.recent
    assert not again.trouble
    assert os.stat(tmp_path / "config" / "contacts.toml").st_mode & 0o077 == 0


@given(st.text(min_size=1, max_size=50), st.text(max_size=50))
def test_any_name_survives_the_file(tmp_path_factory: pytest.TempPathFactory, name: str, reason: str) -> None:
    where = tmp_path_factory.mktemp("book")
    one = book(where)
    try:
        one.put(Contact(name, "sip:x@example.test"))
    except UsageError:
        assert not name.strip() or not one.contacts
        return
    one.called(Recent("sip:x@example.test", 1.0, reason=reason))
    again = book(where)
    assert not again.trouble
    assert again.contacts == one.contacts
    assert len(again.recent) == 1


def test_a_contact_is_changed_and_deleted(tmp_path: Path) -> None:
    one = book(tmp_path)
    one.put(BOB)
    one.put(Contact("Robert", "sip:bob@example.test"), instead_of=BOB)
    assert [contact.name for contact in book(tmp_path).contacts] == ["Robert"]
    one.remove(one.contacts[0])
    assert not book(tmp_path).contacts


def test_two_contacts_of_one_name_would_be_called_for_each_other(tmp_path: Path) -> None:
    one = book(tmp_path)
    one.put(BOB)
    with pytest.raises(UsageError, match="a contact bob already"):
        one.put(Contact("bob", "sip:robert@example.test"))
    with pytest.raises(UsageError, match="a name and an address"):
        one.put(Contact("  ", "sip:x@example.test"))


@pytest.mark.parametrize(
    "text",
    ["[[contact", "contact = 3", "[[contact]]\nname = 3\naddress = 'x'", "[[contact]]\nname = 'x'", "\xff"],
    ids=["no TOML", "no table", "a number", "no address", "no UTF-8"],
)
def test_a_file_that_cannot_be_read_is_told_and_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config" / "contacts.toml"
    file.parent.mkdir()
    file.write_bytes(text.encode("latin-1"))
    one = book(tmp_path)
    assert str(file) in one.trouble
    one.put(BOB)
    assert [contact.name for contact in one.contacts] == ["Bob"]  # for as long as the phone is open
    assert file.read_bytes() == text.encode("latin-1")


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a file")
    one = book(tmp_path)
    one.put(BOB)
    assert "cannot be written" in one.trouble or "cannot be read" in one.trouble


def test_people_go_by_the_names_that_we_gave_them(tmp_path: Path) -> None:
    one = book(tmp_path)
    one.put(BOB)
    assert one.name_of("sip:bob@EXAMPLE.test;transport=tls") == "Bob"
    assert one.name_of("sip:carol@example.test") == "carol"
    assert one.address_of(" BOB ") == "sip:bob@example.test"
    assert one.address_of("carol") is None
    assert one.knows("sips:bob@example.test")
    assert not one.knows("sip:bob@other.test")


def test_names_of_strangers_do_nothing_to_the_terminal(tmp_path: Path) -> None:
    one = book(tmp_path)
    assert "\x1b" not in one.name_of("sip:\x1b[2Jbob@example.test")
    one.put(Contact("\x1b]0;owned\x07", "sip:\x1bbob@example.test"))
    assert not {"\x1b", "\x07"} & set("".join(f"{c.name}{c.address}" for c in one.contacts))


def test_no_more_calls_are_kept_than_anybody_reads(tmp_path: Path) -> None:
    one = book(tmp_path)
    for at in range(MAX_RECENT + 5):
        one.called(Recent("sip:bob@example.test", float(at)))
    assert len(one.recent) == len(book(tmp_path).recent) == MAX_RECENT
    assert one.recent[0].at == MAX_RECENT + 4


def test_the_files_are_where_users_keep_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    one = ContactBook.of_user()
    one.put(BOB)
    one.called(Recent(BOB.address, 1.0))
    assert (tmp_path / "c" / "iceway" / "contacts.toml").is_file()
    assert (tmp_path / "s" / "iceway" / "calls.toml").is_file()
