"""What the figures of the report mean: a legend for each table, which the terminal and the artifact both show below it.

Each is a line or two, because what it stands below is to be read: `docs/concepts/monitoring.md` says when to act on which.
"""

from collections.abc import Iterable

from lanes.report.section import Legend
from lanes.words import ItemState

# -- the lanes and their cost

HEADLINE: Legend = {
    "Received": "admitted in the period",
    "Answered": "provisionally, too",
    "Dollars": "billed for these items",
    "Saved": "against all of them in real time, as estimated",
    "Real-time p95": "95 % were answered that soon, of the slowest workload",
}
LANES: Legend = {
    "Answered": "of the items routed there",
    "p50, p95, p99": "received to answered, of half, 95 % and 99 % of its answers",
    "Failed": "tries without a valid answer, of all tries",
    "Cost": "billed, in US dollars",
    "Per 1,000": "answers",
}
THROUGHPUT: Legend = {
    "Answers": "second passes too",
    "Busy": "from its first try to the end of its last",
    "Answers per minute": "over that time, a minute at least",
}
COSTS: Legend = {
    "Actual": "billed",
    "All real-time, All batch": "one lane alone, estimated and scaled to what was billed",
    "Against all real-time": "what that saved",
}
UNKNOWN: Legend = {"Unknown": "the most that calls without an answer can have cost, not in Actual"}
STATES = {
    ItemState.RECEIVED: "waits for the router",
    ItemState.ROUTED: "waits for its lane",
    ItemState.WORKING: "is in a call or a batch",
    ItemState.ANSWERED: "has a provisional answer",
    ItemState.SETTLED: "has its final answer",
    ItemState.FAILED: "gets no answer, unless it is retried",
    ItemState.CANCELED: "was withdrawn",
}
ROUTES: Legend = {
    "Decisions": "an item that is decided again counts again",
    "Share": "of those of its workload",
}

# -- batches

BATCHES: Legend = {
    "Done": "of its requests",
    "Valid": "items with a valid answer",
    "Time": "submitted to ended",
    "Items a minute": "that it carries, over that time",
}
BATCH_TOTALS: Legend = {
    "Batches that ended": "of those intended",
    "Items": "in all of them",
    "p50, p95": "submitted to ended, of half and 95 %",
    "Items a minute": "over the time under way",
    "Failed": "items that came back without a valid answer, cancelled ones apart",
}
DEADLINES: Legend = {
    "Met": "answered in time",
    "Missed": "answered late, or failed",
    "Overdue now": "due, and neither yet",
    "In time": "met, of all three",
}
CALIBRATION: Legend = {
    "Back in time, it was said": "the probability stated",
    "Items": "told so",
    "Said on average": "its mean",
    "Were back": "in time",
    "Brier score": "0 is perfect, 0.25 is a coin",
}
RESCUES: Legend = {
    "Rescued": "their batch would be late",
    "In time": "of those answered or due by now",
    "Cost in real time": "billed there",
    "Of it extra": "where the batch was billed, too",
}
SHEDS: Legend = {
    "Items": "free ones that real time could not serve",
    "Saved": "as estimated",
    "Answered": "of the newest thousand",
    "p50, p95": "shed to answered, of half and 95 %",
}

# -- calls

WAITS: Legend = {
    "Items": "that were asked",
    "p50, p95": "received to asked, of half and 95 %",
}
PACKS: Legend = {
    "Packs of": "items in a call at most, of those allowed",
    "Packed agrees": "answers that were the same alone, n compared",
    "Single with single": "those asked alone twice",
    "Checks": "what comparing cost",
}
WINDOWS: Legend = {
    "Items / call": "the mean",
    "Mean wait": "for others to share a call",
    "Left full, Pressed, Over, Nobody expected": "items that left as the call was full, one had to go, the window was over, or "
    "nobody else was expected",
}
CALLS: Legend = {
    "Calls": "billed, those of shadows and replays too",
    "Items / call": "the mean",
    "Input tokens / item, Output tokens / item": "the mean, cached ones too",
    "From cache": "of the input tokens",
}
CACHING: Legend = {
    "Cache": "whether calls mark what they share",
    "Hit rate": "marked tokens that were read, not written",
    "Pays from": "the hit rate that breaks even",
    "Of calls": "it is measured in so many",
    "Looked at": "when it was weighed last",
    "Saved": "against no cache",
}
CAPACITY: Legend = {
    "A minute": "what the provider allows",
    "Left": "of that, by its last answer",
    "Told": "how long ago that came",
    "Waiting": "items that ask this model",
    "Drain time": "until these are answered",
}
CIRCUITS: Legend = {
    "Answers nobody since": "when its circuit opened",
    "Calls in a row": "that met a fault",
}

# -- steering and use

BUDGETS: Legend = {
    "Spent": "billed, or perhaps billed",
    "Reserved": "the most that work under way may cost",
    "Left": "neither spent nor reserved",
    "Soft": "from here on what may wait goes to batch",
    "Hard": "never exceeded",
    "State": "the share spent, or why nothing is paid",
}
ROLLOUTS: Legend = {
    "Rollout": "the share of undecided items that goes to real-time, and the step in force"
}
SPLITS: Legend = {"To real-time": "of the items that no rule decides"}
REPLAYS: Legend = {
    "Answered": "of the items that it has read",
    "Failed": "work that ended without an answer",
    "Cost": "billed so far",
}
AMENDMENTS: Legend = {
    "Amendments applied": "in the period",
    "Waiting for their item": "now",
}
READS: Legend = {
    "Reads": "answers that somebody read",
    "Median until read": "from answered",
    "Within 60 s": "of the reads",
    "Never read": "though a minute passed",
}
AGREEMENT: Legend = {
    "Compared": "provisional answers with their authoritative one",
    "Corrected": "replaced by it",
    "Agreed": "confirmed by it",
}
ACCURACY: Legend = {
    "Labels": "of fields that the lane answered",
    "Right": "answered as labelled",
    "95 % interval": "where that share lies with so few labels (Wilson)",
}
REFUSALS: Legend = {"Inputs": "each is in `lanes.rejected_log` with its reason"}
ONLY_COUNTED: Legend = {
    "only_counted": "those of a source and day after its first 1,000, which are not kept"
}


def of_refusals(reasons: Iterable[str]) -> Legend:
    """Return what the table of refusals means, with what was only counted where there is such."""
    return {**REFUSALS, **(ONLY_COUNTED if "only_counted" in reasons else {})}


# -- charts

ROUTING_CHART = "Blue went to real-time, green to batch; each part is a reason."
LATENCY_CHART = "p95: 95 % of the answers given then came that soon after their item was received."
LATENCY_BARS = "p50, p95, p99: half, 95 % and 99 % of the answers came that soon after their item was received."
BATCH_CHART = "Items that a batch carries, for each minute from submitted to ended; in brackets, to collected."


def states(shown: list[str]) -> Legend:
    """What the states that are shown mean."""
    said = "; ".join(f"{state} {means}" for state, means in STATES.items() if state in shown)
    return {"Items": "of the period", "Where they stand": said}
