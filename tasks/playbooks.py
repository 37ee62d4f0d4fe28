"""The files of playbooks, read when a rollout starts; afterwards the rollout's row holds what the file said."""

from pathlib import Path

from lanes.errors import PlaybookInvalid
from lanes.rollouts.playbook import Playbook, parse

FOLDER = Path(__file__).resolve().parents[1] / "migrations" / "playbooks"
MOST_BYTES = 256 * 1024


def load(name: str, file: str = "") -> Playbook:
    """Return the playbook of that name in `migrations/playbooks`, or the one in another file.

    Raises:
        PlaybookInvalid: there is no such file, or it names the lines and fields that are wrong.
    """
    path = Path(file) if file else FOLDER / f"{name}.yaml"
    try:
        if not path.is_file():
            raise PlaybookInvalid(path.stem, [f'there is no file "{path}"'])
        with path.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise PlaybookInvalid(path.stem, [f'the file "{path}" cannot be read: {error}']) from None
    if len(content) > MOST_BYTES:
        raise PlaybookInvalid(
            path.stem, [f'the file "{path}" is larger than 256 KiB; a playbook is not']
        )
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise PlaybookInvalid(path.stem, [f"line {line}: not UTF-8"]) from None
    return parse(path.stem, text)
