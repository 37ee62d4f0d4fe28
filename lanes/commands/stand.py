"""The commands that put up, take down and examine the stand of this checkout."""

from dataclasses import asdict

from lanes.commands.options import AsJson
from lanes.commands.running import command, print_json, print_line, tell
from lanes.settings import Settings
from lanes.stand.console import Console
from lanes.stand.errors import StandError


@command
def up(*, samples: bool = False, as_json: AsJson = False) -> None:
    """Start what is missing of the stand: Postgres, schema, model endpoint, Prefect, deployments, workers.

    The provider is asked first whether it accepts the key: where it refuses, nothing is started or written, exit code 1.
    What runs already is kept. Safe to repeat, and to call from several shells at once, also beside `make run`.

    Args:
        samples: Publish the sample workloads into your own database. An embedded one has them.
    """
    from lanes.stand.progress import progress
    from lanes.stand.stand import Stand

    with progress() as shown:
        try:
            result = Stand(Settings.read()).up(shown, samples=samples)
        except KeyboardInterrupt:
            raise StandError(
                "interrupted: what this command had started was stopped again"
            ) from None
    info = result.info
    data = {**asdict(info), "ui_url": info.ui_url, "started": result.started}
    tell(f"Prefect UI: {info.ui_url}", data, as_json=as_json)


@command
def down(*, as_json: AsJson = False) -> None:
    """Stop everything that the stand started. Your own database and Prefect are not touched."""
    from lanes.stand.progress import progress
    from lanes.stand.stand import Stand

    with progress() as shown:
        ended = Stand(Settings.read()).down(shown)
    if as_json:
        print_json({"stopped": ended})
    elif not ended:
        print("nothing was running")


@command
def doctor(*, as_json: AsJson = False) -> int:
    """Check settings, database, schema, Prefect, workers, deployments, blocks, provider, models and Slack.

    Each is ok, or one sentence says what is wrong and what to do. Exit code 1 when something is wrong.
    """
    from lanes.stand.doctor import all_well, examine

    findings = examine()
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        console = Console(highlight=False, soft_wrap=True)
        for each in findings:
            print_line(console, each.verdict, each.check, each.sentence)
    return 0 if all_well(findings) else 1
