"""The objects that this release declares for Prefect, and their differences from the objects that Prefect has."""

from collections import defaultdict
from collections.abc import Mapping
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from lanes import FILES, PACKAGES
from lanes.errors import StandError
from lanes.stand.prefect_api import PrefectApi

ROOMS = ("flows", "tasks", "blocks", "lanes")
AUTOMATIONS = PACKAGES / "tasks" / "automations.yaml"
SILENT_RUNS = "lanes-mark-silent-runs"  # the automation that no file declares
VERSION = "LANES_RELEASE"  # the variable in prefect.yaml with the version of each deployment


def release(packages: Path = PACKAGES, files: Path = FILES) -> str:
    """Return the version of Lanes with a digest of its source, which is the version of each deployment.

    A wheel and the checkout that it was built from have the same digest: in a wheel, `files` is a folder in `packages`.
    """
    digest = blake2b(digest_size=4)
    found = [(packages, file) for room in ROOMS for file in (packages / room).rglob("*.py")]
    sources = [each for each in found if files == packages or files not in each[1].parents]
    sources += [(files, file) for file in (files / "migrations" / "playbooks").glob("*.yaml")]
    named = sorted((str(file.relative_to(folder)), file) for folder, file in sources)
    for name, file in [("prefect.yaml", files / "prefect.yaml"), *named]:
        digest.update(name.encode())
        digest.update(file.read_bytes())
    return f"{metadata.version('lanes')}+{digest.hexdigest()}"


def read_deployments(file: Path = FILES / "prefect.yaml") -> dict[str, dict[str, Any]]:
    """Return the deployments of prefect.yaml, by name.

    Raises:
        StandError: the file cannot be read as deployments.
    """
    try:
        return {str(each["name"]): each for each in yaml.safe_load(file.read_text())["deployments"]}
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise StandError(
            f"{file} cannot be read as deployments: restore it from the repository"
        ) from error


def shortcomings(
    api: PrefectApi, wanted: Mapping[str, Mapping[str, Any]], ours: str | None = None
) -> list[str]:
    """Return sentences on how the deployments and automations in Prefect differ from those of this release (`ours`)."""
    present, automations, ours = api.deployments(), api.automations(), ours or release()
    problems: dict[str, list[str]] = defaultdict(list)
    names = [SILENT_RUNS, *(each["name"] for each in yaml.safe_load(AUTOMATIONS.read_text()))]
    for name, declaration in sorted(wanted.items()):
        names += [each["name"] for each in declaration.get("triggers", ())]
        if (has := present.get(name)) is None:
            problems["Prefect lacks the deployments {}"].append(name)
            continue
        if folder := has.get("path") or _folders(has):
            problems[
                f"the deployments {{}} load their code from {folder}, a folder of one machine"
            ].append(name)
        wants = {"version": ours, "entrypoint": declaration["entrypoint"]}
        wants["work_pool_name"] = declaration["work_pool"]["name"]
        for field in (each for each in wants if has.get(each) != wants[each]):
            problems[
                f"the deployments {{}} have {field} {has.get(field)}, not {wants[field]}"
            ].append(name)
    for name in names:
        if (automation := automations.get(name)) is None:
            problems["Prefect lacks the automations {}"].append(name)
        elif not automation["enabled"]:
            problems["the automations {} are switched off"].append(name)
    every, short = f"the deployments {', '.join(sorted(wanted))}", f"all {len(wanted)} deployments"
    sentences = [what.format(", ".join(which)) for what, which in problems.items()]
    return [each.replace(every, short) for each in sentences]


def _folders(deployment: Mapping[str, Any]) -> str:
    """Return the folders that the pull steps of a deployment enter."""
    steps = (values for step in deployment.get("pull_steps") or () for values in step.values())
    return ", ".join(str(values.get("directory", values)) for values in steps)
