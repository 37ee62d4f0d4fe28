"""WHERE the work runs and as whom: connections and secrets, and the editors of workloads and playbooks in the Prefect UI."""
