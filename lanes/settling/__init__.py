"""What answers do to their items: attempts, outcomes, settling, corrections, the story of an item, and listings."""
