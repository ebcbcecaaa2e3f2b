"""The E-model against what is published of it."""

from __future__ import annotations

from itertools import pairwise

import pytest

from iceway.media.quality import Score, look_ahead, mos, score


def test_with_all_defaults_the_rating_is_that_of_the_recommendation() -> None:
    """G.107 §7.7: R = 93.2."""
    assert score("PCMU", 0.0, 0.0).r == pytest.approx(93.2, abs=0.05)
    assert score("PCMA", 0.0, 0.0) == score("PCMU", 0.0, 0.0)


@pytest.mark.parametrize(("r", "opinion"), [(90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58)])
def test_opinions_are_those_of_annex_b(r: float, opinion: float) -> None:
    """G.107 Table B.1."""
    assert mos(r) == pytest.approx(opinion, abs=0.01)


def test_opinions_have_ends() -> None:
    assert (mos(-5), mos(0), mos(3), mos(100), mos(129)) == (1.0, 1.0, 1.0, 4.5, 4.5)
    assert all(one <= other for one, other in pairwise(mos(r / 2) for r in range(210)))


@pytest.mark.parametrize(("loss", "impairment"), [(0.01, 3.6), (0.02, 7.0), (0.05, 15.8), (0.1, 27.1)])
def test_lost_packets_take_what_g113_says(loss: float, impairment: float) -> None:
    """Ie 0 and Bpl 25.1, G.711 with concealment (G.113 Appendix I)."""
    assert score("PCMU", 0.0, 0.0).r - score("PCMU", loss, 0.0).r == pytest.approx(impairment, abs=0.1)


@pytest.mark.parametrize("delay", [0.05, 0.1, 0.15, 0.2, 0.25, 0.3])
def test_delay_takes_little_at_first_and_much_past_177_milliseconds(delay: float) -> None:
    """The straight lines by which Cole and Rosenbluth (2001) put the model's curve."""
    lines = 24 * delay + 110 * max(0.0, delay - 0.1773)
    assert score("PCMU", 0.0, 0.0).r - score("PCMU", 0.0, delay).r == pytest.approx(lines, abs=0.8)


def test_wideband_has_a_scale_of_its_own() -> None:
    """G.107.1: 129 at the most; G.722 takes 13 of that (G.113 Appendix IV)."""
    assert score("G722", 0.0, 0.0).r == pytest.approx(129 - 13, abs=0.2)
    assert score("opus", 0.0, 0.0).wideband
    assert not score("PCMU", 0.0, 0.0).wideband
    assert score("opus", 0.0, 0.0).mos == pytest.approx(4.42, abs=0.01)


@pytest.mark.parametrize("codec", ["opus", "G722", "PCMU", "L16"])
def test_more_loss_and_more_delay_never_help(codec: str) -> None:
    by_loss = [score(codec, loss / 100, 0.1).mos for loss in range(101)]
    by_delay = [score(codec, 0.0, delay / 100).mos for delay in range(200)]
    for row in (by_loss, by_delay):
        assert all(one >= other for one, other in pairwise(row))
    worst = score(codec, 1.0, 30.0)
    assert isinstance(worst, Score)
    assert worst.mos == pytest.approx(1.0, abs=0.1)
    assert worst.r >= 0


def test_opus_looks_ahead() -> None:
    assert look_ahead("opus") == 0.0065
    assert look_ahead("L16") == 0.0
