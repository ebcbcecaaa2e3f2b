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
    report, counts = tmp_path / "report.xml", tmp_path / "counts"
    counts.mkdir()
    ours = Path(__file__).parent
    here = [str(ours), str(ours.parents[1] / "src"), os.environ.get("PYTHONPATH", "")]
    options = ["-q", "-n", "2", "-p", "no:randomly", "-p", "no:cacheprovider", "-o", "filterwarnings=default"]
    files = os.environ.get("AIORTC_TESTS", " ".join(FILES)).split()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "aiortc_suite_plugin",
            *options,
            f"--junit-xml={report}",
            *files,
        ],
        cwd=sources,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(here), "COUNTS": str(counts)},
        capture_output=True,
        text=True,
    )
    assert report.exists(), done.stdout + done.stderr
    cases = list(ElementTree.parse(report).iter("testcase"))
    outcomes = {f"{case.get('classname')}.{case.get('name')}": {part.tag for part in case} for case in cases}
    bad = {test for test, parts in outcomes.items() if parts & {"failure", "error", "skipped"}}
    assert bad == set(EXCLUDED), done.stdout
    assert len(outcomes) > 200
    assert sum(int(count.read_text()) for count in counts.iterdir()) > 100  # it was ours that gathered
