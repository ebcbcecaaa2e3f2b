from __future__ import annotations

from collections.abc import Iterator

import pytest

import iceway
from iceway import cli
from iceway.core.errors import EnvironmentFailure, ParseError, UsageError


@pytest.fixture
def failing() -> Iterator[list[Exception]]:
    """A command `fail` that raises what the test puts in the list."""
    raised: list[Exception] = []

    @cli.app.command("fail")
    def fail() -> None:
        raise raised[0]

    yield raised
    cli.app.registered_commands.pop()


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str], failing: list[Exception]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"iceway {iceway.__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            EnvironmentFailure("cannot read edge.pem", "Run as its owner."),
            3,
            "iceway: cannot read edge.pem\n  Run as its owner.\n",
        ),
        (UsageError("no such topology: moon"), 2, "iceway: no such topology: moon\n"),
        (ParseError("line 3: not a trace line"), 1, "iceway: line 3: not a trace line\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_say_cause_and_next_step_and_set_the_exit_code(
    failing: list[Exception], capsys: pytest.CaptureFixture[str], error: Exception, code: int, words: str
) -> None:
    failing.append(error)
    assert cli.run(["fail"]) == code
    assert capsys.readouterr().err == words


def test_bugs_are_not_hidden(failing: list[Exception]) -> None:
    failing.append(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        cli.run(["fail"])


@pytest.mark.parametrize("arguments", [["nonsense"], ["--nonsense"], ["fail", "--nonsense"]])
def test_wrong_usage_is_exit_code_2_with_a_message(
    failing: list[Exception], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert cli.run(arguments) == 2
    assert "nonsense" in capsys.readouterr().err
