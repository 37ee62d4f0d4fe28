"""Files of deploy/ match each other and the code, the set-up installs only hashed files, and pages show every screenshot.

A test is skipped if its tool is not installed.
"""

import inspect
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lanes.cli import app
from lanes.commands.figures import metrics
from lanes.settings import Settings
from tests.unit.modules import ROOT

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
POOLS = ("docker", "kubernetes")
OURS = {str(each.validation_alias) for each in Settings.model_fields.values()}
OF_OTHERS = re.compile(r"PREFECT_|POSTGRES_|PYTHON|UV_|PATH$")
LONGEST_CALL_S = 60
FOLDER = ROOT / "docs/screenshots"
MOST, MOST_BYTES = 6, 150_000
SHOWN = re.compile(r"!\[[^]]+\]\((?:\.\./)*screenshots/([\w-]+\.png)\)")


def manifests() -> list[dict[str, Any]]:
    """Return the objects of the Kustomization."""
    wanted = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())
    files = [DEPLOY / "kubernetes" / each for each in wanted["resources"]]
    return [each for file in files for each in yaml.safe_load_all(file.read_text())]


def template(pool: str) -> dict[str, Any]:
    """Return the base job template of a pool."""
    return json.loads((DEPLOY / "pools" / f"{pool}.json").read_text())


def run(program: str, *arguments: str, given: str | None = None) -> str:
    """Run a program in deploy/ and return its output; skip the test if the program is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [program, *arguments], cwd=DEPLOY, text=True, capture_output=True, input=given
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def commands() -> list[list[str]]:
    """Return every command that starts Lanes in a container."""
    found = [
        each["command"] for each in SERVICES.values() if each.get("command", [""])[0] == "lanes"
    ]
    pods = [
        each["spec"]["template"]["spec"]
        for each in manifests()
        if "template" in each.get("spec", {})
    ]
    return found + [container["command"] for pod in pods for container in pod["containers"]]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_a_container_runs_a_command_that_exists(command: list[str]) -> None:
    assert command[0] == "lanes"
    app.parse_args(command[1:], exit_on_error=False, print_error=False)


def test_every_variable_is_known_to_the_settings_or_to_its_program() -> None:
    named = set(re.findall(r"\b(?:LANES|ANTHROPIC|SLACK)_[A-Z_]+\b", _everything()))
    assert named - OURS - {"LANES_TAG"} == set()
    environment = {name for each in SERVICES.values() for name in each.get("environment", {})}
    assert {name for name in environment if name not in OURS and not OF_OTHERS.match(name)} == set()


def test_every_address_in_the_stack_names_one_of_its_services() -> None:
    told = _text("compose.yaml") + _text("haproxy.cfg")
    scraped = yaml.safe_load(_text("prometheus.yml"))["scrape_configs"][0]["static_configs"]
    told += "".join(f"://{target}/" for each in scraped for target in each["targets"])
    named = set(re.findall(r"(?:@|://)([a-z][a-z0-9-]*)[:/]", told))
    named |= set(re.findall(r"server api-\d ([a-z0-9-]+):", told))
    assert named - {"hub", "0"} <= SERVICES.keys()
    awaited = {name for each in SERVICES.values() for name in each.get("depends_on", {})}
    assert awaited <= SERVICES.keys()


def test_prometheus_scrapes_the_port_that_serves_the_metrics() -> None:
    port = str(inspect.signature(metrics).parameters["port"].default)
    assert f'"metrics:{port}"' in _text("prometheus.yml")
    deployment, service = yaml.safe_load_all(_text("kubernetes/metrics.yaml"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert [each["containerPort"] for each in container["ports"]] == [int(port)]
    assert service["metadata"]["annotations"]["prometheus.io/port"] == port
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]
    run("promtool", "check", "config", "prometheus.yml")


def test_the_files_that_the_stack_mounts_exist() -> None:
    files = [each["file"] for each in COMPOSE["configs"].values() if "file" in each]
    assert [each for each in files if not (DEPLOY / each).exists()] == []


@pytest.mark.parametrize("pool", POOLS)
def test_a_base_job_template_names_its_variables_and_starts_our_runs(pool: str) -> None:
    told = template(pool)
    properties = told["variables"]["properties"]
    used = set(re.findall(r"{{ (\w+) }}", json.dumps(told["job_configuration"])))
    assert used == properties.keys()
    assert properties["command"]["default"] == "python -m flows"
    environment = properties["env"]["default"]
    assert environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    assert {"PREFECT_API_URL", "LANES_KEEP_WARM"} <= environment.keys()


def test_no_pod_may_write_files_gain_privileges_or_be_stopped_during_a_call() -> None:
    pods = [each["spec"]["template"]["spec"] for each in manifests() if "template" in each["spec"]]
    pods.append(
        template("kubernetes")["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    )
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        if pod.get("restartPolicy") != "Never" or "terminationGracePeriodSeconds" in pod:
            assert pod["terminationGracePeriodSeconds"] >= LONGEST_CALL_S


def test_the_image_has_the_release_of_prefect_from_the_lock_file() -> None:
    locked = re.search(
        r'name = "prefect"\nversion = "([^"]+)"', (DEPLOY.parent / "uv.lock").read_text()
    )
    assert locked is not None
    values = yaml.safe_load(_text("kubernetes/prefect-values.yaml"))
    assert values["global"]["prefect"]["image"]["prefectTag"].startswith(f"{locked[1]}-")


def test_the_templates_have_the_variables_of_their_worker() -> None:
    kubernetes = pytest.importorskip(
        "prefect_kubernetes", reason="prefect-kubernetes is not installed"
    )
    docker = pytest.importorskip("prefect_docker", reason="prefect-docker is not installed")
    for pool, worker in (
        ("kubernetes", kubernetes.KubernetesWorker),
        ("docker", docker.DockerWorker),
    ):
        theirs = worker.get_default_base_job_template()["variables"]["properties"]
        assert template(pool)["variables"]["properties"].keys() == theirs.keys()


def test_the_dockerfile_passes_hadolint() -> None:
    run("hadolint", "Dockerfile")


def test_docker_compose_accepts_the_stack() -> None:
    run("docker-compose", "--file", "compose.yaml", "config", "--quiet")


def test_haproxy_accepts_its_configuration(tmp_path: Path) -> None:
    hosts = (
        _text("haproxy.cfg").replace("prefect-1:", "127.0.0.1:").replace("prefect-2:", "127.0.0.2:")
    )
    file = tmp_path / "haproxy.cfg"
    file.write_text(hosts)
    run("haproxy", "-c", "-f", str(file))


def test_kubernetes_accepts_every_manifest(tmp_path: Path) -> None:
    built = tmp_path / "built.yaml"
    built.write_text(run("kustomize", "build", "kubernetes"))
    run("kubernetes-validate", "--strict", str(built))


def _text(name: str) -> str:
    return (DEPLOY / name).read_text()


def _everything() -> str:
    files = [each for each in DEPLOY.rglob("*") if each.is_file()]
    return "\n".join(each.read_text() for each in files)


def test_the_screenshots_are_few_and_small() -> None:
    pictures = list(FOLDER.iterdir())
    assert 0 < len(pictures) <= MOST
    for each in pictures:
        assert each.read_bytes().startswith(b"\x89PNG"), each.name
        assert each.stat().st_size <= MOST_BYTES, each.name


def test_every_screenshot_is_on_a_page_and_every_screenshot_on_a_page_exists() -> None:
    shown = {
        name for page in (ROOT / "docs").rglob("*.md") for name in SHOWN.findall(page.read_text())
    }
    assert shown == {each.name for each in FOLDER.iterdir()}


def test_the_first_program_that_setup_installs_is_verified_by_its_hash() -> None:
    told = subprocess.run(
        ["make", "-n", "-B", "setup"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    installs = [line for line in told.splitlines() if "pip install" in line]
    assert len(installs) == 1
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(installs[0].split())
    named = re.search(r"-r (\S+)", installs[0])
    assert named is not None
    wanted = [
        line for line in (ROOT / named[1]).read_text().splitlines() if not line.startswith("#")
    ]
    assert re.fullmatch(r"uv==[\d.]+ \\", wanted[0])
    assert len(wanted) > 10, "one hash for each platform"
    assert all(re.fullmatch(r" {4}--hash=sha256:[0-9a-f]{64}(?: \\)?", line) for line in wanted[1:])
    assert [
        line for line in told.splitlines() if "uv sync" in line and "--frozen" not in line
    ] == []
