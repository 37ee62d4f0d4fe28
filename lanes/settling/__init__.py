"""The effects of answers on their items: attempts, outcomes, settling, corrections, the story of an item, and listings."""
