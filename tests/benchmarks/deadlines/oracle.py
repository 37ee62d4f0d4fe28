"""The oracle, which knows the future: the cheapest plan without an avoidable miss."""

import numpy

from lanes.workload.version import Version
from tests.benchmarks.deadlines.days import NEVER, STARTS_S, DayResult, departures
from tests.benchmarks.deadlines.realtime import RankedLane
from tests.benchmarks.deadlines.world import MINUTE, SeededDays


def plan(world: SeededDays, version: Version) -> DayResult:
    """Plan with known return times, of the batch in which an item could leave at once and of the scheduled batches.

    Items that one of these batches brings back in time wait for it. Real time answers as many of the others as it can, in the
    order of their due times, without those that cannot be in time. Items that neither brings in time are late in a batch, which
    costs less.

    The oracle may not wait for a lucky minute: with a batch leaving in each minute there is nearly always a fast one soon,
    which helps only a contender that knows the future.
    """
    scheduled = sorted(departures(version, world))
    number = len(world.arrives)
    answered, back = numpy.full(number, NEVER), numpy.full(number, NEVER)
    calls, passes = numpy.zeros(number), numpy.zeros(number)
    lane, until = RankedLane(world, skipping=True), 0.0
    place = 0
    for item in range(number):
        arrives, due = float(world.arrives[item]), float(world.due[item])
        at_once = -(-arrives // MINUTE) * MINUTE
        while scheduled[place] < at_once:
            place += 1
        later = (
            [each for each in scheduled[place : place + 24] if each < due] if due < NEVER else []
        )
        returns = [world.back_at(at + STARTS_S) for at in (at_once, *later)]
        in_time = [each for each in returns if each <= due]
        if in_time:
            answered[item] = back[item] = in_time[0]
            passes[item] = 1
            continue
        lane.work(until, arrives)
        until = arrives
        lane.add(item, due)
    lane.work(until, NEVER)
    for item, at in lane.answered_at.items():
        answered[item] = at
        (calls if at < NEVER else passes)[item] = 1
    return DayResult(answered, back, calls, passes)
