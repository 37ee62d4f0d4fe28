"""Progress of a run and what the run waits for, on a terminal and in a log."""

import io

from rich.console import Console
from rich.progress import Progress

from lanes.mainjob.onlooker import Bars, CountLines
from lanes.stand import progress


class OnlookerClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_log_repeats_no_progress_and_shows_the_wait_every_five_seconds() -> None:
    clock, out = OnlookerClock(), io.StringIO()
    lines = CountLines(out, clock=clock)
    for second in range(12):
        clock.now = 100.0 + second
        lines.show_wait(f"waiting since {second} s")
        lines.show_count("settled", 1, 100)
    assert out.getvalue().splitlines() == [
        "settled: 1 of 100",
        "waiting since 5 s",
        "waiting since 10 s",
    ]


def test_a_log_shows_no_wait_right_after_another_line() -> None:
    clock, out = OnlookerClock(), io.StringIO()
    lines = CountLines(out, clock=clock)
    clock.now += 6
    lines.show_count("settled", 50, 100)
    lines.show_wait("waiting for the rest")
    assert "waiting" not in out.getvalue()


def test_a_terminal_shows_the_wait_as_plain_text_in_one_line() -> None:
    bars = Bars(Progress())
    bars.show_count("settled", 1, 2)
    bars.show_wait("waiting for [bold]2[/bold] answers")
    console = Console(file=io.StringIO(), width=80)
    console.print(bars)
    bars.show_wait("")
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "waiting for [bold]2[/bold] answers" in shown
    console.print(bars)
    assert console.file.getvalue().count("waiting") == 1  # type: ignore[attr-defined]


def test_a_log_of_the_start_names_the_current_step_every_five_seconds() -> None:
    clock, out = OnlookerClock(), io.StringIO()
    lines = progress.StepLines(out, clock=clock)
    lines.begin("Prefect server")
    for _ in range(11):
        clock.now += 1
        lines.remind()
    lines.end("Prefect server", "started", 11.0)
    clock.now += 9
    lines.remind()
    assert out.getvalue().splitlines() == [
        "waiting for Prefect server (5 s)",
        "waiting for Prefect server (10 s)",
        "Prefect server: started (11.0 s)",
    ]
