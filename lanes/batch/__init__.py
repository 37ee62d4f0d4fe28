"""The batch lane: departures, the life of a batch, lost creates and collected results."""
