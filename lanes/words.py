"""The glossary as types: lanes, states, standings and reasons, with one word for each thing."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Lane(StrEnum):
    """A way to process an item: in real time, or in a batch."""

    REALTIME = "realtime"
    BATCH = "batch"

    @property
    def other(self) -> "Lane":
        """The other lane."""
        return Lane.BATCH if self is Lane.REALTIME else Lane.REALTIME


class Mode(StrEnum):
    """The way a workload uses its lanes."""

    PLAIN = "plain"  # the first valid answer is authoritative
    LAMBDA = "lambda"  # real-time answers are provisional; a batch settles them later


class Dedupe(StrEnum):
    """What identifies an input without a key."""

    KEY = "key"  # its origin: the event's id, or file name and line
    CONTENT = "content"  # its content: inputs with the same content are one item


class PackScope(StrEnum):
    """The items that may share a provider call."""

    WORKLOAD = "workload"  # all items of a version
    CONSUMER = "consumer"  # items of one consumer, so that no prompt holds items of two


class Announces(StrEnum):
    """Which answers are announced one by one; failures, corrections, refusals and a batch's counts are always announced."""

    EACH = "each"  # every answer
    REALTIME = "realtime"  # answers of the real-time lane
    SUMMARY = "summary"  # no single answer


class Purpose(StrEnum):
    """The reason why some work exists."""

    ANSWER = "answer"  # the answer that is owed; the first valid one counts
    AUTHORITATIVE = "authoritative"  # the batch pass that settles a provisional answer
    # only measures: repeats alone an item that shared a call, or answers it on the other lane for a rollout; moves no item
    SHADOW = "shadow"
    REPLAY = "replay"  # answers an item again, for the replay's own generation
    # answers an item of a workload's golden set, to compare a new version with the version in force
    GOLDEN = "golden"


class LabelBasis(StrEnum):
    """How a label's item was chosen; `review` labels count in no estimate, because their items are not a random sample."""

    GIVEN = "given"  # by the sender of the label
    UNIFORM = "uniform"  # by the uniform share of the review queue
    REVIEW = "review"  # by the review queue, because its answers differ


class WorkState(StrEnum):
    """The state of a piece of work; each comment names what changes it next."""

    READY = "ready"  # from `ready_at`; a drain claims it (realtime), `depart` claims it (batch)
    CLAIMED = "claimed"  # until `lease_until`; its claimer saves or releases it, and a rescuer ends the claim of a lost lease
    # owned by a batch; `collect` saves its result or returns it to `ready`
    SUBMITTED = "submitted"
    DONE = "done"  # a saved attempt ended it; final
    # the retry budget is used up or the provider will never accept the input; `lanes retry` makes it ready
    FAILED = "failed"
    CANCELED = "canceled"  # its item was canceled or amended; final


class ItemState(StrEnum):
    """The state of an item (view `item_status`); each comment names what changes it next."""

    RECEIVED = "received"  # committed, not routed; the router moves it
    ROUTED = "routed"  # its work is ready; a drain or `depart` moves it
    WORKING = "working"  # claimed or in a batch; its claimer or `collect` moves it
    ANSWERED = "answered"  # a provisional result is in force; the authoritative pass moves it
    # an authoritative result is in force, or the provisional one was confirmed for good
    SETTLED = "settled"
    FAILED = "failed"  # gets no answer unless a person retries it
    CANCELED = "canceled"  # withdrawn by its owner


class Standing(StrEnum):
    """The standing of an answer."""

    PROVISIONAL = "provisional"
    AUTHORITATIVE = "authoritative"


class SettledReason(StrEnum):
    """Why an item was settled on its provisional answer although no pass failed."""

    NOT_SAMPLED = "not_sampled"  # its second pass was skipped


class Reason(StrEnum):
    """Why a route chose its lane, in the order in which the rules are evaluated."""

    PINNED = "pinned"  # the sender named the lane
    OVERDUE = "overdue"  # due in the past: real-time
    URGENT = "urgent"  # the sender marked it urgent
    URGENT_RULE = "urgent_rule"  # the workload's rule `urgent_when` is true
    DEADLINE = "deadline"  # due before a batch can return
    BATCH_RULE = "batch_rule"  # the workload's rule `batch_when` is true
    VALUE = "value"  # the value lost by waiting, compared with the saving of a batch
    SPLIT = "split"  # the item's hash bucket is on this side of the split
    BUDGET = "budget"  # it may wait, and a budget has reached its soft limit
    CAPACITY = "capacity"  # it may wait, and the real-time lane is full
    FALLBACK = "fallback"  # the real-time lane could not answer it, and a batch is soon enough
    RESCUE = "rescue"  # re-routed: its batch would be late, and real time can still be on time
    SHED = "shed"  # re-routed: the real-time lane cannot serve it now, and it may wait for a batch


class BatchState(StrEnum):
    """The state of a batch; each comment names what changes it next."""

    INTENDED = "intended"  # committed before the paid call; `depart` records the provider's id, or `collect` reconciles
    SUBMITTED = "submitted"  # the provider has accepted it; `collect` polls until it has ended
    ENDED = "ended"  # results can be read; `collect` applies them
    COLLECTED = "collected"  # every result was applied; final
    HELD = "held"  # its batch at the provider is not identified; `collect` keeps searching, a person decides
    SUPERSEDED = "superseded"  # its work was moved elsewhere; `collect` cancels it, books its billed responses and closes it
    RELEASED = "released"  # closed without its work: never created, or superseded and booked; final


class FlushReason(StrEnum):
    """Why items left their buffer window."""

    FULL = "full"  # the pack had reached its largest size
    PRESSED = "pressed"  # the most urgent item had to be sent
    OVER = "over"  # the window has ended
    HOPELESS = "hopeless"  # no other item was expected before the end of the window


class Outcome(StrEnum):
    """The outcome of one attempt."""

    VALID = "valid"  # an answer that satisfies the schema
    INVALID = "invalid"  # a billed answer that breaks the schema, or is missing from its pack
    REFUSED = "refused"  # the model declined; billed
    TRUNCATED = "truncated"  # cut at max_tokens; billed
    ERRORED = "errored"  # the provider failed; another try may succeed
    POISON = "poison"  # the provider will never accept this input
    PACK_REFUSED = "pack_refused"  # the provider refused the pack, because of any item in it; retried alone, not billed
    UNSERVED = "unserved"  # the account or the provider prevented the call; not billed
    CANCELED = "canceled"  # its batch was canceled before it ran; not billed
    EXPIRED = "expired"  # its batch expired before it ran; not billed
    MISSING = "missing"  # its batch ended without a result for it
    UNKNOWN = "unknown"  # no answer reached us; it may have been billed
    # no more tries: unanswered for the workload's give_up_after_h, or given up by a person
    GIVEN_UP = "given_up"


class Verdict(StrEnum):
    """The result of comparing a measurement with its limit."""

    PASSED = "passed"  # enough samples, within the limit
    FAILED = "failed"  # enough samples, beyond the limit
    INCONCLUSIVE = "inconclusive"  # too few samples to decide
    ERROR = "error"  # it could not be measured


class RolloutState(StrEnum):
    """The state of a rollout; each comment names what changes it next."""

    RUNNING = "running"  # a run of `migrate` measures it, evaluates its gates and moves it
    # a person resumes its suspended run; failed gates still roll it back
    WAITING_APPROVAL = "waiting_approval"
    FINISHED = "finished"  # every step passed and its share stays in force; final
    ROLLED_BACK = "rolled_back"  # a gate failed, time ran out or a person declined; the previous share is in force
    ABORTED = "aborted"  # a person ended it; the previous share is in force


class ProposalState(StrEnum):
    """The state of a proposed rollout; each comment names what changes it next."""

    OPEN = "open"  # a person approves, edits or declines it; `advise` refreshes or withdraws it
    APPROVED = "approved"  # a person approved it, and its rollout started; final
    DECLINED = "declined"  # a person declined it; not proposed again for a month; final
    WITHDRAWN = "withdrawn"  # `advise` withdrew it because its reasons no longer apply; final


class ReplayState(StrEnum):
    """The state of a replay; each comment names what changes it next."""

    RUNNING = "running"  # reading the stream, or its work is open; `collect` completes it when its last work has ended
    COMPLETE = "complete"  # a person promotes or drops it
    PROMOTED = "promoted"  # its results are current; `demote` reverses the promotion
    DEMOTED = "demoted"  # the previous results are current again; it may be promoted or dropped
    DROPPED = "dropped"  # a person dropped it; final


class GoldenState(StrEnum):
    """The state of a golden run; each comment names what changes it next."""

    RUNNING = "running"  # `collect` evaluates it once each of its items is answered or has failed
    PASSED = "passed"  # its version was put in force; final
    # its version is significantly worse, and not in force until a person forces it or publishes it again; final
    REFUSED = "refused"
    # another version was published first, or a person forced this one; final
    REPLACED = "replaced"


BLOCK = "lanes"  # the name of the block documents that `lanes up` writes

# Named sets of states; `lanes.store.states` defines the same sets for SQL.
OPEN_WORK = (WorkState.READY, WorkState.CLAIMED, WorkState.SUBMITTED)  # an attempt is still owed
LIVE_CLAIM = (WorkState.CLAIMED, WorkState.SUBMITTED)  # held by a drain or a batch, which may save
OUTSIDE_BATCHES = (WorkState.READY, WorkState.CLAIMED)  # open and not owned by a batch
UNCLAIMED = (WorkState.READY, WorkState.SUBMITTED)  # open, not claimed by a drain: may change lanes
FINISHED_WORK = (WorkState.DONE, WorkState.FAILED, WorkState.CANCELED)
ANSWERING = (Purpose.ANSWER, Purpose.AUTHORITATIVE)  # work that can move its item
MEASURING = (Purpose.SHADOW, Purpose.GOLDEN)  # work whose answers are only compared
FINISHED_BATCH = (BatchState.COLLECTED, BatchState.RELEASED)  # no action is left
OPEN_ROLLOUT = (RolloutState.RUNNING, RolloutState.WAITING_APPROVAL)  # it may still move
OPEN_REPLAY = (ReplayState.RUNNING, ReplayState.COMPLETE)  # neither promoted nor dropped


@dataclass(frozen=True)
class Signature:
    """The author of a decision, with the reason and the time."""

    who: str
    why: str
    now: datetime
