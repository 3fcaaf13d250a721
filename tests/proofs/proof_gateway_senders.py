"""Senders that post to a gateway, and post the same again when they got no answer, as OTLP asks of them."""

import contextlib
import http.client
import threading
import time
from collections import Counter
from itertools import count

from proof_gateway import PATIENCE_S
from proof_gateway_bodies import JSON, PROTOBUF, TRACES, json_spans, protobuf_spans

EACH = 10  # spans of a request
SESSIONS = 4  # of a sender
_AGAIN = {429, 503}
_AGAIN_S = 0.05
_ENCODERS = {PROTOBUF: protobuf_spans, JSON: json_spans}


class Senders:
    """Several senders at a time: in both encodings, with kept connections and with one for each request.

    Attributes:
        answered: The names of the spans whose request was answered with 200.
        failures: How many requests were answered otherwise, by status, or not at all, by the error's name.
    """

    def __init__(self, address, rate, token=None):
        """Post so many spans a second in all; nothing before `running`."""
        self.answered = set()
        self.failures = Counter()
        self.posts = 0
        self._address = address
        self._credentials = {"authorization": f"Bearer {token}"} if token else {}
        kinds = [(content_type, keeps) for content_type in (PROTOBUF, JSON) for keeps in (True, False)]
        self._each_s = EACH * len(kinds) / rate
        self._is_over = threading.Event()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._send, args=[*each], name="sender") for each in enumerate(kinds)]

    @contextlib.contextmanager
    def running(self):
        """Post; at the end each request that was begun is sent again until it is answered."""
        for each in self._threads:
            each.start()
        try:
            yield self
        finally:
            self._is_over.set()
            for each in self._threads:
                each.join(2 * PATIENCE_S)
            assert not any(each.is_alive() for each in self._threads)

    def await_posts(self, number):
        """Wait until so many more requests were answered with 200."""
        with self._changed:
            wanted = self.posts + number
            assert self._changed.wait_for(lambda: self.posts >= wanted, PATIENCE_S), self.failures

    def _send(self, number, kind):
        content_type, keeps = kind
        connection = http.client.HTTPConnection(*self._address, timeout=PATIENCE_S)
        for turn in count():
            began = time.monotonic()
            names = [f"sender {number}, {turn}.{each}" for each in range(EACH)]
            body = _ENCODERS[content_type](names, f"session-{number}-{turn % SESSIONS}")
            if not self._post(connection, content_type, body):
                break
            with self._changed:
                self.answered.update(names)
                self.posts += 1
                self._changed.notify_all()
            if not keeps:
                connection.close()
            if self._is_over.wait(max(0.0, began + self._each_s - time.monotonic())):
                break
        connection.close()

    def _post(self, connection, content_type, body):
        """Post until it is answered with 200; returns False when it will never be."""
        given_up_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < given_up_at:
            outcome = self._once(connection, content_type, body)
            if outcome == 200:
                return True
            with self._changed:
                self.failures[outcome] += 1
            if isinstance(outcome, int) and outcome not in _AGAIN:
                return False
            threading.Event().wait(_AGAIN_S)
        return False

    def _once(self, connection, content_type, body):
        headers = {"content-type": content_type, **self._credentials}
        try:
            connection.request("POST", TRACES, body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return type(error).__name__
        if answer.status != 200:
            connection.close()
        return answer.status
