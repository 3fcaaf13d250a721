"""Events and batches as the spool keeps them: whose a row is, what it holds, and a batch that is on its way."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from otel_rum_exporter.convert.conversion import Draft
from otel_rum_exporter.convert.drafts import decode_draft, encode_draft
from otel_rum_exporter.events import NO_CLIENT, AppMonitor, Batch, Client
from otel_rum_exporter.sending.batching import Queued, Stored
from otel_rum_exporter.sending.delivery import Delivery, Part
from otel_rum_exporter.sessions.session import BatchKey, Keyed
from otel_rum_exporter.spool.queue import Lease, NewRow, Row, Spool


class _Owner(Struct, frozen=True):
    """Whose a row is: its batch key and the user that its item names."""

    monitor: AppMonitor
    session_id: str
    is_client: bool | None
    client: Client
    user_id: str | None


class _Sent(Struct, frozen=True):
    """A batch that is on its way, with the rows of its events, in their order."""

    batch: Batch
    rows: list[int]


_owners = msgspec.msgpack.Decoder(_Owner)
_sent = msgspec.msgpack.Decoder(_Sent)


def row_of(keyed: Keyed, admitted_ms: int) -> NewRow:
    """Return an event as a row. Units: epoch milliseconds."""
    key = keyed.key
    owner = _Owner(key.monitor, key.session_id, key.is_client, key.client, keyed.user_id)
    return NewRow(key.session_id, msgspec.msgpack.encode(owner), encode_draft(keyed.draft), admitted_ms)


def keyed_of(row: Row) -> Keyed | None:
    """Return a row's event, None if another version wrote it in another way."""
    try:
        owner, draft = _owners.decode(row.key), decode_draft(row.event)
    except (msgspec.DecodeError, ValueError):
        return None
    return Keyed(BatchKey(owner.monitor, owner.session_id, owner.is_client, owner.client), draft, owner.user_id)


def body_of(delivery: Delivery, rows: list[int]) -> bytes:
    """Return a batch as it is about to be sent, with the rows of its events in their order."""
    return msgspec.msgpack.encode(_Sent(delivery.whole.batch, rows))


def resumed(spool: Spool, lease: Lease) -> Delivery | None:
    """Return a batch as it was sent; None if it cannot be told, or some of it was delivered: the rest is another batch."""
    try:
        sent = _sent.decode(lease.body)
    except msgspec.DecodeError:
        return None
    if sorted(sent.rows) != list(lease.rows):
        return None
    key = BatchKey(sent.batch.monitor, sent.batch.session_id, None, NO_CLIENT)
    queued = [
        Queued(key, Draft(id=event.id, time_ns=0, type=event.type, details=""), 0.0, 0, 0, stored=Stored(spool, row))
        for event, row in zip(sent.batch.events, sent.rows, strict=True)
    ]
    return Delivery(Part(sent.batch, queued), lease=lease.id)
