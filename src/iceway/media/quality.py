"""How good sound is to those who talk, by the E-model (ITU-T G.107, and G.107.1 for wideband): a rating R and a MOS.

The model adds up impairments: what the codec takes, what lost packets take, what delay takes from a conversation. All
else has the model's default values (a good headset, no echo, a quiet room), so a clean G.711 call rates 93.2.
Wideband codecs have a scale of their own, up to 129; ratings of the two scales do not compare, nor do their MOS.

Codecs are rated with their factors in ITU-T G.113 where there are any; for the rest, see `_CODECS`. Losses are taken
for random, as G.107 does unless told otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log2, log10, pow, sqrt

WIDEBAND = 129.0
_RO, _IS = (
    94.7688,
    1.4136,
)  # signal to noise, and what comes with the voice: G.107 with all its default values
_TELR, _WEPL = 65.0, 110.0  # echo, as good as gone


@dataclass(frozen=True, slots=True)
class Score:
    """`r` is the rating, up to 93.2 or, `wideband`, to 129; `mos` the opinion of many listeners, 1 to 4.5."""

    r: float
    mos: float
    wideband: bool


@dataclass(frozen=True, slots=True)
class _Codec:
    impairment: float
    """Ie: what the codec takes when nothing is lost."""
    robustness: float
    """Bpl: the percentage of packets lost that takes half of what is left."""
    wideband: bool
    look_ahead: float
    """Seconds beyond the frame that a coder waits for."""


_CODECS = {
    # G.113 Appendix I, with concealment as in G.711 Appendix I, which ours is like; half a resampling filter each way.
    "PCMU": _Codec(0.0, 25.1, False, 0.002),
    "PCMA": _Codec(0.0, 25.1, False, 0.002),
    # G.113 Appendix IV for 64 kbit/s; there is no robustness for it, so that of AMR-WB at 12.65 kbit/s stands in.
    "G722": _Codec(13.0, 4.3, True, 0.0015),
    # G.113 knows no Opus. Ours at 32 kbit/s is taken for AMR-WB at 23.85 kbit/s, and its concealment for that of EVS.
    "opus": _Codec(8.0, 11.4, True, 0.0065),
}
_UNKNOWN = _Codec(0.0, 4.3, False, 0.0)


def score(codec: str, loss: float, delay: float) -> Score:
    """Of sound with a share `loss` (0–1) of its packets never played, heard `delay` seconds after it was said."""
    known = _CODECS.get(codec, _UNKNOWN)
    base = WIDEBAND if known.wideband else _RO - _IS
    r = max(0.0, base - _delay_impairment(delay * 1000) - _equipment_impairment(known, loss * 100))
    return Score(r, mos(r * 100 / WIDEBAND if known.wideband else r), known.wideband)


def mos(r: float) -> float:
    """The mean opinion score of a rating on the narrowband scale (G.107 Annex B)."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)  # it dips below 1 at its lower end


def look_ahead(codec: str) -> float:
    """Seconds that coding takes beyond the frame itself."""
    return _CODECS.get(codec, _UNKNOWN).look_ahead


def _equipment_impairment(codec: _Codec, lost: float) -> float:
    """Ie,eff for a percentage of packets lost at random (G.107 §7.5)."""
    return codec.impairment + (95 - codec.impairment) * lost / (lost + codec.robustness)


def _delay_impairment(delay: float) -> float:
    """Id for milliseconds one way (G.107 §7.4): talker echo, listener echo, and delay in itself."""
    terv = _TELR - 40 * log10((1 + delay / 10) / (1 + delay / 150)) + 6 * exp(-0.3 * min(delay, 100.0) ** 2)
    talker = _RO - (80 + 2.5 * (terv - 14))
    listener = _RO - 10.5 * (_WEPL + 7) * pow(2 * delay + 1, -0.25)
    echo = (talker / 2 + sqrt(talker**2 / 4 + 100) - 1) * (1 - exp(-delay))
    echo += listener / 2 + sqrt(listener**2 / 4 + 169)
    if delay <= 100:
        return echo
    x = log2(delay / 100)
    return echo + 25 * (pow(1 + x**6, 1 / 6) - 3 * pow(1 + (x / 3) ** 6, 1 / 6) + 2)
