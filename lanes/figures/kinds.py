"""The kinds of figures, and their grains.

A fact is counted in the minute in which it happened, or in which its item was received or its batch intended: the outcome of a
period's items is then a sum, however late it is known. Kinds are counted by version, except ITEM to READ, CALL and DEADLINE.
"""

from enum import StrEnum


class Grain(StrEnum):
    """The span of a figure from its moment on; days are of UTC."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


class Kind(StrEnum):
    """What a figure counts. The comment names its word, its second count or sums, and what it times."""

    # in the minute in which it happened
    ROUTE = "route"  # decisions; the reason; what each lane would cost
    ATTEMPT = "attempt"  # tries; the outcome; `items` were shown
    CALL = "call"  # billed responses; no word; the items that shared them
    RESULT = "result"  # live answers; the standing; from received to answered
    AGREEMENT = (
        "agreement"  # items that both lanes answered, once each; no word; `items` were corrected
    )
    CORRECTION = "correction"  # corrections; no word
    BUFFER = "buffer"  # billed items of real time; no word; from received to asked, window included
    # due items that were answered or failed, in that minute; the reason of their newest route then; `items` were in time
    DEADLINE = "deadline"
    GATHERED = "gathered"  # tries of items from a window; why they left it; their time in it
    # in which its batch was intended
    BATCH = "batch"  # batches; how they stand (`BatchState`); the items they carry; from submitted to ended
    REQUEST = "request"  # their requests; no word; the items that shared them
    CARRIED = "carried"  # their items that are back; what came of them, as `batch_status` names it
    # in which its item was received: in the minute, or what is asked of many days alone (`HOURLY`), in the hour
    ITEM = "item"  # routed or canceled items by the lane of their newest route; how they stand; `items` were answered
    ASKED = "asked"  # items that are not canceled by their first route; its reason; what each lane would cost
    DUE = "due"  # those of them that are due; no word; from received to due
    URGENT = "urgent"  # those of them that are urgent; no word
    FIRST = "first"  # those of them that are answered, by the lane that was first; no word; from received to answered
    # (timed for all consumers together)
    READ = "read"  # those first answered in real time and read since; `items` within a minute; how late
    ANSWER = "answer"  # live answers; the standing; from received to answered
    TRY = "try"  # tries; the outcome; what they cost, and what the valid ones were estimated at
    COMPARED = (
        "compared"  # items that both lanes answered, once each; no word; `items` were corrected
    )


class Stands(StrEnum):
    """The state of an item as far as its own row shows it."""

    OPEN = "open"
    ANSWERED = "answered"
    SETTLED = "settled"
    FAILED = "failed"
    CANCELED = "canceled"


# Folded into hours and days alone.
HOURLY = (Kind.ASKED, Kind.DUE, Kind.URGENT, Kind.FIRST, Kind.READ, Kind.COMPARED)
