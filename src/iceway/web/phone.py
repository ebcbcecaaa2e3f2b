"""The web phone's files as pages. Its SIP is JsSIP's, which is bundled when the package is built (`make web`).

In a source tree where that has not been done the door says so: in one line when it opens, and on the page.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

from iceway import __version__
from iceway.web.pages import Page, Pages

BUNDLE = "jssip.js"
NOT_BUILT = "The web phone is not built: run `make web` in the source tree (needs npm), and start again."
_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}


def phone_pages(domain: str, websocket_path: str) -> Pages:
    """The page for users of this domain, which finds its WebSocket at this path of the same origin."""
    files = dict(_files())
    if f"/{BUNDLE}" not in files:
        return Pages({"/": Page(f"{NOT_BUILT}\n".encode(), _TYPES["txt"], status=503)}, NOT_BUILT)
    settings = {"domain": domain, "websocket": websocket_path, "version": __version__}
    files["/settings.json"] = Page(json.dumps(settings).encode(), "application/json")
    files["/"] = files.pop("/index.html")
    return Pages(files)


@cache
def _files() -> tuple[tuple[str, Page], ...]:
    folder = resources.files("iceway.web") / "page"
    return tuple(
        (f"/{file.name}", Page(file.read_bytes(), _TYPES[suffix]))
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if (suffix := file.name.rpartition(".")[2]) in _TYPES
    )
