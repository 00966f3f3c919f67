"""A small check of JSON values against the schemas of an OpenAPI document."""

import re

_KINDS = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def problem(value, schema, document, place="$"):
    """Return where a value does not fit a schema, or None; only the words that we use are known."""
    while "$ref" in schema:
        schema = resolved(schema["$ref"], document)
    if "anyOf" in schema:
        problems = [problem(value, option, document, place) for option in schema["anyOf"]]
        return None if None in problems else problems[0]
    kinds = schema.get("type", list(_KINDS))
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if not any(_is(value, kind) for kind in kinds):
        return f"{place}: {value!r} is not {kinds}"
    if isinstance(value, dict):
        return _object_problem(value, schema, document, place)
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return f"{place} has {len(value)} items"
        parts = (
            problem(item, schema.get("items", {}), document, f"{place}[{i}]")
            for i, item in enumerate(value)
        )
        return next((part for part in parts if part), None)
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        return f"{place}: {value!r} does not match {schema['pattern']}"
    return None


def _object_problem(value, schema, document, place):
    missing = set(schema.get("required", ())) - value.keys()
    if missing:
        return f"{place} lacks {missing}"
    properties = schema.get("properties", {})
    if schema.get("additionalProperties") is False and value.keys() - properties.keys():
        return f"{place} has {value.keys() - properties.keys()}"
    parts = (
        problem(value[name], part, document, f"{place}.{name}")
        for name, part in properties.items()
        if name in value
    )
    return next((part for part in parts if part), None)


def _is(value, kind):
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, float) and value.is_integer() and kind == "integer":
        return True  # JSON does not tell 1.0 from 1
    return isinstance(value, _KINDS[kind])


def resolved(reference, document):
    """Return the part of a document that a reference names."""
    place = document
    for name in reference.removeprefix("#/").split("/"):
        place = place[name]
    return place
