"""Sends OTLP requests to a gateway over kept connections, as many as are asked for or as fast as they are answered.

A process of its own, with its arguments as JSON, so that its CPU time and its interpreter are not the gateway's. It says
`ready`, begins when it is sent a line, and prints what it saw as JSON.
"""

import asyncio
import json
import math
import sys
import time
from collections import Counter, deque
from typing import Any, NamedTuple

from gateway_bodies import posts
from rows import percentile

_BACK_OFF_S = 0.02  # after an answer that asks to come back later: what is measured is how much is taken
_LAST_ANSWERS_S = 30.0
_OK, _NO_ANSWER = 200, 0


class Load(NamedTuple):
    """What is sent.

    Attributes:
        port: Of the gateway.
        seconds: For how long.
        connections: How many there are.
        per_second: Requests that begin each second, whatever becomes of those before; 0: as fast as they are answered.
        kind: Of spans, see `gateway_bodies`.
        encoding: Likewise.
        is_gzip: Whether bodies are compressed.
    """

    port: int
    seconds: float
    connections: int = 8
    per_second: float = 0.0
    kind: str = "calls"
    encoding: str = "protobuf"
    is_gzip: bool = False


class _Answers:
    """What came back.

    Units:  seconds from when a request was to be sent, even if it had to wait for a connection, to its whole answer.
    """

    def __init__(self) -> None:
        self.took_s: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.spans = self.body_bytes = 0


class _Connection(asyncio.Protocol):
    """A connection, with one request on its way at a time."""

    def __init__(self, generator: "_Generator") -> None:
        self._generator = generator
        self._received = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def send(self, due_at: float, request: tuple[bytes, bytes, int]) -> None:
        self.due_at = due_at
        head, body, self.spans = request
        self._transport.writelines((head, body))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(rest) >= int(length):
            self._received = b""
            self._generator.answered(self, int(head[9:12]))  # behind HTTP/1.1

    def connection_lost(self, _error: Exception | None) -> None:
        self._generator.lost(self)


class _Generator:
    """Sends, and takes note of what comes back."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._requests = posts(load.kind, load.encoding, is_gzip=load.is_gzip)
        self._answers = _Answers()
        self._free: deque[_Connection] = deque()  # used in turn: one without requests would be closed
        self._due: deque[float] = deque()  # requests for which none was free
        self._until = -math.inf
        self._open = 0
        self._is_sent = False
        self._is_over = asyncio.Event()

    async def run(self) -> dict[str, Any]:
        """Connect, wait until it may begin, send, and return what was seen."""
        loop = asyncio.get_running_loop()
        for _ in range(self._load.connections):
            _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._load.port)
            self._free.append(connection)
        self._open = len(self._free)
        await loop.run_in_executor(None, _wait_for_start)
        begun, cpu = time.perf_counter(), time.process_time()
        self._until = begun + self._load.seconds
        if self._load.per_second:
            await self._send_at_times(begun)
        else:
            self._send_while_free()
            await asyncio.sleep(self._load.seconds)
        self._is_sent = True
        self._send_while_free()
        took_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu
        await asyncio.wait_for(self._is_over.wait(), _LAST_ANSWERS_S)
        return {"took_s": took_s, "cpu_s": cpu_s, **self._seen()}

    async def _send_at_times(self, begun: float) -> None:
        for number in range(int(self._load.seconds * self._load.per_second)):
            due_at = begun + number / self._load.per_second
            await asyncio.sleep(max(0.0, due_at - time.perf_counter()))
            self._due.append(due_at)
            self._send_while_free()

    def _send_while_free(self) -> None:
        is_paced = self._load.per_second > 0
        while self._free and (self._due if is_paced else time.perf_counter() < self._until):
            request = next(self._requests)
            self._answers.body_bytes += len(request[1])
            self._free.popleft().send(self._due.popleft() if is_paced else time.perf_counter(), request)
        if self._is_sent and not self._due and len(self._free) == self._open:
            self._is_over.set()

    def answered(self, connection: _Connection, status: int) -> None:
        answers = self._answers
        answers.statuses[status] += 1
        if status == _OK:
            answers.took_s.append(time.perf_counter() - connection.due_at)
            answers.spans += connection.spans
            self._use_again(connection)
        else:
            asyncio.get_running_loop().call_later(_BACK_OFF_S, self._use_again, connection)

    def _use_again(self, connection: _Connection) -> None:
        self._free.append(connection)
        self._send_while_free()

    def lost(self, connection: _Connection) -> None:
        """Go on without a connection."""
        self._answers.statuses[_NO_ANSWER] += 1
        self._open -= 1
        if connection in self._free:
            self._free.remove(connection)
        self._send_while_free()

    def _seen(self) -> dict[str, Any]:
        answers = self._answers
        shares = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
        return {
            "posts": sum(answers.statuses.values()),
            "spans": answers.spans,
            "body_bytes": answers.body_bytes,
            "statuses": {str(status): number for status, number in answers.statuses.items()},
            "answer_ms": {name: 1e3 * percentile(answers.took_s, share) for name, share in shares},
        }


def _wait_for_start() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()


async def _main(load: Load) -> dict[str, Any]:
    return await _Generator(load).run()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(_main(Load(**json.loads(sys.argv[1]))))) + "\n")
