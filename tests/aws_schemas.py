"""The JSON schemas that aws-rum-web publishes, as validators by the event's type."""

import json

from jsonschema import Draft202012Validator

METADATA = "com.amazon.rum.meta_data"
XRAY = "com.amazon.rum.xray_trace_event"

FILES = {
    "com.amazon.rum.session_start_event": "session-start-event",
    "com.amazon.rum.page_view_event": "page-view-event",
    "com.amazon.rum.performance_navigation_event": "navigation-event",
    "com.amazon.rum.performance_resource_event": "resource-event",
    "com.amazon.rum.largest_contentful_paint_event": "largest-contentful-paint-event",
    "com.amazon.rum.first_input_delay_event": "first-input-delay-event",
    "com.amazon.rum.cumulative_layout_shift_event": "cumulative-layout-shift-event",
    "com.amazon.rum.interaction_to_next_paint_event": "interaction-to-next-paint",
    "com.amazon.rum.first_contentful_paint_event": "first-contentful-paint-event",
    "com.amazon.rum.time_to_first_byte_event": "time-to-first-byte-event",
    "com.amazon.rum.js_error_event": "js-error-event",
    "com.amazon.rum.http_event": "http-event",
    "com.amazon.rum.dom_event": "dom-event",
    XRAY: "xray-trace-event",
    METADATA: "meta-data",
}


class Schemas:
    """What AWS's schemas say of events and their metadata."""

    def __init__(self, folder):
        self.documents = {name: _read(folder / f"{file}.json") for name, file in FILES.items()}
        self._validators = {name: Draft202012Validator(schema) for name, schema in self.documents.items()}

    def problems(self, kind, instance):
        """What is wrong with an event's details or with metadata; custom types have no schema."""
        validator = self._validators.get(kind)
        if validator is None:
            assert not kind.startswith("com.amazon."), f"{kind} is no type of RUM"
            return []
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(instance)]

    def problems_of_request(self, request):
        """What is wrong with the events of a PutRumEvents request, as the service sees them."""
        shared = json.loads(request.get("SessionMetadata", "{}"))
        found = []
        for event in request["RumEvents"]:
            metadata = {**shared, **json.loads(event["metadata"])}
            found += [(event["type"], each) for each in self.problems(event["type"], json.loads(event["details"]))]
            found += [(event["type"], each) for each in self.problems(METADATA, metadata)]
        return found


def _read(path):
    schema = json.loads(path.read_text())
    # the X-Ray schema's parts have $ids of their own, against which its references would be resolved
    return {**_without_ids(schema), "$id": schema["$id"]}


def _without_ids(value):
    if isinstance(value, dict):
        return {k: _without_ids(v) for k, v in value.items() if not (k == "$id" and isinstance(v, str))}
    return [_without_ids(each) for each in value] if isinstance(value, list) else value
