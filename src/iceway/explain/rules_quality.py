"""Rules about how good sound and pictures were, and what would make them better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from iceway.explain.case import Case, Finding, Rule, Severity
from iceway.explain.model import PathClass, PathVerdict
from iceway.explain.quality import StreamQuality, qualities, times
from iceway.explain.streams import AUDIO, WHY_FROZEN, bare, opinion

_POOR = 3.6  # a MOS below which some users are dissatisfied
_LONG = 0.25  # seconds from mouth to ear from which people talk into each other's words
_LOSS = 0.03  # share of packets
_OFTEN, _MUCH = 3, 0.05  # standstills, and the share of time, that are worth a word
_SLOW = 5.0  # pictures a second
_FEW = 12  # entries named


def _sound(case: Case) -> Iterator[Finding]:
    for one in qualities(case.entries):
        if one.media != AUDIO or one.mos is None or one.mos >= _POOR:
            continue
        late = one.mouth_to_ear is not None and one.mouth_to_ear > _LONG
        verb = "came too late to be played" if one.tardy else "were lost"
        causes = [f"{one.loss:.0%} of the packets {verb}"] if one.loss > _LOSS else []
        if late:
            causes.append(f"it took {(one.mouth_to_ear or 0.0) * 1000:.0f} ms from mouth to ear")
        why = " and ".join(causes) or "small faults added up"
        yield Finding(
            Severity.WARNING,
            f"Sound at {case.name(one.node)} was {opinion(one.mos)} (MOS {one.mos:.1f}): {why}",
            one.seen[:_FEW],
            _where(case, one),
            _remedy(case, one, late=late),
        )


def _pictures(case: Case) -> Iterator[Finding]:
    for one in qualities(case.entries):
        if one.media == AUDIO:
            continue
        name = f"{bare(one.media)[:1].upper()}{bare(one.media)[1:]} at {case.name(one.node)}"
        if len(one.froze) >= _OFTEN and one.frozen > _MUCH * one.span:
            reason = Counter(reason for _, _, reason in one.froze).most_common(1)[0][0]
            share = f" ({one.loss:.0%} of the packets never came)" if one.loss >= 0.005 else ""
            yield Finding(
                Severity.WARNING,
                f"{name} stood still {times(len(one.froze))}, {one.frozen:.1f} s in all",
                tuple(identifier for identifier, _, _ in one.froze)[:_FEW],
                f"Mostly {WHY_FROZEN.get(reason, reason)}{share}. {_where(case, one)}",
                "The sender took its time: look at its processor and its source."
                if reason == "nothing came" and one.loss < _LOSS
                else _remedy(case, one, late=False),
            )
        elif one.frame_rate is not None and one.frame_rate < _SLOW and one.media == "video":
            yield Finding(
                Severity.INFO,
                f"{name} moved {one.frame_rate:.1f} times a second, at {one.bit_rate / 1000:.0f} kbit/s",
                one.seen[:_FEW],
                "Pictures give way where the path carries little, so that sound does not suffer; or the source is slow.",
                "If the path should carry more, look for what else fills it; a smaller picture moves better.",
            )


def _where(case: Case, one: StreamQuality) -> str:
    """What the trace tells of the place. Sound shows the path's losses; pictures are sent again."""
    if one.tardy:
        return "They came, but when their turn to be played was over; hardly any were lost on the way."
    lost: dict[str, float] = {}
    for stream in qualities(case.entries):
        lost[stream.node] = max(stream.loss, lost.get(stream.node, 0.0))
    way = _way(case, one.node)
    peer = way.peer if way is not None else ""
    here = case.name(one.node)
    if peer not in lost:
        return f"This is what came in at {here}; a trace of the other end would say whether both directions suffer."
    there, to_us, to_them = case.name(peer), lost[one.node], lost[peer]
    if to_us > _LOSS and to_them > _LOSS:
        return f"Both directions lose packets: {to_us:.0%} towards {here}, {to_them:.0%} towards {there}."
    if to_us > _LOSS:
        return (
            f"Only the way from {there} to {here} loses packets, {to_us:.0%}: what {there} sends out or {here} takes in "
            "is too much for some link, or a radio link is weak."
        )
    return f"The way from {there} to {here} loses little."


def _remedy(case: Case, one: StreamQuality, *, late: bool) -> str:
    way = _way(case, one.node)
    if one.tardy and one.loss > _LOSS:
        return (
            f"They arrive, but in bursts: look whether {case.name(one.node)} or who sends is busy with other work, "
            "and for a Wi-Fi that holds packets back."
        )
    if way is not None and way.path in (PathClass.RELAY_TCP, PathClass.RELAY_TLS):
        return (
            "The relay is reached over TCP, which makes what is lost late as well: let UDP out to the edge."
        )
    if way is not None and way.path.relayed:
        near = (
            "a relay nearer to both sides shortens the way" if late else "try each leg to the relay by itself"
        )
        return f"Look at the weakest link (Wi-Fi, uplink); {near}."
    if one.media != AUDIO:
        return "Look at the weakest link (Wi-Fi, uplink); a smaller picture or a lower rate leaves room."
    return "Look at the weakest link (Wi-Fi, uplink), and for what else fills it; a cable tells whether it is the Wi-Fi."


def _way(case: Case, node: str) -> PathVerdict | None:
    return next((one for one in case.verdicts if one.node == node), None)


QUALITY_RULES: tuple[Rule, ...] = (_sound, _pictures)
