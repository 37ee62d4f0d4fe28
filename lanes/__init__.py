"""Lanes: items of LLM work answered now, or cheaply later, and never lost. The domain, importable without Prefect."""
