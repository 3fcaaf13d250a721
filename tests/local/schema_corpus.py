"""Samples and mutants made from JSON schemas."""

import json

WRONG = {
    "string": [7, None, ["a"], True],
    "number": ["7", True, None],
    "integer": [1.5, "1", False],
    "boolean": ["true", 1],
    "object": [[], "{}", None],
    "array": [{}, "[]"],
}


def load(folder):
    """Return the schemas by event type without prefix, that of the metadata among them as ``meta_data``."""
    schemas = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return {schema["$id"].rpartition(".")[2]: _without_nested_ids(schema) for schema in schemas}


def sample(schema, root, depth=0):
    """Return a value with each optional key, following recursive references twice."""
    schema = _resolve(schema, root)
    if "const" in schema or "enum" in schema:
        return schema.get("const") or schema["enum"][0]
    if schema.get("type") == "object":
        return {key: sample(each, root, depth + 1) for key, each in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [] if depth > 4 else [sample(schema["items"], root, depth + 1)]
    return {"string": "x" * schema.get("minLength", 3), "number": 1.5, "integer": 2, "boolean": True}.get(
        schema.get("type"), "anything"
    )


def mutants(schema, value, root, path="$"):
    """Yield (what was done, the value with it) for each rule of the schema."""
    schema = _resolve(schema, root)
    for wrong in WRONG.get(schema.get("type"), []):
        yield f"{path} = {wrong!r}", wrong
    if "const" in schema or "enum" in schema:
        yield f"{path} is another value", "other"
    if "minLength" in schema:
        yield f"{path} too short", value[1:]
    if "maxLength" in schema:
        yield f"{path} too long", value + "x"
    if schema.get("type") == "object":
        yield from _object_mutants(schema, value, root, path)
    if schema.get("type") == "array" and value:
        for label, mutant in mutants(schema["items"], value[0], root, f"{path}[0]"):
            yield label, [mutant]


def _object_mutants(schema, value, root, path):
    for key in schema.get("required", []):
        yield f"{path}.{key} removed", {name: each for name, each in value.items() if name != key}
    if schema.get("additionalProperties") is False:
        yield f"{path}.unknown added", {**value, "unknown": 1}
    for key, child in schema.get("properties", {}).items():
        for label, mutant in mutants(child, value[key], root, f"{path}.{key}"):
            yield label, {**value, key: mutant}


def _resolve(schema, root):
    while "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rpartition("/")[2]]
    return schema


def _without_nested_ids(schema, is_top=True):  # noqa: FBT002 - recursion
    # a 2020-12 validator takes each nested $id for a document of its own
    if isinstance(schema, list):
        return [_without_nested_ids(each, is_top=False) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _without_nested_ids(each, is_top=False) for key, each in schema.items() if is_top or key != "$id"}
