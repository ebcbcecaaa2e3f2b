"""SIP libraries of browsers from npm, each bundled into one script. Made once and kept; wants npm and its registry."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

ESBUILD = "esbuild@0.28.2"


@cache
def bundle(package: str, entry: str) -> Path | str:
    """The script that the entry makes of the package ("jssip@3.13.8"), or why there is none."""
    if shutil.which("npm") is None:
        return "npm missing: apt-get install npm"
    home = Path(tempfile.gettempdir()) / f"iceway-{package.replace('@', '-')}-{os.getuid()}"
    script = home / "bundle.js"
    if script.exists():
        return script
    home.mkdir(exist_ok=True)
    (home / "entry.js").write_text(entry)
    install = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", package, ESBUILD]
    build = ["node_modules/.bin/esbuild", "entry.js", "--bundle", "--define:global=window"]
    try:
        for command in (install, [*build, "--outfile=made.js"]):
            subprocess.run(command, cwd=home, check=True, capture_output=True, text=True, timeout=90)
        (home / "made.js").rename(script)
    except subprocess.TimeoutExpired:
        return f"{package} cannot be had: npm did not answer in 90 s"
    except (subprocess.CalledProcessError, OSError) as error:
        complaint = str(getattr(error, "stderr", "") or error).strip().splitlines()
        return f"{package} cannot be had: {complaint[0] if complaint else error}"
    return script
