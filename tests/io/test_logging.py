from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from iceway.core.address import Address
from iceway.io import logging as iceway_logging
from iceway.io.recorder import Recorder
from iceway.trace.records import Note, PairSucceeded, SipSent


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    logger = logging.getLogger("iceway")
    before = (logger.handlers[:], logger.propagate, logger.level)
    yield
    logger.handlers[:], logger.propagate = before[0], before[1]
    logger.setLevel(before[2])


def told(*, verbose: bool) -> list[str]:
    stream = io.StringIO()
    iceway_logging.configure(verbose=verbose, stream=stream)
    recorder = Recorder(listeners=(iceway_logging.record_logger(),))
    a, b = Address("10.0.0.5", 5061), Address("198.51.100.2", 443)
    recorder.record(PairSucceeded("call.1/ice", 3, 0.0412, b), 100.0, "alice")
    recorder.record(
        SipSent("tls", a, b, "INVITE sip:bob@x SIP/2.0", "c1", "1 INVITE", "INVITE …"), 100.25, "alice"
    )
    recorder.record(Note("warning", "peer said \x1b[2J" + "x" * 300), 101.0, "edge")
    return stream.getvalue().splitlines()


def test_with_verbose_every_record_is_one_readable_line() -> None:
    lines = told(verbose=True)
    assert (
        lines[0]
        == "    0.000 alice      PairSucceeded agent=call.1/ice pair=3 round_trip=0.041 mapped=198.51.100.2:443"
    )
    assert lines[1] == (
        "    0.250 alice      SipSent transport=tls local=10.0.0.5:5061 remote=198.51.100.2:443 "
        "start_line='INVITE sip:bob@x SIP/2.0' call_id=c1 cseq='1 INVITE'"
    )
    assert "\x1b" not in lines[2]
    assert lines[2].endswith("x…")
    assert len(lines) == 3


def test_without_it_only_warnings_are() -> None:
    (line,) = told(verbose=False)
    assert "peer said" in line
