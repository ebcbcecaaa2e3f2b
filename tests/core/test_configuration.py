"""Configuration sections: strict about names, frozen, faults with their places."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from iceway.core.configuration import HostName, HostPort, ListenAddress, Section, load_section
from iceway.core.errors import EnvironmentFailure


class Inner(Section):
    at: HostPort


class Outer(Section):
    name: HostName
    listen: ListenAddress = "0.0.0.0:1"
    inner: tuple[Inner, ...] = ()


def test_a_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('name = "a.test"\ninner = [{ at = "b.test:1" }]')
    assert load_section(path, Outer) == Outer(name="a.test", inner=(Inner(at="b.test:1"),))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('nam = "a"', "nam: Extra inputs"),
        ('name = "a b"', "name: "),
        ('name = "a"\nlisten = "a:1"', "listen: 'a' is not an IP address; write an IP address and a port"),
        ('name = "a"\ninner = [{ at = "b" }]', "inner.0.at: 'b' names no port; write host:port"),
        ("name = ", "is not TOML"),
        ('name = "\\ud800"', "is not TOML"),
    ],
)
def test_every_fault_has_a_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(text)
    with pytest.raises(EnvironmentFailure, match=r"a\.toml") as failure:
        load_section(path, Outer)
    assert said in failure.value.cause


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(EnvironmentFailure, match="is not TOML"):
        load_section(path, Outer)


def test_sections_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Outer(name="a").name = "b"
