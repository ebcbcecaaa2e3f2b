"""A path in doubt: silence, questions, and what is made of the answers."""

from __future__ import annotations

from iceway.client.watch import ASK_FOR, LEAVE_ALONE, SILENCE, Finding, PathWatch


def findings(
    watch: PathWatch, until: float, *, proven_at: float | None = None, round_trip: float | None = 0.05
) -> list[tuple[Finding, float]]:
    """What the watch finds, and when, if nothing is heard until then."""
    found = []
    while watch.next_at is not None and watch.next_at <= until:
        now = watch.next_at
        finding = watch.judge(proven_at, round_trip, now)
        if finding is not Finding.NOTHING:
            found.append((finding, round(now, 3)))
    return found


def test_nobody_listens_for_sound_that_never_began() -> None:
    assert PathWatch().next_at is None


def test_sound_keeps_it_quiet() -> None:
    watch = PathWatch()
    for packet in range(500):
        now = packet * 0.02
        watch.heard(now)
        assert watch.judge(None, 0.05, now) is Finding.NOTHING


def test_silence_is_asked_after_and_silence_again_is_death() -> None:
    watch = PathWatch()
    watch.heard(10.0)
    told = findings(watch, 100.0)
    assert told[0] == (Finding.ASK, 10.0 + SILENCE)
    assert told[-1] == (Finding.DEAD, 10.0 + SILENCE + ASK_FOR)
    assert [finding for finding, _ in told].count(Finding.ASK) == 4
    assert [finding for finding, _ in told].count(Finding.DEAD) == 1


def test_whoever_answers_is_left_in_peace_for_a_while() -> None:
    watch = PathWatch()
    watch.heard(10.0)
    told = findings(watch, 12.0, proven_at=11.05)
    assert told == [(Finding.ASK, 11.0)]
    assert findings(watch, 11.3 + LEAVE_ALONE, proven_at=11.05) == []
    assert findings(watch, 12.0 + LEAVE_ALONE, proven_at=11.05)[0][0] is Finding.ASK


def test_an_answer_from_before_proves_nothing() -> None:
    watch = PathWatch()
    watch.heard(10.0)
    assert findings(watch, 100.0, proven_at=10.9)[-1][0] is Finding.DEAD


def test_a_slow_path_has_the_time_that_it_needs() -> None:
    watch = PathWatch()
    watch.heard(10.0)
    assert findings(watch, 100.0, round_trip=2.0)[-1] == (Finding.DEAD, 17.0)


def test_sound_that_comes_back_begins_it_anew() -> None:
    watch = PathWatch()
    watch.heard(10.0)
    assert findings(watch, 100.0)[-1][0] is Finding.DEAD
    watch.heard(20.0)
    assert findings(watch, 100.0)[0] == (Finding.ASK, 21.0)
