"""Prints the spans in bodies of OTLP requests: otlp_spans.py FILE...

Each file is one body, read by the protocol's own package (`opentelemetry-proto`). One line of JSON a span: ids in
hexadecimal, attributes as an object, the resource's beside them. A body that does not read, or that holds a field
which that package does not know, ends it with an error.
"""

import json
import sys

from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def value(any_value):
    kind = any_value.WhichOneof("value")
    held = getattr(any_value, kind)
    return [value(item) for item in held.values] if kind == "array_value" else held


def attributes(pairs):
    told = {pair.key: value(pair.value) for pair in pairs}
    assert len(told) == len(pairs), "a key stands twice"
    return told


def known(message):
    assert not len(UnknownFieldSet(message)), f"unknown fields in {type(message).__name__}"
    for field, held in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for item in held if field.is_repeated else [held]:
                known(item)


for path in sys.argv[1:]:
    with open(path, "rb") as body:
        request = ExportTraceServiceRequest.FromString(body.read())
    known(request)
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                print(json.dumps({
                    "resource": attributes(resource.resource.attributes),
                    "scope": scope.scope.name,
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "flags": span.flags,
                    "name": span.name,
                    "kind": span.kind,
                    "began": span.start_time_unix_nano,
                    "ended": span.end_time_unix_nano,
                    "status": span.status.code,
                    "attributes": attributes(span.attributes),
                    "events": [[event.name, attributes(event.attributes)] for event in span.events],
                }))
