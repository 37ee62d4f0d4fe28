"""The embedded stand: Postgres, model endpoint, Prefect server and workers of one checkout."""
