"""The suites that need the outside: when they run, skip or fail."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

SUITE = """
    import pytest
    @pytest.mark.interop("no-such-program")
    def test_impossible(): pass
    @pytest.mark.interop("sh")
    def test_possible(): pass
    def test_ordinary(): pass
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest((Path(__file__).parent / "conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers =\n    interop: x\n    kernel: x\n")
    pytester.makepyfile(test_suite=SUITE)
    return pytester


def test_they_are_skipped_unless_asked_for(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    result = suite.runpytest_subprocess("-rs")
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["*not asked for: make interop*"])


@pytest.mark.parametrize(
    "arguments", [["-m", "interop"], ["test_suite.py", "-m", ""], ["test_suite.py::test_impossible"]]
)
def test_a_missing_program_skips_with_its_package(
    suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.delenv("CI", raising=False)
    result = suite.runpytest_subprocess("-rs", *arguments)
    result.assert_outcomes(skipped=1, passed=result.parseoutcomes().get("passed", 0))
    result.stdout.fnmatch_lines(["*no-such-program missing: apt-get install no-such-program*"])


def test_a_missing_program_fails_in_ci(suite: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    result = suite.runpytest_subprocess("-m", "interop")
    assert result.parseoutcomes()["passed"] == 1
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*CI must be able to run this: no-such-program missing*"])
