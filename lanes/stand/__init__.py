"""The embedded stand of one checkout: Postgres, model endpoint, Prefect server and workers; it reaches Prefect by its command
and its HTTP API alone.
"""
