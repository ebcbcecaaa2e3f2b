"""Bundles JsSIP for the web phone: `make web` puts it into the source tree, and every wheel that is built has it.

What npm installs is pinned with its checksums by package-lock.json and runs no scripts of its own. Where npm is
missing the package is built without the web phone, and says so in one line.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = Path("src/iceway/web/page")
BUNDLE, NOTICES = "jssip.js", "jssip-licences.txt"
_INSTALL = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
_BUNDLE = ("node", "node_modules/esbuild/bin/esbuild", "bundle.mjs", "--bundle", "--minify", "--format=esm")


class NotBuilt(Exception):
    """Why there is no bundle, in a line."""


def build(into: Path, patience: float = 180.0) -> None:
    """Make the bundle, and the licences of what is in it. Raises NotBuilt."""
    if shutil.which("npm") is None:
        raise NotBuilt("npm is missing (apt-get install npm)")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        for file in ("package.json", "package-lock.json", "bundle.mjs"):
            shutil.copy(HERE / file, work)
        for command in (_INSTALL, (*_BUNDLE, "--define:global=globalThis", f"--outfile={BUNDLE}")):
            _run(command, work, patience)
        (work / NOTICES).write_text(_licences(work / "node_modules"), encoding="utf-8")
        for file in (NOTICES, BUNDLE):
            shutil.copy(work / file, into / file)


def _run(command: tuple[str, ...], work: Path, patience: float) -> None:
    try:
        subprocess.run(command, cwd=work, check=True, capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired as error:
        raise NotBuilt(f"{command[0]} {command[1]} did not end in {patience:g} s") from error
    except (subprocess.CalledProcessError, OSError) as error:
        told = str(getattr(error, "stderr", "") or error).strip().splitlines()
        raise NotBuilt(f"{command[0]} {command[1]}: {told[0] if told else 'failed'}") from error


def _licences(modules: Path) -> str:
    """The notices that have to go with the bundle; esbuild is not in it."""
    found = []
    for package in sorted(
        path.parent for path in modules.glob("*/package.json") if path.parent.name != "esbuild"
    ):
        for file in sorted(package.glob("[Ll][Ii][Cc][Ee][Nn][CcSs][Ee]*")):
            found.append(f"{package.name}\n\n{file.read_text(encoding='utf-8').strip()}\n")
    return "\n".join(found)


def main() -> int:
    try:
        build(HERE.parent / PAGE)
    except NotBuilt as reason:
        print(f"The web phone is not built: {reason}", file=sys.stderr)
        return 3
    print(f"The web phone is built into {PAGE}")
    return 0


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a program
    pass
else:

    class BundleHook(BuildHookInterface[Any]):
        """Puts the bundle into wheels. An editable install takes what `make web` has put into the tree, or nothing."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            if version == "editable":
                return
            try:
                build(HERE.parent / PAGE)
            except NotBuilt as reason:
                if not (HERE.parent / PAGE / BUNDLE).exists():  # made earlier
                    self.app.display_warning(f"iceway is built without its web phone: {reason}")
                    return
            build_data["artifacts"] += [f"{PAGE}/{file}" for file in (BUNDLE, NOTICES)]


if __name__ == "__main__":
    sys.exit(main())
