"""WHERE the work runs and as whom: connections and secrets, and the editor of workloads in the Prefect UI."""
