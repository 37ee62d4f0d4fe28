"""The embedded stand of one checkout: Postgres, model endpoint, Prefect server and workers.

The stand uses Prefect only through its command line and its HTTP API.
"""
