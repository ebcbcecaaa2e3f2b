"""The peers there are: how each is started, and why it cannot be where it cannot."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = HERE.parents[2] / "src"
SYSTEM_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Program:
    """`missing` says in one line what this machine lacks for it, or nothing; `command` may build it first."""

    name: str
    missing: Callable[[], str]
    command: Callable[[], list[str]]


def environment() -> dict[str, str]:
    """What the programs are started with: they import ours from where the tests do."""
    return {**os.environ, "PYTHONPATH": str(SOURCES), "PYTHONDONTWRITEBYTECODE": "1"}


# --- aioice, libnice --------------------------------------------------------------------------------------
def _no_aioice() -> str:
    return "" if importlib.util.find_spec("aioice") else "aioice missing: pip install aioice"


@functools.cache
def _no_libnice() -> str:
    bindings = "import gi; gi.require_version('Nice', '0.1'); from gi.repository import Nice"
    try:
        subprocess.run([SYSTEM_PYTHON, "-c", bindings], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return f"libnice for {SYSTEM_PYTHON} missing: apt-get install python3-gi gir1.2-nice-0.1"
    return ""


# --- pion -----------------------------------------------------------------------------------------------
def _pion_binary() -> Path:
    """Where the program is kept, by what it is made of."""
    made_of = hashlib.sha256()
    for name in ("main.go", "go.mod", "go.sum"):
        made_of.update((HERE / "pion" / name).read_bytes())
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "iceway" / f"pion-peer-{made_of.hexdigest()[:16]}"


@functools.cache
def _no_pion() -> str:
    """Builds it, once; the modules come from Go's proxy."""
    binary = _pion_binary()
    if binary.exists():
        return ""
    binary.parent.mkdir(parents=True, exist_ok=True)
    fresh = binary.with_suffix(f".{os.getpid()}")
    try:
        subprocess.run(
            ["go", "build", "-trimpath", "-buildvcs=false", "-o", str(fresh), "."],
            cwd=HERE / "pion",
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        )
    except FileNotFoundError:
        return "pion's peer cannot be built: go missing, 1.24 or newer (https://go.dev/dl)"
    except subprocess.TimeoutExpired:
        return "pion's peer cannot be built: go build took longer than 300 s"
    except subprocess.CalledProcessError as error:
        complaint = error.stderr.strip().splitlines() or ["go build failed"]
        return f"pion's peer cannot be built: {complaint[-1]}"
    fresh.replace(binary)
    return ""


def _python(name: str, python: str = sys.executable) -> Callable[[], list[str]]:
    return lambda: [python, str(HERE / name)]


ICEWAY = Program("iceway", lambda: "", _python("iceway_peer.py"))
AIOICE = Program("aioice", _no_aioice, _python("aioice_peer.py"))
LIBNICE = Program("libnice", _no_libnice, _python("libnice_peer.py", SYSTEM_PYTHON))
PION = Program("pion", _no_pion, lambda: [str(_pion_binary())])

OTHERS = (AIOICE, LIBNICE, PION)
EVERYBODY = (ICEWAY, *OTHERS)
