"""What people are told about a refusal."""

from __future__ import annotations

import pytest

from iceway.sip.refusal import why_refused
from iceway.wire.sip import Headers, Response


@pytest.mark.parametrize(
    ("warnings", "told"),
    [
        ((), "504 Server Time-out"),
        (
            ('399 front.example.test "edge: connection refused"',),
            "504 Server Time-out: edge: connection refused",
        ),
        (('399 [2001:db8::1]:5061 "a \\"quoted\\" word"',), 'a "quoted" word'),
        (
            ('304 isi.edu "Media type not available"', '399 isi.edu "No relay"'),
            "504 Server Time-out: No relay",
        ),
        (('304 isi.edu "Media type not available"',), "504 Server Time-out"),
        (("399 nothing quoted",), "504 Server Time-out"),
        (('399 isi.edu "' + "a" * 5000 + '"',), "a" * 300),
    ],
)
def test_the_refusers_own_words(warnings: tuple[str, ...], told: str) -> None:
    headers = Headers.of(*(("Warning", value) for value in warnings))
    said = why_refused(Response(504, "Server Time-out", headers=headers))
    assert said.startswith("504 Server Time-out")
    assert said.endswith(told)
    assert len(said) < 400
