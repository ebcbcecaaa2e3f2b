"""The same seed gives the same trace, byte for byte, whatever the hash seed of the process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time

from iceway.lab import topologies
from iceway.trace.entry import Entry, to_json
from tests.e2e.calls import both_join, talk


def trace_of(name: str, seed: int) -> list[Entry]:
    """A whole call in one of the topologies."""
    office, alice, bob = both_join(topologies.named(name), seed)
    talk(alice, bob, seconds=2.0)
    return office.close()


def lines_of(name: str, seed: int) -> bytes:
    return "".join(to_json(entry) + "\n" for entry in trace_of(name, seed)).encode()


def test_the_hash_seed_changes_nothing() -> None:
    program = (
        "import sys; from tests.e2e.test_determinism import lines_of; "
        "[sys.stdout.buffer.write(lines_of(name, 7)) for name in ('reflexive', 'relayed_tcp')]"
    )
    started = {
        hash_seed: subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
        )
        for hash_seed in ("0", "1", "42")
    }
    traces = {hash_seed: process.communicate()[0] for hash_seed, process in started.items()}
    assert all(process.returncode == 0 for process in started.values())
    assert min(text.count(b"\n") for text in traces.values()) > 600
    digests = {seed: hashlib.sha256(text).hexdigest() for seed, text in traces.items()}
    assert len(set(digests.values())) == 1, first_difference(traces["0"], traces["1"], traces["42"])


def test_another_seed_is_another_call() -> None:
    assert lines_of("reflexive", 7) != lines_of("reflexive", 8)


def test_a_second_call_of_the_same_process_is_the_same() -> None:
    """No state of modules or classes is left over. Says how long a call takes."""
    traces = []
    for _ in range(2):
        began = time.perf_counter()
        traces.append(lines_of("relayed_udp", 3))
        took = time.perf_counter() - began
        sys.stdout.write(f"a virtual call took {took:.2f} s of wall time\n")
    assert traces[0] == traces[1], first_difference(*traces)


def first_difference(*traces: bytes) -> str:
    for lines in zip(*(trace.splitlines() for trace in traces), strict=False):
        if len(set(lines)) > 1:
            return "\n".join(line.decode()[:600] for line in lines)
    return "one of the traces goes on where another ends"
