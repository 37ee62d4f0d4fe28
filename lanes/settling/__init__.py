"""What an answer does to its item: outcome, settle, correction, story, and what is listed of it."""
