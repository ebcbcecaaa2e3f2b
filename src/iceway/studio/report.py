"""The HTML report: one file, nothing loaded from anywhere, in which a reader steps through calls.

The data is JSON in a script tag that no browser executes. Records hold what strangers sent, so every character
that could end the tag is escaped here, the page's script puts text in as text only, and a content security policy
names the one script and the one style that may run by their hashes. Pictures are those that the page carries itself.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import iceway
from iceway.core.errors import EnvironmentFailure
from iceway.studio.model import CallReport, ContactSheet, call_model

__all__ = ["CallReport", "ContactSheet", "report_html", "write_report"]

_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def write_report(
    path: str | os.PathLike[str], calls: Sequence[CallReport], title: str = "Calls, step by step"
) -> Path:
    """Write the report and return where it is. Folders on the way are made."""
    target = Path(path)
    text = report_html(calls, title)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EnvironmentFailure(
            f"the report cannot be written to {target}: {error.strerror}", "Choose another place."
        ) from error
    return target


def report_html(calls: Sequence[CallReport], title: str = "Calls, step by step") -> str:
    """The whole page as text."""
    models = [call_model(call) for call in calls]
    script, style = _asset("page.js"), _asset("page.css")
    parts = {
        "TITLE": html.escape(title),
        "VERSION": html.escape(iceway.__version__),
        "PLAIN": html.escape(_plain(models)),
        "SCRIPT_HASH": _hash(script),
        "STYLE_HASH": _hash(style),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": embed({"title": title, "calls": models}),
    }
    page = _asset("page.html")
    pieces = page.split("@")
    # `@NAME@` alternates with plain text; the template holds no other @.
    return "".join(parts[piece] if place % 2 else piece for place, piece in enumerate(pieces))


def embed(value: Any) -> str:
    """JSON that is safe between script tags, whatever it holds; lone surrogates are replaced, since files are UTF-8."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    text = text.encode("utf-8", "replace").decode("utf-8")
    for char, escape in _ESCAPES.items():
        text = text.replace(char, escape)
    return text


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _asset(name: str) -> str:
    return resources.files("iceway.studio").joinpath("page", name).read_text(encoding="utf-8")


def _plain(models: Sequence[dict[str, Any]]) -> str:
    """What a reader without JavaScript gets."""
    return "\n".join(f"{model['title']}: {model['headline']}. {model['timing']}" for model in models)
