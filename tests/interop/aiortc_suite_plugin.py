"""Loaded into the run of aiortc's own tests: our agent in place of aioice, and a count of what it did.

aiortc's tests shorten aioice's timers so that failures come soon; here ours are shortened, for the same tests.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import iceway.aiortc
from iceway.ice.config import AgentConfig
from iceway.io.recorder import Recorder
from iceway.trace.entry import Entry
from iceway.trace.records import GatheringStarted

_gathered = 0


def _count(entry: Entry) -> None:
    global _gathered
    _gathered += isinstance(entry.record, GatheringStarted)


iceway.aiortc.install(
    iceway.aiortc.Settings(
        agent=AgentConfig(controlling=False, patience=1.0, rto=0.02), recorder=Recorder(listeners=(_count,))
    )
)


@pytest.hookimpl
def pytest_sessionfinish() -> None:
    Path(os.environ["COUNTS"], str(os.getpid())).write_text(str(_gathered))
