"""The references of docs/reference/, made from the code: `python -m tests.docs.references` writes them again."""
