"""Configuration files: TOML into checked, frozen values, with faults told by the name of their field."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from iceway.core.address import Address, split_host_port
from iceway.core.errors import EnvironmentFailure, ParseError


class Section(BaseModel):
    """A table of a configuration file: frozen, and strict about names, so that a typo is no silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Section)


def _endpoint(text: str) -> str:
    try:
        _, port = split_host_port(text)
    except ParseError as error:
        raise ValueError(str(error)) from error
    if port is None:
        raise ValueError(f"{text!r} names no port; write host:port")
    return text


def _listen_address(text: str) -> str:
    try:
        Address.parse(text)
    except ParseError as error:
        raise ValueError(f"{error}; write an IP address and a port, such as 0.0.0.0:5061") from error
    return text


def _origin(text: str) -> str:
    if text != "*" and re.fullmatch(r"https?://[a-z0-9.\-]+(:[0-9]{1,5})?", text) is None:
        raise ValueError(
            f"{text!r} is no origin; write https://phone.example.org, in lower case, without a path"
        )
    return text


HostPort = Annotated[str, AfterValidator(_endpoint)]
ListenAddress = Annotated[str, AfterValidator(_listen_address)]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.\-]*[A-Za-z0-9])?$", max_length=253)]
Origin = Annotated[str, AfterValidator(_origin)]
"""Where a page comes from, as browsers say it (RFC 6454 §6.2); "*": from anywhere."""
UrlPath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9._~/\-]*$", max_length=200)]


def load_section(path: Path, section: type[S]) -> S:
    """Read a whole file as one section; raises EnvironmentFailure naming file, field and fault."""
    try:
        return section.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise EnvironmentFailure(
            f"{path} cannot be read: {error.strerror}", "Name a readable file (--config)."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EnvironmentFailure(f"{path} is not TOML: {error}", "See the examples in config/.") from error
    except ValidationError as error:
        raise EnvironmentFailure(f"{path}: {describe(error)}", "See the examples in config/.") from error


def describe(error: ValidationError) -> str:
    """What is wrong with a configuration, every fault with its place: `edges.0.mras: … names no port`."""
    faults = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"]) or "the file"
        faults.append(f"{where}: {fault['msg'].removeprefix('Value error, ')}")
    return "; ".join(faults)
