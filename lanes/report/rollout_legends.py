"""What the figures of a rollout mean: one legend for each table of its artifact, and of the form that asks for approval."""

from lanes.report.section import Legend
from lanes.rollouts.gates import Measure

BAR_MEANS = "Bar: the steps that are done, and of the one in force the answers that it waits for."
STEPS: Legend = {
    "Real-time": "the share of the items that no rule decides",
    "Hold": "answers of the receiving lane that it waits for, and how long at most; an approval starts that time again",
}
GATES: Legend = {
    "Limit": "what the measure must keep",
    "Needs": "items measured before it can pass",
    "Verdict": "failed only where 99 % sure; inconclusive and error hold the step",
}
MEASURES = {
    Measure.ERROR_RATE: "share of items of which a try failed, or that the lane gave away",
    Measure.P95_S: "the time within which 95 % of the answers came; what still waits longer counts as slow",
    Measure.DEADLINES_MET: "share of the due items that were answered in time",
    Measure.AGREEMENT: "share of provisional answers that the authoritative pass confirmed",
}
HISTORY: Legend = {"Real-time": "the share from then on"}
