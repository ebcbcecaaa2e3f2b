"""What a terminal would obey is shown instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iceway.explain.clean import clean


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("INVITE sip:bob@example.test", "INVITE sip:bob@example.test"),
        ("größer → ↔ 🙂", "größer → ↔ 🙂"),
        ("a\x1b[2Jb", "a␛[2Jb"),
        ("two\r\nlines\tand", "two  lines and"),
        ("\x9b31m", "\ufffd31m"),
        ("abc\u202edef", "abc\ufffddef"),
        ("\ud800", "\ufffd"),
        ("\x7f", "␡"),
    ],
)
def test_shows_everything_and_does_nothing(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(st.text())
def test_is_one_line_and_stable(text: str) -> None:
    once = clean(text)
    assert len(once.splitlines()) <= 1
    assert clean(once) == once
