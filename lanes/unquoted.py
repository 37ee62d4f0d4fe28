"""What an exception says without the value that it is about, for logs."""

from pydantic import ValidationError


def unquoted(error: Exception) -> str:
    """The text of an error; of one about values, their places and rules only."""
    if not isinstance(error, ValidationError):
        return str(error)
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return f"{error.title}: " + "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['type']}" for each in faults)
