"""What an agent without a path has tried so far, in one line for a person who waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from iceway.ice.checklist import CandidatePair, PairState

MOST = 4  # reasons in one line


def so_far(pairs: Iterable[CandidatePair], troubles: Iterable[str], *, heard_of_peer: bool) -> str:
    """`troubles` are what servers said that gave nothing; `heard_of_peer`: it has named candidates."""
    counts = Counter(_standing(pair) for pair in pairs)
    told = [
        f"{count} {'pair' if count == 1 else 'pairs'} {words}" for words, count in counts.most_common(MOST)
    ]
    if len(counts) > MOST:
        told.append(f"{len(counts) - MOST} reasons more")
    if not heard_of_peer:
        told.append("the other side has named no candidates")
    elif not counts:
        told.append("no candidate of the other side can be paired with ours")
    return "; ".join((*told, *troubles))


def _standing(pair: CandidatePair) -> str:
    if pair.state is PairState.FAILED:
        return f"failed: {pair.failure}"
    if pair.hint:
        return f"without success: {pair.hint}"
    kind = f"from {pair.local.type.value} to {pair.remote.type.value}"
    if pair.first_sent_at is None:
        return f"{kind} not checked yet"
    return f"{kind} checked, no answer"
