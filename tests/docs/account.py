"""The number of blocks on each page, by treatment: `.venv/bin/python -m tests.docs.account` prints it."""

from collections import Counter
from collections.abc import Iterator

from tests.docs.blocks import RUN, around, blocks, docs, named


def account() -> str:
    """Return a line for each page with blocks, a line with the reason for each block that is not run, and the sums."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    total = Counter[str]()
    for page in [*docs(), *around()]:
        found = list(blocks(page))
        counted = Counter(
            "run" if each.is_run else "left out" if each.language in RUN else "only read"
            for each in found
        )
        total += counted
        if counted:
            yield f"{named(page)}: {', '.join(f'{number} {what}' for what, number in sorted(counted.items()))}"
        yield from (f"  {each}: {each.not_run}" for each in found if each.not_run)
    yield f"{total['run']} blocks are run, {total['only read']} are read or shown, {total['left out']} are left out"


if __name__ == "__main__":
    print(account())
