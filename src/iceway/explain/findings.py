"""What went wrong (or only looks so), from records: what was seen, what it means, what to do.

A rule is a function from a `Case` to findings; rules stand in `rules_*.py` by subject and know nothing of each
other. A finding names the entries it rests on. When a call found no path and no rule knows why, that is said too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from iceway.explain.case import Case, Finding, Severity
from iceway.explain.clean import clean
from iceway.explain.model import PathClass
from iceway.explain.rules_media import MEDIA_RULES
from iceway.explain.rules_quality import QUALITY_RULES
from iceway.explain.rules_relay import RELAY_RULES
from iceway.explain.rules_signalling import SIGNALLING_RULES
from iceway.explain.rules_transfer import TRANSFER_RULES
from iceway.trace.entry import Entry

__all__ = ["Finding", "Severity", "findings"]


def findings(entries: Sequence[Entry]) -> list[Finding]:
    """Everything worth knowing about a trace, gravest first; at least one finding for a trace with a call."""
    case = Case(entries)
    found: list[Finding] = []
    for rule in (*SIGNALLING_RULES, *TRANSFER_RULES, *RELAY_RULES, *MEDIA_RULES, *QUALITY_RULES):
        found += [finding for finding in rule(case) if finding not in found]
    if not any(finding.severity is Severity.ERROR for finding in found):
        found = _without_cause(case, found) + found
    found = [
        replace(one, title=clean(one.title), meaning=clean(one.meaning), remedy=clean(one.remedy))
        for one in found
    ]
    return sorted(found, key=lambda finding: list(Severity).index(finding.severity))


def _without_cause(case: Case, found: list[Finding]) -> list[Finding]:
    """The last word where no error was found: all is well, or nobody knows."""
    if not case.verdicts:
        return []
    lost = [
        one for one in case.verdicts if one.path is PathClass.NONE and one.state in ("failed", "checking")
    ]
    if lost:
        one = lost[0]
        return [
            Finding(
                Severity.ERROR,
                f"{case.name(one.node)} found no path, and the records do not say why",
                case.last_of(one.node),
                f"{len(one.pairs)} pairs were tried; the agent's last word is {one.state!r}"
                + (f" ({one.reason})" if one.reason else "")
                + ".",
                "Record both ends and the edge at once and explain the merged trace; a cause needs its other side.",
            )
        ]
    faulty = any(finding.severity is not Severity.INFO for finding in found)
    if faulty or any(one.path is PathClass.NONE for one in case.verdicts):
        return []
    one = case.verdicts[0]
    return [
        Finding(
            Severity.INFO,
            f"The call found the best path that its networks allow: {one.path.value}",
            (),
            "Nothing in the records points to a fault.",
            "Nothing to do.",
        )
    ]
