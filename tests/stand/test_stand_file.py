"""What is kept of a stand is read whole, or not at all."""

import json
from pathlib import Path

import pytest

from lanes.stand.info import StandInfo, load_info


@pytest.mark.parametrize(
    "written",
    ["", "{", "null", '{"settings": {"SLACK_CHANNEL": {"shown": 1}}}', '{"prefect_api_url": null}'],
)
def test_a_file_that_is_broken_is_no_stand(home: Path, written: str) -> None:
    whole = StandInfo(
        home, home, (), "db.invalid:5432/letters", "http://127.0.0.1:1/api", settings={}
    )
    whole.save()
    kept = home / "stand.json"
    assert load_info(home) == whole
    broken = json.loads(written) if written.startswith("{") and written != "{" else None
    kept.write_text(
        written if broken is None else json.dumps(json.loads(kept.read_text()) | broken)
    )
    assert load_info(home) is None
