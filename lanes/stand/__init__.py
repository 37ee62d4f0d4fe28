"""The embedded stand of one checkout: Postgres, model endpoint, Prefect server and workers.

It reaches Prefect through its command and its HTTP API alone.
"""
