"""A version: instructions, schema, models, rules, window, promises; the prices of its models; its file and what changed."""
