"""What the figures of an advice mean: one legend for each table, which the terminal and the artifact both show below it."""

from lanes.report.section import Legend

CRITERIA: Legend = {"Speaks": "for which lane or pattern the evidence is; unknown where too little was seen"}
LANES: Legend = {
    "API": "US dollars that the provider bills for an item",
    "Infrastructure, Engineering": "what keeping the lane takes a month, over the items a month that it would serve",
    "Total": "all three",
    "Total with 95 %": "where the total lies with 95 % confidence",
    "API price": "billed, or estimated where too little was",
}
BREAK_EVEN: Legend = {
    "Items a month": "at the pace of the period, or as stated",
    "Batch lane a month, Real-time lane a month": "what keeping it takes beside the provider's bill",
    "Items that need real-time": "asked for, due too soon for a batch, or read at once",
    "Batch is cheaper by": "of the provider's bill for an item in real time",
    "Break-even share r*": "with fewer items that need real-time, a second lane pays",
    "A second lane pays from": "the volume at which it saves what it takes",
    "20 % rule": "a second lane pays where less than 20 % need real-time; the ledger asks whether less than r* do",
    "A corrected answer is worth": "as stated for one that is wrong as a whole, by the share of its fields that change",
}
PLANS: Legend = {
    "In real-time": "the share of the items answered there",
    "Provider": "its bill of a month, US dollars",
    "Lanes": "what keeping those that run takes",
    "Paid": "both",
    "Lost by wrong answers": "those that a second pass would correct and that have none, at what each is worth",
}
SAVINGS: Legend = {
    "USD": "of the period, each part counted after those above it",
    "Of the first": "the share of the first line",
}
CASES: Legend = {
    "Recommended": "what would cost least then, all else as it is",
    "Paid a month": "by it, provider and lanes",
}
CONSUMERS: Legend = {
    "Reads": "real-time answers that somebody read",
    "Median until read": "half of these were read so soon after they were given",
    "Within 60 s, of all": "the share of the answers that was read so soon, those never read counted too",
    "Never read": "though a minute passed",
    "Items on real-time": "those that routing sent there",
}
