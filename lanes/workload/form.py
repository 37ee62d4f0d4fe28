"""How Prefect's interface makes a form of a model: from its JSON schema, which its database keeps without the order of keys."""

from typing import Any

from pydantic import BaseModel, ConfigDict

NULL = {"type": "null"}


def arrange(schema: dict[str, Any]) -> None:
    """The fields of a model's schema come in the order in which the model lists them, and one that may be None is an input
    that may stay empty, where the interface would offer a choice of a type and show `Property is type "None"`.

    Prefect takes None for such a field all the same: it is not required and names no default.
    """
    for position, field in enumerate(schema.get("properties", {}).values()):
        field["position"] = position
        kinds = [each for each in field.get("anyOf", ()) if each != NULL]
        if NULL in field.get("anyOf", ()) and len(kinds) == 1:
            del field["anyOf"]
            field.update(kinds[0])
            if field.get("default", ...) is None:
                del field["default"]


class Form(BaseModel):
    """What a person fills in: of each field its title, its description with the bounds, and its place."""

    model_config = ConfigDict(json_schema_extra=arrange)
