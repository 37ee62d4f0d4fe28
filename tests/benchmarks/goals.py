"""The figures in each benchmark's last line, in their order, and the promised bound of each."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Goal:
    """A bound of a figure; without a bound the figure is reported as it is."""

    least: float | None = None
    most: float | None = None

    def is_met(self, value: float) -> bool:
        """Return whether the figure keeps the bound. A figure that could not be measured (not a number) keeps no bound."""
        if self.least is None and self.most is None:
            return True
        return (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )

    def __str__(self) -> str:
        if self.least is not None:
            return f"at least {self.least:,g}"
        return "" if self.most is None else f"at most {self.most:,g}"


def least(value: float) -> Goal:
    """Return the goal of a figure of at least `value`."""
    return Goal(least=value)


def most(value: float) -> Goal:
    """Return the goal of a figure of at most `value`."""
    return Goal(most=value)


TOLD = Goal()

GOALS: Mapping[str, Mapping[str, Goal]] = {
    "queue": {
        "items_per_s": TOLD,
        "vs_same_rows": least(0.6),
        "vs_old_floor": least(0.8),
        "vs_pgqueuer": least(0.75),
        "vs_procrastinate": least(15),
        "wal_vs_floor": most(1.0),
        "wal_per_item": most(3_200),
        "bytes_per_item": TOLD,
        "statements_per_item": most(0.05),
        "held_ratio": least(0.8),
    },
    "batch": {
        "vs_same_rows": least(0.8),
        "vs_steadybatch": least(3),
        "submit_per_s": least(10_000),
        "apply_per_s": least(6_500),
        "rss_growth_mb": most(150),
    },
    "events": {
        "warm_p50_s": most(0.1),
        "warm_p99_s": most(0.5),
        "urgent_p99_backfill_s": most(1.0),
        "urgent_p99_busy_s": most(3.0),
        "plain_p50_s": TOLD,
        "plain_lost": TOLD,
        "cold_p50_s": TOLD,
        "cold_vs_plain": most(1.1),
        "sql_p50_s": most(0.02),
        "sql_p99_s": most(0.08),
    },
    "burst": {
        "sent": TOLD,
        "stored": TOLD,
        "answered": TOLD,
        "flow_runs": most(5),
        "last_answer_s": TOLD,
    },
    "outage": {
        "failed": most(0),
        "urgent_p95_after_s": most(20),
        "shed_share": least(0.9),
        "paid_twice": most(0),
    },
    "hosts": {
        "p99_vs_embedded": most(1.5),
        "speedup_two_hosts": least(1.8),
        "takeover_s": most(15),
        "lost": most(0),
        "doubled": most(0),
        "paid_twice": most(0),
        "scrape_ms": most(50),
        "tracing_cost": most(0.05),  # with every trace sampled
    },
    "soak": {
        "p99_ratio": most(1.1),
        "rss_growth_mb": most(20),
        "dead_rows_ratio": most(0.2),  # the threshold at which autovacuum starts by default
    },
    "calls": {"vs_bare": least(0.9), "vs_async_batch_llm": least(1.0)},
    "figures": {
        "snapshot_ms": most(150),
        "status_ms": most(500),
        "watch_ms": most(50),
        "advice_ms": most(200),
        "rebuild_rows_per_s": least(50_000),
        "slowest_read_ms": most(1_000),  # at 5,000,000 items too
        "claim_p99_ratio": most(1.2),
    },
    "deadlines": {
        "missed_share": most(0.01),
        "missed_share_regime": most(0.03),
        "cost_vs_oracle": most(1.12),
        "static_missed": TOLD,
        "firming_missed": TOLD,
        "brier": most(0.1),
        "calibrated_day0_min": least(0.8),
        "calibrated_min": least(0.9),
        "calibrated_quiet_low": least(0.93),
        "calibrated_quiet_high": most(0.985),
    },
    "drain": {"rss_growth_mb": most(20)},
    "routing": {"routes_per_s": least(20_000), "intake_vs_floor": least(0.6)},
    "cost": {
        "vs_all_realtime": most(0.25),
        "vs_optimum": most(1.05),
        "agreement": least(0.97),
        "ledger_difference_usd": most(0),
        "cold_primer_ratio": most(0.3),
        "cold_marked_ratio": TOLD,
        "second_passes_saved": least(0.6),
        "corrections_missed": most(0.1),  # the stated risk
    },
    "replay": {
        "promote_s": most(1.0),
        "live_p99_ratio": most(1.2),
        "paid_again": most(0),
        "differing_call_share": most(0.055),
    },
    "doors": {
        "submit_per_s": least(5_000),
        "submit_many_per_s": least(20_000),
        "client_many_per_s": least(15_000),
        "vs_insert": least(0.3),
    },
    "gates": {
        "false_alarm_upper": most(0.05),
        "naive_false_alarm": TOLD,
        "pass_at_twice_limit": most(0.01),
        "items_vs_fixed": most(1.8),
        "moved_when_stopped": most(0.25),
        "paired_sample_share": most(0.35),
        "oracle_difference": most(0.02),
    },
    "watch": {
        "quiet_incidents": most(1),
        "week_breaches_told": least(40),
        "outage_messages": most(1),
        "median_delay_s": most(60),
        "late_told_share": least(1),
        "late_false_per_1000": most(12),
        "drift_detected": least(0.95),
        "drift_items": TOLD,
        "drift_false_per_month": most(0.1),
        "tick_s": most(0.2),
        "opened_at_half_limit_per_day": most(0.05),
    },
    "quiet": {"incidents": most(0), "messages": most(0), "items": TOLD, "unsettled": most(0)},
}
