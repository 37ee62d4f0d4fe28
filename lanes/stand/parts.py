"""What a stand consists of, by name."""

POSTGRES = "postgres"
ENDPOINT = "endpoint"
SERVER = "prefect-server"
SUPERVISOR = "supervisor"
POOLS = {
    "realtime": "Flow runs that answer at once: drains, and what watches over them",
    "batch": "Flow runs that may take their time: submission, collection, replays, reports",
}
OLDEST_SERVER = 18  # of Postgres
