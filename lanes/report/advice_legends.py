"""What the figures of an advice mean: one legend for each table, which the terminal and the artifact both show below it."""

from lanes.report.section import Legend

CRITERIA: Legend = {"Speaks": "for which lane or pattern the evidence is"}
LANES: Legend = {
    "API": "the provider's bill, US dollars",
    "Infrastructure, Engineering": "what keeping the lane takes a month, over its items a month",
    "Total": "all three",
    "Total with 95 %": "where that surely lies",
    "API price": "billed, or estimated where too little was",
}
BREAK_EVEN: Legend = {
    "Items a month": "at the pace of the period, or as stated",
    "Batch lane a month, Real-time lane a month": "what keeping it takes beside the provider's bill",
    "Items that need real-time": "asked for, due too soon for a batch, or read at once",
    "Batch is cheaper by": "of the provider's bill for an item",
    "Break-even share r*": "with fewer items that need real-time, a second lane pays",
    "A second lane pays from": "where it saves what it takes",
    "20 % rule": "a second lane pays below 20 % that need real-time; the ledger asks this one's r*",
    "A corrected answer is worth": "as stated, by the share of its fields that change",
}
PLANS: Legend = {
    "In real-time": "of the items",
    "Provider": "its bill of a month, US dollars",
    "Lanes": "what keeping those that run takes",
    "Paid": "both",
    "Lost by wrong answers": "what a second pass would correct and none did",
}
SAVINGS: Legend = {
    "USD": "of the period, each part after those above it",
    "Of the first": "its share of the first line",
}
CASES: Legend = {
    "Recommended": "what would cost least then",
    "Paid a month": "by it, provider and lanes",
}
CONSUMERS: Legend = {
    "Reads": "of real-time answers",
    "Median until read": "from answered",
    "Within 60 s, of all": "those never read counted too",
    "Never read": "though a minute passed",
    "Items on real-time": "that routing sent there",
}
