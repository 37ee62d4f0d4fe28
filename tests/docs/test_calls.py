"""Calls of the client that the pages show, in blocks and in their lines, are calls that it takes."""

import ast
import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_type_hints

from lanes import client
from tests.docs.blocks import around, blocks, docs, named
from tests.docs.links import codes

HANDLES = {"Lanes": client.Lanes, "AsyncLanes": client.AsyncLanes}


def shown() -> Iterator[tuple[str, str]]:
    """Yield what may be Python, with its place."""
    for page in [*docs(), *around()]:
        yield from ((str(each), each.text) for each in blocks(page) if each.language == "python")
        yield from ((named(page), code) for code in codes(page))


def calls(text: str) -> Iterator[tuple[ast.Call, Callable[..., Any] | None]]:
    """Those of the client's functions and of a handle's, with what is called; None: there is no such thing."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="client"), attr=name)):
                yield node, getattr(client, name, None)
            case ast.Call(
                func=ast.Attribute(value=ast.Call(func=ast.Name(id=handle)), attr=name)
            ) if handle in HANDLES:
                yield node, getattr(HANDLES[handle], name, None)


def refused(text: str) -> list[str]:
    """Return the calls that the client does not accept."""
    wrong = list[str]()
    for call, called in calls(text):
        named = {each.arg for each in call.keywords if each.arg}
        if called is None or named - taken(called):
            wrong.append(ast.unparse(call))
    return wrong


def taken(called: Callable[..., Any]) -> set[str]:
    """Return the names of its parameters, and of the fields of an item."""
    parameters = inspect.signature(called).parameters
    more = [each for each in parameters.values() if each.kind is inspect.Parameter.VAR_KEYWORD]
    return {
        *parameters,
        *(
            name
            for each in more
            for unpacked in get_args(each.annotation)
            for name in get_type_hints(unpacked)
        ),
    }


def test_the_client_takes_every_call_that_is_shown() -> None:
    told = list(shown())
    assert len([call for _, text in told for call in calls(text)]) > 10
    assert [(where, wrong) for where, text in told if (wrong := refused(text))] == []
