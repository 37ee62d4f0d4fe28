"""The Anthropic client: calls, batches and their results, and the reaction to errors."""
