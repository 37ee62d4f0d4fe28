"""The report of the lanes, written from one snapshot: for a terminal and as a Prefect artifact."""
