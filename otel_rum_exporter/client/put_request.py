"""A batch as the request that is sent: written, compressed, signed."""

from __future__ import annotations

import zlib

import msgspec
from botocore.awsrequest import AWSPreparedRequest, AWSRequest

from otel_rum_exporter.client.lean_client import LeanClient
from otel_rum_exporter.config import Compression
from otel_rum_exporter.events import Batch

_MIN_COMPRESSED = 2048  # bytes; below, a request fits into two or three packets anyway
_MIN_SAVING = 0.8  # of the size; aws-rum-web's threshold
# Level 1 makes 8.5 of 43 KB (100 HTTP events) in 0.13 ms of CPU, level 6 makes 7.6 KB in 0.29 ms; of a browser's 9 KB 2.2
# in 23 us, and 2.0 in 49. Levels 2 and 3 save 1 or 2 % of that, level 4 half of what 6 saves for most of its CPU.
_GZIP_LEVEL = 1
_GZIP_FORMAT = 16  # added to zlib's window bits
# A window needs to be no larger than the body, and getting 256 KiB of memory from the system for a large one costs more
# than compressing into it: of a body of 4 KB 37 us with 15 bits, 12 with 13, both in 0.93 KB
_SMALLEST_WINDOW, _LARGEST_WINDOW = 13, 15


def put_request(batch: Batch, client: LeanClient, compression: Compression) -> AWSPreparedRequest:
    """Return the request that puts a batch.

    Errors: ValueError for text that is no Unicode; what boto3 raises when there are no credentials.
    """
    parameters = batch.request()
    url = client.url(parameters.pop("Id"))
    body, headers = msgspec.json.encode(parameters), client.headers
    if compression == "gzip" and (compressed := _compressed(body)):
        body, headers = compressed, {**headers, "Content-Encoding": "gzip"}
    request = AWSRequest("POST", url, headers, body)
    client.sign(request)
    # request.prepare() would give the same with headers that are slow to read: 26 of 290 us
    sent = {**dict(request.headers.items()), "Content-Length": str(len(body))}
    return AWSPreparedRequest("POST", url, sent, body, stream_output=False)


def _compressed(body: bytes) -> bytes | None:
    """Return a body in gzip's format, None where that does not save enough."""
    if len(body) < _MIN_COMPRESSED:
        return None
    window = min(max(_SMALLEST_WINDOW, len(body).bit_length()), _LARGEST_WINDOW)
    compressor = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT + window)
    compressed = compressor.compress(body) + compressor.flush()
    return compressed if len(compressed) <= _MIN_SAVING * len(body) else None
