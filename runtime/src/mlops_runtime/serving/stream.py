# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Messages to the broker from a process that must never wait for it: a bounded queue, and a count of what is lost.

librdkafka keeps the queue and sends from a thread of its own. What is lost is known: a message that found the queue
full, one that the broker refused, one that nobody took until the end. All others are delivered: `logged` is what was
taken less what failed and what still waits, and deliveries need not be reported one by one.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from mlops_runtime.serving.record import MESSAGE_BYTES

log = logging.getLogger(__name__)

_SAY_AGAIN_SECONDS: Final = 30.0
_REASONS: Final = 10


class Stream:
    """A producer of one process. Call it, `poll` included, from one thread; make it after a fork, not before."""

    def __init__(self, broker: dict[str, Any], messages: int, kilobytes: int) -> None:
        """`messages` and `kilobytes` may wait for the broker at most."""
        self._settings = {
            **broker,
            "client.id": "model-server",
            "acks": "all",
            # A message whose acknowledgement was lost is sent again, and stored once.
            "enable.idempotence": True,
            "queue.buffering.max.messages": messages,
            "queue.buffering.max.kbytes": kilobytes,
            # For ever: what waits when the broker comes back is delivered, and the queue bounds how much that is.
            "message.timeout.ms": 0,
            "message.max.bytes": MESSAGE_BYTES,
            "linger.ms": 50,
            "compression.type": "lz4",
            # As Java's clients and kafka-python do it, so that labels from elsewhere meet their records.
            "partitioner": "murmur2_random",
            "reconnect.backoff.max.ms": 2000,
            "log_level": 2,  # its errors come by a callback as well, and are said less often than it would
            "delivery.report.only.error": True,
        }
        self._taken = self._failed = self._refused = 0
        self._logged = 0
        self._closed = False
        self._errors: set[str] = set()
        self._reasons: dict[str, int] = {}
        self._errors_said = self._losses_said = float("-inf")
        self._producer = self._make()

    def _make(self) -> Any:
        return Producer(self._settings, on_delivery=self._on_failure, error_cb=self._on_error)

    def send(self, topic: str, key: bytes, value: bytes) -> bool:
        """Put a message into the queue. False, and counted as lost, where it can't be; never waits, never raises."""
        try:
            self._producer.produce(topic, value, key)
        except BufferError:
            return self._refuse("the queue is full: the broker is away or too slow")
        except KafkaException as error:
            cause = error.args[0]
            if isinstance(cause, KafkaError) and cause.code() == KafkaError._FATAL:
                self._replace()
            return self._refuse(str(cause.str() if isinstance(cause, KafkaError) else cause))
        self._taken += 1
        return True

    def lose(self, reason: str) -> None:
        """Count a message that never came as far as the queue."""
        self._refuse(reason)

    def _refuse(self, reason: str) -> bool:
        self._refused += 1
        self._because(reason)
        return False

    def _because(self, reason: str) -> None:
        if len(self._reasons) >= _REASONS and reason not in self._reasons:
            reason = "other reasons"
        self._reasons[reason] = self._reasons.get(reason, 0) + 1

    def _on_failure(self, error: Any, _message: Any) -> None:
        self._failed += 1
        self._because(error.str())

    def _on_error(self, error: Any) -> None:
        self._errors.add(error.str())

    def _replace(self) -> None:
        """After an error that librdkafka can't recover from, such as a broker that lost what it had acknowledged."""
        log.error("The broker's client failed for good and is made anew; %d messages waited in it", self.waiting)
        self._failed += self.waiting
        # Its end takes a while, and nobody waits for it.
        threading.Thread(target=list.clear, args=([self._producer],), daemon=True).start()
        self._producer = self._make()

    def poll(self) -> None:
        """Take notice of failures, and say from time to time what was lost. Cheap; call it several times a second."""
        self._producer.poll(0)
        now = time.monotonic()
        if self._errors and now - self._errors_said >= _SAY_AGAIN_SECONDS:
            self._say_errors()
            self._errors_said = now
        if self._reasons and now - self._losses_said >= _SAY_AGAIN_SECONDS:
            self._say_losses()
            self._losses_said = now

    def _say_errors(self) -> None:
        for error in sorted(self._errors):
            log.warning("%s", error)
        self._errors.clear()

    def _say_losses(self) -> None:
        for reason, count in self._reasons.items():
            log.warning("%d messages to the broker were lost: %s", count, reason)
        self._reasons.clear()

    @property
    def waiting(self) -> int:
        """For the broker, or for `poll` to hear what became of them."""
        return 0 if self._closed else len(self._producer)

    @property
    def logged(self) -> int:
        """That a broker has acknowledged; never less than before."""
        self._logged = max(self._logged, self._taken - self._failed - self.waiting)
        return self._logged

    @property
    def lost(self) -> int:
        return self._refused + self._failed

    def close(self, seconds: float) -> None:
        """Wait so long for the broker to take what is queued; what it doesn't take is lost."""
        self._producer.flush(seconds)
        if left := self.waiting:
            log.warning("%d messages to the broker were not delivered within %g s", left, seconds)
            self._producer.purge()
            unheard = self._producer.flush(1.0)
            self._failed += min(unheard, self._taken - self._failed - self._logged)
        self._closed = True
        self._say_errors()
        self._say_losses()
