"""The Anthropic client: one call, one batch, and what each error means."""
