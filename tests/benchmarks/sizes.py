"""Sizes for a trial: each benchmark runs in well under a minute on a quiet machine, and its figures are not worth keeping."""

from collections.abc import Mapping, Sequence

SMALL: Mapping[str, Sequence[str]] = {
    "queue": ("--items", "1000", "--rounds", "1", "--hold-s", "2", "--hold-items", "500"),
    "batch": ("--items", "1000", "--rounds", "1", "--steady-items", "100"),
    "events": ("--seconds", "6", "--items", "1000", "--plain", "2", "--cold", "0", "--sql", "20"),
    "burst": ("--events", "200", "--items", "500"),
    "outage": ("--items", "60", "--outage-s", "30"),
    "soak": ("--minutes", "3", "--rate", "20", "--chart", "/dev/null"),
    "calls": ("--calls", "300", "--rounds", "1"),
    "figures": ("--items", "10000", "--rounds", "1"),
    "deadlines": ("--seeds", "1", "--days", "4", "--items-a-day", "500", "--worlds", "2"),
    "drain": ("--items", "600", "--after", "200"),
    "routing": ("--items", "1000", "--rounds", "1"),
    "cost": (
        "--items",
        "400",
        "--rounds",
        "1",
        "--learning",
        "1",
        "--calls",
        "500",
        "--compared",
        "40",
    ),
    "hosts": ("--seconds", "5", "--items", "500", "--matrix", "100"),
    "replay": ("--promoted", "1000", "--items", "1200", "--urgent", "20", "--rounds", "1"),
    "doors": ("--items", "500", "--rounds", "1"),
    "gates": ("--rollouts", "50", "--samples", "5000"),
    "watch": ("--quick", "--items", "10000", "--rounds", "1"),
    "quiet": ("--minutes", "2"),
}
