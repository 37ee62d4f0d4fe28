"""How a run of the main job ends: who ends it, what Prefect shows afterwards, and where the report is found."""

import io
import os
from contextlib import suppress
from pathlib import Path

from lanes.commands.run import attended
from lanes.report.links import report_page
from lanes.settings import Settings
from lanes.stand.prefect_api import PrefectApi
from lanes.stand.progress import StepLines
from lanes.stand.stand import Stand
from lanes.stand.steps import StandStep
from lanes.stand.worksite import Site
from tests.prefect_standin import PrefectStandIn


class FakeTerminal(io.StringIO):
    """A standard stream that is, or is not, a terminal."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def test_a_run_stays_up_while_somebody_sits_at_one_of_its_streams() -> None:
    terminal, pipe = FakeTerminal(terminal=True), FakeTerminal(terminal=False)
    assert attended((terminal, pipe, pipe))  # make run 2>&1 | tee log
    assert attended((pipe, pipe, terminal))  # make run </dev/null >log
    assert not attended((pipe, pipe, pipe))
    closed = FakeTerminal(terminal=True)
    closed.close()
    assert not attended((None, closed, pipe))


def test_a_stop_goes_on_when_nobody_reads_what_it_says() -> None:
    read, written = os.pipe()
    os.close(read)
    gone = os.fdopen(written, "w")
    StepLines(gone).says("stopped worker-batch")
    with suppress(BrokenPipeError):  # its own buffer still holds the line
        gone.close()


def batch_worker(home: Path, prefect: PrefectStandIn) -> Stand:
    """A stand of one worker, for runs of that Prefect."""

    def worker(site: Site) -> str:
        site.prefect_api_url = prefect.api_url
        site.ensure("worker-batch", ["sleep", "600"], environment=os.environ, depends_on={})
        return "up"

    return Stand(Settings(), home, home, steps=[StandStep("worker-batch", "Worker", worker)])


def test_stopping_a_stand_cancels_its_standing_runs_that_do_not_end_with_their_workers(
    home: Path, prefect: PrefectStandIn
) -> None:
    for flow, state in (
        ("answer", "RUNNING"),
        ("collect", "PENDING"),
        ("watch", "SCHEDULED"),
        ("migrate", "RUNNING"),
    ):
        prefect.has_run(flow, state)
    stand = batch_worker(home, prefect)
    stand.up()
    assert stand.down() == ("worker-batch",)
    states = {each.flow: each.state for each in prefect.runs}
    assert states == {
        "answer": "CANCELLED",
        "collect": "CANCELLED",
        "watch": "SCHEDULED",
        "migrate": "RUNNING",
    }


def test_whoever_stays_with_a_stand_hears_that_another_command_took_it_down(home: Path) -> None:
    stand, another = (Stand(Settings(), home, home, steps=[]) for _ in range(2))
    stand.up(keep=False)
    waits = iter([lambda: None, another.down])
    stand.until_down(wait=lambda _: next(waits)())
    assert next(waits, None) is None


def test_a_prefect_that_answers_nothing_holds_up_no_stop(
    home: Path, prefect: PrefectStandIn
) -> None:
    prefect.status = 503
    stand = batch_worker(home, prefect)
    stand.up()
    assert stand.down() == ("worker-batch",)


def test_a_written_report_is_the_newest_of_its_key(prefect: PrefectStandIn) -> None:
    with PrefectApi(prefect.api_url) as api:
        assert report_page(api.newest_artifact("lanes-report")) == "/v2/artifacts/key/lanes-report"
        for number in ("first", "second"):
            written = api.write_artifact("lanes-report", f"# {number}", description=number)
            assert (
                report_page(api.newest_artifact("lanes-report"))
                == f"/v2/artifacts/artifact/{written}"
            )
    assert [(each["type"], each["data"], each["description"]) for each in prefect.artifacts] == [
        ("markdown", "# first", "first"),
        ("markdown", "# second", "second"),
    ]
