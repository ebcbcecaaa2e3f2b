"""The web phone's files: all there, all of this origin, and a plain word where the package was not built."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from iceway.web import phone
from iceway.web.pages import Page

FOLDER = Path(phone.__file__).parent / "page"


@pytest.fixture
def _is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the bundle had been made."""
    files = dict(phone._files()) | {"/jssip.js": Page(b"export {};", "text/javascript")}
    monkeypatch.setattr(phone, "_files", lambda: tuple(files.items()))


def test_where_nothing_was_built_the_page_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {name: page for name, page in phone._files() if name != "/jssip.js"}
    monkeypatch.setattr(phone, "_files", lambda: tuple(files.items()))
    pages = phone.phone_pages("example.test", "/")
    assert pages.missing == phone.NOT_BUILT
    assert list(pages.pages) == ["/"]
    assert pages.pages["/"].status == 503
    assert b"make web" in pages.pages["/"].body


@pytest.mark.usefixtures("_is_built")
def test_the_page_learns_its_domain_and_where_its_websocket_is() -> None:
    pages = phone.phone_pages("example.test", "/sip")
    assert pages.missing is None
    settings = json.loads(pages.pages["/settings.json"].body)
    assert (settings["domain"], settings["websocket"]) == ("example.test", "/sip")
    assert pages.pages["/"].content_type == "text/html; charset=utf-8"


@pytest.mark.usefixtures("_is_built")
def test_whatever_the_files_name_is_there() -> None:
    pages = phone.phone_pages("example.test", "/").pages
    named = set()
    for file in (*FOLDER.glob("*.html"), *FOLDER.glob("*.js")):
        if file.name != phone.BUNDLE:
            text = file.read_text(encoding="utf-8")
            named |= set(re.findall(r'(?:src|href)="(/[^"]*)"|(?:from|fetch\(|import) ?"\.?(/[^"]*)"', text))
    assert {one or other for one, other in named} - set(pages) == set()
    assert len(named) > 5


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    """The content security policy would refuse it, at the guest's."""
    for file in FOLDER.glob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", text), file.name
        assert not re.search(r"https?:|//[a-z]", text), file.name
    assert "url(" not in (FOLDER / "phone.css").read_text(encoding="utf-8")
    for file in FOLDER.glob("*.js"):
        if file.name != phone.BUNDLE:
            text = file.read_text(encoding="utf-8")
            assert not re.search(r"localStorage|innerHTML|document\.cookie|\beval\b", text), file.name
