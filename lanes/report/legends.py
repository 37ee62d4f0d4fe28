"""What the figures of the report mean: one legend for each table, which the terminal and the artifact both show below it."""

from lanes.report.section import Legend

# -- the lanes and their cost

HEADLINE: Legend = {
    "Received": "items of the period that a door admitted",
    "Answered": "those with an answer, provisional ones too",
    "Dollars": "what was billed for them, shadows and replays apart",
    "Saved": "against all of them in real time, by the estimates",
    "Real-time p95": "95 % of the answers came so soon after their item, of the slowest workload",
}
LANES: Legend = {
    "Answered": "of the items routed to the lane",
    "p50, p95, p99": "half, 95 % and 99 % of all answers that the lane gave came so soon after their item was received",
    "Failed": "tries without a valid answer, and their share of all tries",
    "Cost": "US dollars billed for these items, shadows and replays apart",
    "Per 1,000": "US dollars for a thousand answers",
}
THROUGHPUT: Legend = {
    "Answers": "all that the lane gave, authoritative passes too",
    "Busy": "from the start of its first try to the end of its last",
    "Answers per minute": "over that time, a minute at least",
}
COSTS: Legend = {
    "Actual": "US dollars billed for these items",
    "All real-time, All batch": "estimates of what one lane alone would have cost, scaled to what was billed",
    "Against all real-time": "what of that was saved; open while items are still to pay",
}
UNKNOWN: Legend = {"Unknown": "the most that calls without an answer can have cost, not in the actual cost"}
STATES: Legend = {
    "Items": "received in the period",
    "Where they stand": "received waits for the router, routed for its lane, working is in a call or a batch; answered has a "
    "provisional answer, settled the final one; failed and canceled get none",
}
ROUTES: Legend = {
    "Decisions": "an item that is decided again counts again",
    "Share": "of the decisions of its workload",
}

# -- batches

BATCHES: Legend = {
    "Done": "requests that the provider has finished, of all",
    "Valid": "items with a valid answer, of those that the batch carries",
    "Time": "from submitted to ended, or so far",
    "Items a minute": "those that it carries, over the time until it ended",
}
BATCH_TOTALS: Legend = {
    "Batches that ended": "of those intended in the period",
    "Items": "that all of them carry",
    "p50, p95": "half and 95 % of the batches ended so soon after they were submitted",
    "Items a minute": "of those that ended, over the time that they were under way",
    "Failed": "of the items that came back, those without a valid answer; cancelled ones apart",
}
DEADLINES: Legend = {
    "Met": "answered in time, in the period",
    "Missed": "answered late, or failed",
    "Overdue now": "due, and neither yet",
    "In time": "met, of all three",
}
CALIBRATION: Legend = {
    "Back in time, it was said": "the probability that was stated when they were routed",
    "Items": "that were told so",
    "Said on average": "the mean of these probabilities",
    "Were back": "those whose batch was back in time",
    "Brier score": "the mean square of what the probabilities were off by, 0 is perfect, 0.25 is a coin",
}
RESCUES: Legend = {
    "Rescued": "items that their batch would hardly have answered by the time they were due",
    "In time": "of those that are answered or due by now",
    "Cost in real time": "US dollars billed there for them",
    "Of it extra": "for those that their batch was billed for, too",
}
SHEDS: Legend = {
    "Items": "free ones that real time could not serve",
    "Saved": "by the estimates of both lanes",
    "Answered": "of the newest thousand",
    "p50, p95": "half and 95 % of these were answered so soon after they were shed",
}

# -- calls

WAITS: Legend = {
    "Items": "that real time asked for",
    "p50, p95": "half and 95 % of them were asked so soon after they were received, their window included",
}
PACKS: Legend = {
    "Packs of": "items that share a call, of those allowed",
    "Packed agrees": "share of packed answers that were the same alone, n of them, since the size was decided",
    "Single with single": "share of answers alone that were the same when asked again",
    "Checks": "what finding out cost for the items of the period",
}
WINDOWS: Legend = {
    "Items / call": "that shared one, on average",
    "Mean wait": "how long an item gathered",
    "Left full, Pressed, Over, Nobody expected": "the share of items that left because their pack was full, one of them had to "
    "be asked, the window was over, or nobody else was expected in it",
}
CALLS: Legend = {
    "Calls": "billed in the period, shadows and replays too",
    "Items / call": "that shared one, on average",
    "Input tokens / item, Output tokens / item": "billed on average, with what a cache gave",
    "From cache": "the share of the input tokens that was read from the provider's cache",
}
CACHING: Legend = {
    "Cache": "whether calls mark what they share, where that is measured to pay; kept 5 minutes, in batches an hour",
    "Hit rate": "the share of the marked tokens that was read and not written",
    "Pays from": "the hit rate from which marking saves",
    "Of calls": "how many the rate was measured in",
    "Looked at": "when that was weighed last",
    "Saved": "in the period, against the same tokens without a cache",
}
CAPACITY: Legend = {
    "A minute": "what the provider allows",
    "Left": "of it, as its last answer told",
    "Told": "how long ago that was",
    "Waiting": "items in real time that ask this model",
    "Drain time": "until these are answered, within the limits",
}
CIRCUITS: Legend = {
    "Answers nobody since": "when its circuit opened",
    "Calls in a row": "that met a fault",
}

# -- steering and use

BUDGETS: Legend = {
    "Spent": "billed in the current period, and the most that calls without an answer can have cost",
    "Kept": "the most that what is under way still may cost",
    "Soft": "from here on what may wait goes to batch",
    "Hard": "never exceeded",
    "Share": "spent of the hard limit, or of the soft one without it",
}
ROLLOUTS: Legend = {"Rollout": "the share of undecided items that goes to real-time, and the step in force"}
SPLITS: Legend = {"To real-time": "the share of the items that no rule decides"}
REPLAYS: Legend = {
    "Answered": "of the items that it has read",
    "Failed": "work of it that ended without an answer",
    "Cost": "US dollars billed for it so far",
}
AMENDMENTS: Legend = {
    "Amendments applied": "in the period",
    "Waiting for their item": "now, however old",
}
READS: Legend = {
    "Reads": "real-time answers that somebody read",
    "Median until read": "half of these were read so soon after they were given",
    "Within 60 s": "the share of these that was read so soon",
    "Never read": "answers that nobody read, though a minute passed",
}
AGREEMENT: Legend = {
    "Compared": "provisional answers that got their authoritative one in the period",
    "Corrected": "those that it replaced",
    "Agreed": "the share that it confirmed",
}
ACCURACY: Legend = {
    "Labels": "labelled fields of answers that the lane gave",
    "Right": "the share in which the answer says what the label says",
    "95 % interval": "where that share lies with so few labels (Wilson)",
}
REFUSALS: Legend = {"Inputs": "refused in the period, each kept with its reason in `lanes.rejected_log`"}

# -- charts

ROUTING_CHART = "A bar for each workload: blue went to real-time, green to batch, each with its reason, number and share."
LATENCY_CHART = "95 % of the answers given then came so soon after their item was received (p95); p50 and p99: half, and 99 %."
BATCH_CHART = (
    "Throughput of each batch that ended: the items that it carries, for each minute from submitted to ended, and in "
    "brackets to collected."
)
