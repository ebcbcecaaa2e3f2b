"""A package that is built where npm is missing has no bundle and says so in a line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_without_npm_there_is_a_wheel_and_a_word_about_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    unbuilt = shutil.ignore_patterns("__pycache__", "jssip*")
    for name in ("src/iceway/web", "web"):
        shutil.copytree(ROOT / name, tree / name, ignore=unbuilt)
    made = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "dist"],
        cwd=tree,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "iceway is built without its web phone: npm is missing" in made.stdout + made.stderr
    (wheel,) = (tree / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "iceway/web/page/index.html" in names
    assert "iceway/web/page/jssip.js" not in names
