"""Search for an hour, or as long as told: `python -m tests.fuzz stun candidate --seconds 600`.

One process a target, all at the same time. What was found interesting stays in build/fuzz/TARGET and is where the
next search begins; an input that breaks a target is written there as `broken-…` and ends the search with an error.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import subprocess
import sys
from pathlib import Path

TARGETS = ("stun", "candidate", "turn_stream", "ice_stream", "sdp", "mdns", "server_uri", "http")
ROOT = Path("build/fuzz")
MAX_INPUT = 2048


def search(name: str, seconds: int) -> None:
    """Runs atheris on a target; does not return."""
    import atheris

    with atheris.instrument_imports(include=["iceway"]):
        target = importlib.import_module(f"tests.fuzz.{name}")
    corpus = ROOT / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    options = [f"-max_total_time={seconds}", f"-max_len={MAX_INPUT}", "-timeout=10", "-rss_limit_mb=1024"]
    options += [f"-artifact_prefix={corpus}/broken-", "-print_final_stats=1", "-verbosity=1"]
    atheris.Setup([name, *options, str(corpus)], target.check)
    atheris.Fuzz()


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    arguments.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    arguments.add_argument("--seconds", type=int, default=3600, help="how long to search")
    arguments.add_argument("--here", action="store_true", help="in this process; one target only")
    asked = arguments.parse_args()
    if not set(asked.targets) <= set(TARGETS):
        arguments.error(f"targets are {', '.join(TARGETS)}")
    if asked.here:
        search(asked.targets[0], asked.seconds)
    commands = {
        name: [sys.executable, "-m", "tests.fuzz", "--here", "--seconds", str(asked.seconds), name]
        for name in asked.targets or TARGETS
    }
    searches = {name: subprocess.Popen(command) for name, command in commands.items()}
    broken = [name for name, running in searches.items() if running.wait() != 0]
    print(f"broken: {', '.join(broken)}; see {ROOT}" if broken else "nothing found")  # noqa: T201
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
