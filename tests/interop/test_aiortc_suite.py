"""aiortc's own tests, from its source distribution, with our agent in place of aioice.

The files are those that come near ICE: about a minute. AIORTC_TESTS=tests runs them all, codecs included.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conftest import unavailable

pytest.importorskip("aiortc")
pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]

FILES = (
    "tests/test_rtcicetransport.py",
    "tests/test_rtcpeerconnection.py",
    "tests/test_ortc.py",
    "tests/test_rtcdtlstransport.py",
    "tests/test_rtcsctptransport.py",
    "tests/test_rtcrtpsender.py",
    "tests/test_rtcrtpreceiver.py",
    "tests/test_contrib_signaling.py",
)
EXCLUDED: dict[str, str] = {}
"""Tests of aioice's inside, each with its reason. There is none that ours does not pass."""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """aiortc as released, in the version that is installed."""
    version = metadata.version("aiortc")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*pip, "--no-binary", ":all:", "--dest", str(tmp_path), f"aiortc=={version}"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if done.returncode:
        unavailable(
            f"aiortc's sources cannot be had: {(done.stderr.strip() or 'pip failed').splitlines()[-1]}"
        )
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    return tmp_path / f"aiortc-{version}"


def test_aiortcs_tests_pass_with_our_agent(sources: Path, tmp_path: Path) -> None:
    files = os.environ.get("AIORTC_TESTS", " ".join(FILES)).split()
    counts = tmp_path / "counts"
    counts.mkdir()
    outcomes, said = run(sources, files, counts)
    assert len(outcomes) > 200, said
    bad = [test for test, good in outcomes.items() if not good]
    if bad:
        # They look after 0.1 s whether DTLS is up, which a busy machine may miss; what is broken fails again.
        outcomes, said = run(sources, bad, counts)
        bad = [test for test, good in outcomes.items() if not good]
    assert set(bad) == set(EXCLUDED), said
    assert sum(int(count.read_text()) for count in counts.iterdir()) > 100  # it was ours that gathered


def run(sources: Path, tests: list[str], counts: Path) -> tuple[dict[str, bool], str]:
    """Which tests passed; a skipped one did not."""
    ours, report = Path(__file__).parent, counts.parent / "report.xml"
    here = [str(ours), str(ours.parents[1] / "src"), os.environ.get("PYTHONPATH", "")]
    options = ["-q", "-p", "aiortc_suite_plugin", "-p", "no:randomly", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--junit-xml={report}", *tests],
        cwd=sources,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(here), "COUNTS": str(counts)},
        capture_output=True,
        text=True,
    )
    assert report.exists(), done.stdout + done.stderr
    outcomes = {}
    for case in ElementTree.parse(report).iter("testcase"):
        package, module, *classes = case.attrib["classname"].split(".")
        test = "::".join((f"{package}/{module}.py", *classes, case.attrib["name"]))
        outcomes[test] = not {part.tag for part in case} & {"failure", "error", "skipped"}
    return outcomes, done.stdout
