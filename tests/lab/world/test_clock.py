"""Virtual time: actions run in time order, and in the order of scheduling within one instant."""

from iceway.lab.world.clock import Clock


def test_time_jumps_from_action_to_action():
    clock, ran = Clock(), []
    for name, delay in (("c", 3.0), ("a", 1.0), ("b", 1.0)):
        clock.after(delay, lambda name=name: ran.append((name, clock.now)))
    assert clock.next_at() == 1.0
    while clock.next_at() is not None:
        clock.step()
    assert ran == [("a", 1.0), ("b", 1.0), ("c", 3.0)]


def test_what_is_scheduled_for_the_past_runs_now():
    clock, ran = Clock(), []
    clock.after(5.0, lambda: clock.at(1.0, lambda: ran.append(clock.now)))
    clock.step()
    clock.step()
    assert ran == [5.0]
