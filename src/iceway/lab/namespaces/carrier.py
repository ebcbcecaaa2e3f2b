"""The process that carries the frames of all links that are more than a cable, and what becomes of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

from iceway.core.errors import EnvironmentFailure
from iceway.lab.namespaces.kernel import Namespace
from iceway.lab.topology import Link
from iceway.lab.wires import READY, argument


class Carrier:
    """`iceway.lab.wires` in the hub of a laboratory. It lives until it is closed, or until we are gone."""

    def __init__(self, hub: Namespace, wires: Mapping[str, tuple[Link, Sequence[str]]], seed: int) -> None:
        argv = [sys.executable, "-m", "iceway.lab.wires", argument(seed, wires)]
        self._process = subprocess.Popen(
            ["nsenter", f"--net={hub.path}", "--", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self) -> None:
        """Until frames are carried. Raises EnvironmentFailure if they will not be."""
        assert self._process.stdout is not None
        if self._process.stdout.readline() != READY:
            raise EnvironmentFailure("the laboratory's links do not come up", self._last_words())

    def close(self) -> str | None:
        """End it; if it had ended before, and frames were lost for no reason of the topology, its last words."""
        if self._process.stderr is None or self._process.stderr.closed:
            return None
        words = self._last_words()
        return words if self._process.returncode else None

    def _last_words(self) -> str:
        told = (
            self._process.communicate()[1].decode(errors="replace").strip()
        )  # at the end of its input it leaves
        return told or f"exit status {self._process.returncode}"
