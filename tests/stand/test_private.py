"""Files of a stand: secrets are readable by their owner only and confirm no guess, and a broken stand file is ignored."""

import json
import re
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import pytest

from lanes.stand import login
from lanes.stand.info import StandInfo, load_info
from lanes.stand.local import KEY, digest_of_secrets, write_private
from lanes.stand.postgres import EmbeddedPostgres
from lanes.stand.processes import Processes
from tests.prefect_standin import PrefectStandIn
from tests.stand.shells import put_up
from tests.unit.modules import ROOT


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_a_stamp_is_readable_by_its_owner_only_and_confirms_no_guess(tmp_path: Path) -> None:
    values = ["ANTHROPIC_API_KEY=sk-geheim"]
    digest = digest_of_secrets(tmp_path, values)
    write_private(tmp_path / "installed", digest)
    assert mode(tmp_path / "installed") == mode(tmp_path / KEY) == 0o600
    assert digest == digest_of_secrets(tmp_path, values)
    assert digest != digest_of_secrets(tmp_path, ["ANTHROPIC_API_KEY=sk-other"])
    assert digest != digest_of_secrets(tmp_path / "another", values), (
        "a reader of the stamp alone cannot try a guess"
    )
    assert blake2b(b"ANTHROPIC_API_KEY=sk-geheim", digest_size=16).hexdigest() != digest


@pytest.mark.slow
def test_every_file_has_the_mode_that_the_security_page_states(
    home: Path, prefect: PrefectStandIn
) -> None:
    told = dict(
        re.findall(
            r"^\| `\.lanes/([^`]+)` \| (0\d{3}) \|",
            (ROOT / "SECURITY.md").read_text(),
            re.MULTILINE,
        )
    )
    put_up(home, prefect)
    write_private(home / "installed", digest_of_secrets(home, []))
    login.keep(home, "lanes:geheim")
    login.write_user_login(home, {"PREFECT_API_KEY": "geheim"})
    processes = Processes(home / "processes", home / "logs")
    running = processes.start(
        "sleep", ["sleep", "60"], environment={"PATH": "/usr/bin:/bin"}, directory=home
    )
    processes.stop(running)
    EmbeddedPostgres(home / "postgres").start()
    command = [
        sys.executable,
        "-m",
        "anthropic_standin",
        "--home",
        str(home / "endpoint"),
        "--engine",
        "echo",
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as endpoint:
        assert endpoint.stdout is not None
        assert "READY" in endpoint.stdout.readline()
        endpoint.terminate()
    assert {name: f"{mode(home / name):04o}" for name in told} == told
    assert len(told) == 10


def test_a_file_that_others_could_read_is_replaced_by_a_private_one(tmp_path: Path) -> None:
    file = tmp_path / "installed.json"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new")
    assert (file.read_text(), mode(file), sorted(tmp_path.iterdir())) == ("new", 0o600, [file])


def test_concurrent_steps_share_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: digest_of_secrets(tmp_path / "home", ["a"]), range(40)))
    assert len(made) == 1


def test_a_broken_key_is_replaced_by_a_stable_one(tmp_path: Path) -> None:
    (tmp_path / KEY).write_text("no key")
    assert digest_of_secrets(tmp_path, ["a"]) == digest_of_secrets(tmp_path, ["a"])


@pytest.mark.parametrize(
    "written",
    ["", "{", "null", '{"settings": {"SLACK_CHANNEL": {"shown": 1}}}', '{"prefect_api_url": null}'],
)
def test_a_broken_stand_file_is_ignored(home: Path, written: str) -> None:
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
