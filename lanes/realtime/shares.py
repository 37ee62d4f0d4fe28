"""How the real-time lane's places are divided among workloads that wait, so that no backlog starves another."""

from collections.abc import Mapping

from lanes.workload.entitlement import Entitlement


def divide(
    free: int,
    waiting: Mapping[str, Entitlement],
    *,
    in_flight: Mapping[str, int],
    places: int,
    rooms: Mapping[str, int],
) -> dict[str, int]:
    """How many of the `free` places each workload gets, never more than there are; what gets none is left out.

    A place goes to whom holds the least by its weight, what is `in_flight` included, so slow calls gather no places. None
    holds more than its largest share of all `places` while another waits or is served, but always one; one that is alone
    takes everything. `rooms` bounds some workloads further. Among those that are owed an answer, what only measures is no
    part of `in_flight`: it holds a place, and nobody's share.
    """
    alone = len(waiting.keys() | {name for name, calls in in_flight.items() if calls}) == 1

    def most(name: str) -> int:
        share = places if alone else max(1, places * waiting[name].max_share_percent // 100)
        return min(share, rooms.get(name, 0) + in_flight.get(name, 0)) if name in rooms else share

    holds = {name: in_flight.get(name, 0) for name in waiting}
    for _ in range(max(0, free)):
        open_to = [name for name in waiting if holds[name] < most(name)]
        if not open_to:
            break
        holds[
            min(
                open_to,
                key=lambda name: (holds[name] / waiting[name].weight, -waiting[name].weight, name),
            )
        ] += 1
    given = {name: held - in_flight.get(name, 0) for name, held in holds.items()}
    return {name: places for name, places in given.items() if places > 0}
