"""The demo's office on this kernel: every program a process of its own, in the network namespace of its host.

What runs is what anybody would run: `iceway edge`, `iceway frontend`, `iceway answer`, `iceway call`, with
certificates of a development CA and names from the lab's name servers. Each writes its trace; together they
are the trace of the run (all on CLOCK_MONOTONIC, so they fit).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from iceway.core.errors import EnvironmentFailure, ParseError
from iceway.frontend.store import SqlStore
from iceway.frontend.users import add_user
from iceway.io.devca import DevCa
from iceway.lab.namespaces import KernelLab
from iceway.lab.office import EDGE_TOML, FRONTEND_TOML, PEOPLE, password_of
from iceway.lab.topologies import DOMAIN
from iceway.lab.topology import Topology
from iceway.trace.entry import Entry, merge, read_lines

START_LIMIT = 20.0  # seconds until a program must be ready
_POLL = 0.02
_TLS = """
[tls]
certificate = "ca/{name}.pem"
key = "ca/{name}.key"
trust = "ca/ca.pem"
"""


class KernelOffice:
    """The office while it stands, with its files in `directory`. Raises EnvironmentFailure if it cannot be built.

    `allow_peers` are networks that the edge relays to although they are private; `people` is the module that those who
    call and answer run.
    """

    def __init__(
        self,
        topology: Topology,
        directory: Path,
        *,
        allow_peers: Sequence[str] = (),
        frontend_toml: str = FRONTEND_TOML,
        people: str = "iceway",
    ) -> None:
        self.topology = topology
        self._people = people
        self.directory = directory
        self._edge_toml = EDGE_TOML + (f"allow_peers = {json.dumps(allow_peers)}\n" if allow_peers else "")
        self._frontend_toml = frontend_toml
        self._lab = KernelLab(topology)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._traced: list[str] = []

    def __enter__(self) -> Self:
        self._prepare()
        self._lab.__enter__()
        try:
            self.start("frontend", ["frontend", "--config", "frontend.toml"])
            # One after the other, or the trace begins with an edge that is refused.
            self.wait_for_line("frontend", "frontend: ready")
            self.start("edge", ["edge", "--config", "edge.toml"])
            self.wait_for_line("edge", "edge: ready")
        except BaseException:
            self._lab.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._lab.close()

    # --- programs -----------------------------------------------------------------------------------------
    def start(
        self, host: str, arguments: Sequence[str], name: str | None = None, module: str = "iceway"
    ) -> subprocess.Popen[bytes]:
        """Run `iceway …` on a host; its output goes to `{name}.log`, its trace to `{name}.jsonl`."""
        name = name or host
        self._traced.append(name)
        return self.launch(host, [sys.executable, "-m", module, *arguments, "--trace", f"{name}.jsonl"], name)

    def launch(self, host: str, argv: Sequence[str], name: str) -> subprocess.Popen[bytes]:
        """Run any program on a host, in the office's directory; its output goes to `{name}.log`."""
        with (self.directory / f"{name}.log").open("wb") as log:
            process = self._lab.popen(
                host,
                argv,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._processes[name] = process
        return process

    def words(self, host: str) -> list[str]:
        """What to put before a command line that somebody else starts, so that it runs on a host."""
        return self._lab.words(host)

    def enter(self, host: str) -> contextlib.AbstractContextManager[None]:
        """Put this thread onto a host for the length of a block; sockets made there stay there."""
        return self._lab.enter(host)

    def answers(
        self, name: str, play: Path, record: str, ring_for: float = 1.0, options: Sequence[str] = ()
    ) -> None:
        """Somebody registers and will answer one call; returns when they are ready."""
        arguments = ["answer", "--once", "--ring-for", str(ring_for), "--play", str(play), "--record", record]
        self.start(name, [*arguments, *options, *self._account(name)], module=self._people)
        self.wait_for_line(name, "registered as")

    def calls(
        self,
        name: str,
        peer: str,
        play: Path,
        record: str,
        limit: float = 40.0,
        options: Sequence[str] = (),
    ) -> int:
        """Somebody calls, until the call is over; the exit code of `iceway call`."""
        arguments = ["call", f"{peer}@{DOMAIN}", "--play", str(play), "--record", record, *options]
        process = self.start(name, [*arguments, *self._account(name)], module=self._people)
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            raise EnvironmentFailure(
                f"{name}'s call did not end within {limit:.0f} s", f"Its output: {self.log(name)}"
            ) from None

    def stop(self, name: str, limit: float = 10.0) -> int:
        """Let a program end by itself, or end it as SIGTERM does."""
        process = self._processes[name]
        if process.poll() is None:
            process.terminate()
        return process.wait(limit)

    def ends(self, name: str, limit: float = 10.0) -> int:
        """Wait until a program has ended by itself."""
        try:
            return self._processes[name].wait(limit)
        except subprocess.TimeoutExpired:
            return self.stop(name)

    def wait_for_line(self, name: str, text: str, limit: float = START_LIMIT) -> None:
        """Until a program has printed this; EnvironmentFailure with its output if it does not."""
        deadline = time.monotonic() + limit
        while text not in self.log(name):
            if self._processes[name].poll() is not None or time.monotonic() > deadline:
                raise EnvironmentFailure(
                    f"{name} does not get as far as {text!r}", f"Its output:\n{self.log(name)}"
                )
            time.sleep(_POLL)

    def log(self, name: str) -> str:
        path = self.directory / f"{name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    # --- what happened ------------------------------------------------------------------------------------
    def trace(self) -> list[Entry]:
        """The entries of all programs that have written theirs, in order, from instant 0 on."""
        traces = []
        for name in dict.fromkeys(self._traced):
            try:
                with (self.directory / f"{name}.jsonl").open(encoding="utf-8") as lines:
                    traces.append(list(read_lines(lines)))
            except (OSError, ParseError) as error:
                raise EnvironmentFailure(f"the trace of {name} cannot be read: {error}") from error
        together = merge(*traces)
        start = together[0].at if together else 0.0
        return [entry._replace(at=entry.at - start) for entry in together]

    # --- files --------------------------------------------------------------------------------------------
    def _prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        authority = DevCa.open(self.directory / "ca")
        for name, toml in (("edge", self._edge_toml), ("frontend", self._frontend_toml)):
            authority.issue(name, [f"{name}.{DOMAIN}"])
            (self.directory / f"{name}.toml").write_text(toml + _TLS.format(name=name), encoding="utf-8")
        store = SqlStore(str(self.directory / "frontend.sqlite"))
        for person in PEOPLE:
            if not store.has_user(f"sip:{person}@{DOMAIN}"):
                add_user(store, person, password_of(person), DOMAIN, time.time())
            password = self.directory / f"{person}.password"
            password.write_text(password_of(person) + "\n", encoding="utf-8")
            password.chmod(0o600)
        store.close()

    def _account(self, name: str) -> list[str]:
        return ["--as", f"{name}@{DOMAIN}", "--password-file", f"{name}.password", "--ca", "ca/ca.pem"]
