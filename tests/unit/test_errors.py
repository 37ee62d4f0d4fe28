"""The drawn tree of errors matches the classes, and each error says who raises it and what to do."""

import inspect
import re
from collections.abc import Iterator

import pytest

from lanes import errors
from lanes.client import AsyncLanes, Lanes
from lanes.errors import LanesError

DRAWN = re.compile(r"^(?P<branch>[ │├└─]*)(?P<name>[A-Z]\w+)", re.MULTILINE)
PUBLIC = {
    name: one
    for name, one in vars(errors).items()
    if inspect.isclass(one) and issubclass(one, LanesError)
}


def tree(of: type[LanesError] = LanesError, depth: int = 0) -> Iterator[tuple[int, str]]:
    yield depth, of.__name__
    for each in of.__subclasses__():
        if each.__name__ in PUBLIC:
            yield from tree(each, depth + 1)


def test_the_drawn_tree_matches_the_error_classes() -> None:
    picture = inspect.cleandoc(errors.__doc__ or "").split("\n\n")[1]
    depth = {0: 0, 5: 1, 10: 2}  # by the width of the lines before a name
    drawn = [(depth[len(found["branch"])], found["name"]) for found in DRAWN.finditer(picture)]
    assert drawn == list(tree())
    assert {name for _, name in drawn} == set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_error_documents_its_meaning_who_raises_it_and_what_to_do(name: str) -> None:
    first, *_, last = inspect.cleandoc(PUBLIC[name].__doc__ or "").split("\n\n")
    assert first
    assert re.match(r"Raised by: .+?\nWhat to do: .+", last, re.DOTALL)


@pytest.mark.parametrize("of", [Lanes, AsyncLanes])
def test_every_error_that_a_call_documents_names_that_call_as_its_source(of: type[object]) -> None:
    calls = [
        one
        for name, one in vars(of).items()
        if inspect.isfunction(one) and not name.startswith("_")
    ]
    for call in calls:
        _, _, raised = inspect.cleandoc(call.__doc__ or "").partition("Raises:\n")
        for names in re.findall(r"^    ([\w, ]+):", raised, re.MULTILINE):
            for name in names.split(", "):
                by = re.search(
                    r"Raised by: (.+?)\nWhat to do",
                    inspect.cleandoc(PUBLIC[name].__doc__ or ""),
                    re.DOTALL,
                )
                assert by is not None
                assert f"`{call.__name__}`" in by[1] or "every call" in by[1], (
                    f"{name} of {call.__name__}"
                )
