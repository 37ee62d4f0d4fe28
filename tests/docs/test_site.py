"""What a page of the built site fetches is seen, and its lists are lists."""

import pytest

from tests.docs.rendering import separated
from tests.docs.site import fetched


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        (
            '<script src="assets/bundle.js"></script><link rel="stylesheet" href="assets/main.css">',
            [],
        ),
        ('<a href="https://example.com">there</a>', []),
        ('<link rel="canonical" href="https://example.com/">', []),
        (
            '<script defer src="https://cdn.example.com/x.js"></script>',
            ["https://cdn.example.com/x.js"],
        ),
        (
            '<link rel="stylesheet" href="https://fonts.example.com/css">',
            ["https://fonts.example.com/css"],
        ),
        ("<img src=//img.example.com/a.png>", ["//img.example.com/a.png"]),
    ],
)
def test_only_what_is_fetched_from_elsewhere_counts(html: str, expected: list[str]) -> None:
    assert fetched(html) == expected


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("Why:\n- one\n- two", "Why:\n\n- one\n- two"),
        ("So:\n1. one\n2. two", "So:\n\n1. one\n2. two"),
        ("- one\n  goes on\n- two", "- one\n  goes on\n- two"),
        ("Text.\n\n- one", "Text.\n\n- one"),
        ("```yaml\nsteps:\n- one\n```", "```yaml\nsteps:\n- one\n```"),
    ],
)
def test_a_list_may_follow_its_paragraph_at_once(page: str, expected: str) -> None:
    assert separated(page) == expected
