"""Draws the SIP transaction machines into docs/transactions.md, from the tables that run them.

A test fails when the drawing is out of date: `python docs/draw_transactions.py` makes it anew.
"""

from __future__ import annotations

from pathlib import Path

from iceway.sip.transaction import FIRST_STATE, TABLES, TIMERS, Event, Kind, Timer

TARGET = Path(__file__).with_name("transactions.md")
HEAD = """\
# The SIP transaction machines

Drawn by `docs/draw_transactions.py` from the tables of `src/iceway/sip/transaction.py`: what happens / what is
done. What a state does not know, it ignores. RFC 3261 §17, RFC 6026.
"""


def drawing() -> str:
    return "\n".join([HEAD, *(_machine(kind) for kind in Kind)])


def _machine(kind: Kind) -> str:
    lines = [f"## {kind.value[0].upper()}{kind.value[1:]} transaction\n", "```mermaid", "stateDiagram-v2"]
    lines.append(f"    [*] --> {FIRST_STATE[kind].value}")
    for (state, event), (after, actions) in TABLES[kind].items():
        doing = " / " + ", ".join(action.value.replace(":", ",") for action in actions) if actions else ""
        lines.append(f"    {state.value} --> {after.value}: {_name(event)}{doing}")
    lines += ["    Terminated --> [*]", "```\n", "| state | timers that run |", "|---|---|"]
    for state, timers in TIMERS[kind].items():
        lines.append(f"| {state.value} | {'; '.join(timer.value for timer in timers)} |")
    return "\n".join(lines) + "\n"


def _name(event: Event) -> str:
    is_letter = isinstance(event, Timer) and len(event.name) == 1
    return f"timer {event.name}" if is_letter else event.value


if __name__ == "__main__":
    TARGET.write_text(drawing(), encoding="utf-8")
