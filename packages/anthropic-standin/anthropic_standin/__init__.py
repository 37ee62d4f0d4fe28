"""Local stand-in for the Anthropic API, used when no key is set: Messages, token counts, models, Message Batches."""
