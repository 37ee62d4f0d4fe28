"""What a page of the built site fetches is seen."""

import pytest

from tests.docs.site import fetched


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ('<script src="assets/bundle.js"></script><link rel="stylesheet" href="assets/main.css">', []),
        ('<a href="https://example.com">there</a>', []),
        ('<link rel="canonical" href="https://example.com/">', []),
        ('<script defer src="https://cdn.example.com/x.js"></script>', ["https://cdn.example.com/x.js"]),
        ('<link rel="stylesheet" href="https://fonts.example.com/css">', ["https://fonts.example.com/css"]),
        ("<img src=//img.example.com/a.png>", ["//img.example.com/a.png"]),
    ],
)
def test_only_what_is_fetched_from_elsewhere_counts(html: str, expected: list[str]) -> None:
    assert fetched(html) == expected
