"""The glossary as types: lanes, states, standings and reasons, one word for one thing."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Lane(StrEnum):
    """A way to process an item: at once, or in a batch."""

    REALTIME = "realtime"
    BATCH = "batch"

    @property
    def other(self) -> "Lane":
        """The other lane."""
        return Lane.BATCH if self is Lane.REALTIME else Lane.REALTIME


class Mode(StrEnum):
    """The way a workload uses its lanes."""

    PLAIN = "plain"  # the first valid answer is authoritative
    LAMBDA = "lambda"  # real-time answers provisionally, batch settles later


class Dedupe(StrEnum):
    """The identity of an input without a key."""

    KEY = "key"  # its place: the event's id, or file name and line
    CONTENT = "content"  # what it says: the same content is one item


class PackScope(StrEnum):
    """The items that may share a provider call."""

    WORKLOAD = "workload"  # all of a version
    CONSUMER = "consumer"  # those of one consumer, so that no prompt holds items of two


class Announces(StrEnum):
    """The answers announced one by one. Failures, corrections, refusals and the counts of a batch are always told."""

    EACH = "each"  # every answer
    REALTIME = "realtime"  # those of the real-time lane
    SUMMARY = "summary"  # none


class Purpose(StrEnum):
    """Why some work exists."""

    ANSWER = "answer"  # the answer that is owed: the first valid one stands
    AUTHORITATIVE = "authoritative"  # the batch pass that settles a provisional answer
    # only measures: it answers what shared a call alone, or what a rollout compares on the other lane; it moves no item
    SHADOW = "shadow"
    REPLAY = "replay"  # reads an item again, for its own generation
    # answers an item of a workload's golden set, to compare a new version with the one in force
    GOLDEN = "golden"


class LabelBasis(StrEnum):
    """How a label's item was chosen; `review` labels count in no estimate, because their items are no fair sample."""

    GIVEN = "given"  # by the sender of the label
    UNIFORM = "uniform"  # by the uniform share of the review queue
    REVIEW = "review"  # by the review queue, because answers to it differ


class WorkState(StrEnum):
    """The state of a piece of work; each comment names what changes it next."""

    READY = "ready"  # from `ready_at`; a drain claims it (realtime), `depart` claims it (batch)
    CLAIMED = "claimed"  # until `lease_until`; its claimer saves it or gives it back, and once lost a rescuer ends the claim
    # owned by a batch; `collect` applies its result or returns it to `ready`
    SUBMITTED = "submitted"
    DONE = "done"  # a saved attempt ended it; final
    # the retry budget is spent or the input is poison; `lanes retry` makes it ready
    FAILED = "failed"
    CANCELED = "canceled"  # its item was canceled or amended; final


class ItemState(StrEnum):
    """The state of an item (view `item_status`); each comment names what changes it next."""

    RECEIVED = "received"  # committed, not routed; the router moves it
    ROUTED = "routed"  # its work is ready; a drain or `depart` moves it
    WORKING = "working"  # claimed or in a batch; its claimer or `collect` moves it
    ANSWERED = "answered"  # a provisional result stands; the authoritative pass moves it
    # an authoritative result stands, or the provisional one was confirmed for good
    SETTLED = "settled"
    FAILED = "failed"  # no answer will come unless a person retries it
    CANCELED = "canceled"  # withdrawn by its owner


class Standing(StrEnum):
    """The standing of an answer."""

    PROVISIONAL = "provisional"
    AUTHORITATIVE = "authoritative"


class SettledReason(StrEnum):
    """Why an item was settled on its provisional answer, where no pass failed."""

    NOT_SAMPLED = "not_sampled"  # its second pass was left out


class Reason(StrEnum):
    """Why a route chose its lane, in the order in which the rules are asked."""

    PINNED = "pinned"  # the sender named the lane
    OVERDUE = "overdue"  # due in the past: real-time
    URGENT = "urgent"  # the sender marked it urgent
    URGENT_RULE = "urgent_rule"  # the workload's `urgent_when` holds
    DEADLINE = "deadline"  # due before a batch can be back
    BATCH_RULE = "batch_rule"  # the workload's `batch_when` holds
    VALUE = "value"  # what is lost by waiting, weighed against what a batch saves
    SPLIT = "split"  # the sticky hash fell on this side of the split
    BUDGET = "budget"  # it may wait, and the soft limit of a budget is reached
    CAPACITY = "capacity"  # it may wait, and real time is full
    FALLBACK = "fallback"  # real time could not answer it, and a batch is soon enough
    RESCUE = "rescue"  # the second look: its batch would be late, and real time still is not
    SHED = "shed"  # the second look: real time cannot serve it now, and it may wait for a batch


class BatchState(StrEnum):
    """The state of a batch; each comment names what changes it next."""

    INTENDED = "intended"  # committed before the paid call; `depart` records the id, else `collect` reconciles
    SUBMITTED = "submitted"  # the provider has it; `collect` polls until it ended
    ENDED = "ended"  # results can be read; `collect` applies them
    COLLECTED = "collected"  # every result was applied; final
    HELD = "held"  # its batch at the provider is not identified; `collect` goes on searching, a person decides
    SUPERSEDED = "superseded"  # its work went elsewhere; `collect` cancels it, books what it billed and closes it
    RELEASED = "released"  # closed without its work: never created, or superseded and booked; final


class FlushReason(StrEnum):
    """Why items left the window in which they gathered."""

    FULL = "full"  # the pack had reached its largest size
    PRESSED = "pressed"  # the most pressing item had to be asked
    OVER = "over"  # the window had passed
    HOPELESS = "hopeless"  # no other item was expected before the end of the window


class Outcome(StrEnum):
    """The outcome of one attempt."""

    VALID = "valid"  # an answer that satisfies the schema
    INVALID = "invalid"  # a billed answer that breaks the schema, or is missing from its pack
    REFUSED = "refused"  # the model declined; billed
    TRUNCATED = "truncated"  # cut at max_tokens; billed
    ERRORED = "errored"  # the provider failed; worth another try
    POISON = "poison"  # the provider will never accept this input
    PACK_REFUSED = "pack_refused"  # the provider refused its pack, for any item in it: it is asked alone; not billed
    UNSERVED = "unserved"  # the account or the provider was in the way, not the item; not billed
    CANCELED = "canceled"  # its batch was canceled before it ran; not billed
    EXPIRED = "expired"  # its batch expired before it ran; not billed
    MISSING = "missing"  # its batch ended without a result for it
    UNKNOWN = "unknown"  # no answer reached us: it may have been billed
    # nothing is asked any more: it came back unanswered for the workload's give_up_after_h, or a person gave it up
    GIVEN_UP = "given_up"


class Verdict(StrEnum):
    """The verdict of a measurement on its limit."""

    PASSED = "passed"  # enough samples, within the limit
    FAILED = "failed"  # enough samples, beyond the limit
    INCONCLUSIVE = "inconclusive"  # too few samples to say
    ERROR = "error"  # it could not be measured


class RolloutState(StrEnum):
    """The state of a rollout; each comment names what changes it next."""

    RUNNING = "running"  # a run of `migrate` measures, judges and moves it
    # a person resumes its suspended run; failed gates still take it back
    WAITING_APPROVAL = "waiting_approval"
    FINISHED = "finished"  # every step passed and its share stays; final
    ROLLED_BACK = "rolled_back"  # a gate failed, time ran out or a person declined; the share before is in force
    ABORTED = "aborted"  # a person ended it; the share before is in force


class ProposalState(StrEnum):
    """The state of a proposed rollout; each comment names what changes it next."""

    OPEN = "open"  # a person approves, edits or declines it; `advise` refreshes or withdraws it
    APPROVED = "approved"  # a person approved it, and its rollout started; final
    DECLINED = "declined"  # a person declined it: not proposed again for a month; final
    WITHDRAWN = "withdrawn"  # `advise` took it back: its reasons no longer hold; final


class ReplayState(StrEnum):
    """The state of a replay; each comment names what changes it next."""

    RUNNING = "running"  # reading the stream, or its work is open; `collect` sees when the last of it ended
    COMPLETE = "complete"  # a person promotes or drops it
    PROMOTED = "promoted"  # its results are current; `demote` takes that back
    DEMOTED = "demoted"  # what was current before is again; it may be promoted again or dropped
    DROPPED = "dropped"  # a person dropped it; final


class GoldenState(StrEnum):
    """The state of a golden run; each comment names what changes it next."""

    RUNNING = "running"  # `collect` judges it once each of its items is answered or has failed
    PASSED = "passed"  # its version was put in force; final
    # its version is surely worse, and out of force until a person forces it or publishes it again; final
    REFUSED = "refused"
    # another version was published first, or a person forced this one; final
    REPLACED = "replaced"


BLOCK = "lanes"  # the name of the block documents that `lanes up` writes

# Named sets of states; `lanes.store.states` has them as SQL.
OPEN_WORK = (WorkState.READY, WorkState.CLAIMED, WorkState.SUBMITTED)  # an attempt is still owed
LIVE_CLAIM = (WorkState.CLAIMED, WorkState.SUBMITTED)  # a drain or a batch has it: it may save
OUTSIDE_BATCHES = (WorkState.READY, WorkState.CLAIMED)  # open, and no batch owns it
UNCLAIMED = (WorkState.READY, WorkState.SUBMITTED)  # open, and no drain has it: it may change lanes
FINISHED_WORK = (WorkState.DONE, WorkState.FAILED, WorkState.CANCELED)
ANSWERING = (Purpose.ANSWER, Purpose.AUTHORITATIVE)  # work that can move its item
MEASURING = (Purpose.SHADOW, Purpose.GOLDEN)  # work whose answers are only compared
FINISHED_BATCH = (BatchState.COLLECTED, BatchState.RELEASED)  # nothing is left to do
OPEN_ROLLOUT = (RolloutState.RUNNING, RolloutState.WAITING_APPROVAL)  # it may still move
OPEN_REPLAY = (ReplayState.RUNNING, ReplayState.COMPLETE)  # neither promoted nor dropped


@dataclass(frozen=True)
class Signature:
    """The author of a decision, with reason and time."""

    who: str
    why: str
    now: datetime
