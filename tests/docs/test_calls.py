"""Tests that the client accepts the calls that pages show in blocks and in inline code."""

import ast
import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_type_hints

from lanes import client
from tests.docs.blocks import around, blocks, docs, named
from tests.docs.links import codes

HANDLES = {"Lanes": client.Lanes, "AsyncLanes": client.AsyncLanes}


def shown() -> Iterator[tuple[str, str]]:
    """Yield each text that may be Python, with its position."""
    for page in [*docs(), *around()]:
        yield from ((str(each), each.text) for each in blocks(page) if each.language == "python")
        yield from ((named(page), code) for code in codes(page))


def calls(text: str) -> Iterator[tuple[ast.Call, Callable[..., Any] | None]]:
    """Yield each call of a client function or of a handle's method, with the called function, or None if it does not exist."""
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
    """Return the names of the function's parameters, and of the item fields that it accepts as keyword arguments."""
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


def test_the_client_accepts_every_call_on_a_page() -> None:
    told = list(shown())
    assert len([call for _, text in told for call in calls(text)]) > 10
    assert [(where, wrong) for where, text in told if (wrong := refused(text))] == []
