"""The references in docs/reference/, generated from the code: `python -m tests.docs.references` rewrites them."""
