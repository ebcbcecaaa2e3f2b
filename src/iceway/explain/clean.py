"""Text of strangers made fit for a terminal: no escape sequences, no second lines, no reversed reading.

Records quote what came from the network. Whatever a terminal would obey rather than show becomes a visible sign.
"""

from __future__ import annotations

_REPLACED = {code: chr(0x2400 + code) for code in range(0x20)}  # ␀ … ␟
_REPLACED |= {0x09: " ", 0x0A: " ", 0x0D: " ", 0x7F: "\u2421"}
_REPLACED |= dict.fromkeys(range(0x80, 0xA0), "\ufffd")
_REPLACED |= dict.fromkeys((0x2028, 0x2029), " ")
# marks that turn the direction of reading (CVE-2021-42574)
_REPLACED |= dict.fromkeys((0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")
_REPLACED |= dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def clean(text: str) -> str:
    """One line that shows everything and does nothing."""
    return text if text.isascii() and text.isprintable() else text.translate(_REPLACED)
