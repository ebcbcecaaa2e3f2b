"""Which versions are compared."""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import PackageNotFoundError, version

from tests.interop.peers.programs import HERE


def versions() -> dict[str, str]:
    return {
        "iceway": _package("iceway"),
        "aioice": _package("aioice"),
        "libnice": _libnice(),
        "pion": _pion(),
    }


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _libnice() -> str:
    """As its package is called: the library does not say."""
    asked = ["dpkg-query", "-W", "-f", "${Version}", "libnice10"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout or "unknown"
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _pion() -> str:
    found = re.search(r"pion/ice/v4 v(\S+)", (HERE / "pion" / "go.mod").read_text())
    return found[1] if found else "unknown"
