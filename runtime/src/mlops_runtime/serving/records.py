# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
"""Prediction records of a worker: each answer's request id, its record to the stream, the labels from feedback.

Nothing here may fail or delay a prediction: what goes wrong is counted as lost, and said in the log.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from mlops_runtime.contracts.metrics import LABELS, RECORDS
from mlops_runtime.serving.metrics import Registry
from mlops_runtime.serving.record import Sent, Writer, capture, capture_message, fits, label, new_id
from mlops_runtime.serving.seldon import messages

if TYPE_CHECKING:
    from mlops_runtime.serving.model import Call
    from mlops_runtime.serving.stream import Stream

log = logging.getLogger(__name__)

PUID_HEADER: Final = "seldon-puid"
"""Seldon's executor sends a request's id in this header, and sends it back in the answer's."""

_PUID_HEADER: Final = PUID_HEADER.encode()

POLL_SECONDS: Final = 0.1
FLUSH_SECONDS: Final = 5.0
_ID_LENGTH: Final = 256


class Records:
    """Writes records of one model version to `topic`, and labels to `topic`.labels."""

    def __init__(self, topic: str, sample: float, connect: Callable[[], Stream], registry: Registry) -> None:
        """`sample`: the share of requests that leave a record, chosen by their ids: labels are chosen alike."""
        self._topic, self._labels_topic = topic, f"{topic}.labels"
        self._below = round(sample * 2**32)
        self._connect = connect
        self._records = connect()
        self._labels: Stream | None = None  # made with the first label: most models get none
        self._registry = registry
        about = registry.labels
        self._about = {"model": about["model_name"], "version": about["model_version"]}
        self._writer = Writer(**self._about)
        self._counted: dict[tuple[str, str], int] = {}
        self._sampled_out = self._labels_sampled_out = self._labels_without_id = self._labels_unwritten = 0
        self._count()  # the series are there, at 0, before anything happens

    # Predictions

    @staticmethod
    def id_of(request: Any, header: str) -> str:
        """A request's id: in its `meta.puid`, else in the header, else a new one."""
        if isinstance(request, dict):
            meta = request.get("meta")
            puid = meta.get("puid") if isinstance(meta, dict) else None
        else:
            puid = request.meta.puid if isinstance(request, messages.SeldonMessage) else None
        if isinstance(puid, str | int) and puid != "":
            return str(puid)[:_ID_LENGTH]
        return header[:_ID_LENGTH] or new_id()

    @staticmethod
    def capture(features: Any, request: Any) -> Sent | None:
        """The features before the class gets them, for `predicted`."""
        try:
            return capture(features, request)
        except Exception as error:
            log.debug("A request's features can't be kept: %s", error)
            return None

    def predicted(self, id: str, call: Call, answer: Any) -> None:
        """Send the record of an answer on its way."""
        try:
            key = id.encode("utf-8", "replace")
            if zlib.crc32(key) >= self._below:
                self._sampled_out += 1
                return
            sent, names = call.sent, call.names
            if sent is None:
                sent, names = capture_message(call.request)
            body = self._writer.record(id, sent, names, answer, call.embedding)
            if not fits(key, body):
                body = self._writer.record(id, sent, names, answer, inline=False)
            if fits(key, body):
                self._records.send(self._topic, key, body)
            else:
                self._records.lose("a record is larger than the broker takes")
        except Exception as error:
            self._records.lose(f"a record can't be written: {type(error).__name__}: {error}"[:200])

    # Labels

    def labelled(self, feedback: Any, header: str) -> None:
        """Send a feedback's truth on its way, if it has one and says of which request it is."""
        try:
            truth = feedback.truth
            if truth.WhichOneof("data_oneof") is None:
                return
            id = feedback.response.meta.puid or feedback.request.meta.puid or truth.meta.puid or header
            if not id:
                self._labels_without_id += 1
                return
            id = id[:_ID_LENGTH]
            key = id.encode("utf-8", "replace")
            if zlib.crc32(key) >= self._below:
                self._labels_sampled_out += 1
                return
            body = label(id, truth)
            if body is None:
                return
            if self._labels is None:
                self._labels = self._connect()
            if fits(key, body):
                self._labels.send(self._labels_topic, key, body)
            else:
                self._labels.lose("a label is larger than the broker takes")
        except Exception as error:
            self._labels_unwritten += 1
            log.warning("A label can't be written: %s: %s", type(error).__name__, error)

    # Counting

    def poll(self) -> None:
        """Call it every `POLL_SECONDS`."""
        for stream in (self._records, self._labels):
            if stream is not None:
                stream.poll()
        self._count()

    def close(self, seconds: float) -> None:
        """The last records get so long to reach the broker."""
        self._records.close(seconds)
        if self._labels is not None:
            self._labels.close(seconds)
        self._count()

    def _count(self) -> None:
        now = {
            (RECORDS, "logged"): self._records.logged,
            (RECORDS, "lost"): self._records.lost,
            (RECORDS, "sampled_out"): self._sampled_out,
            (LABELS, "logged"): self._labels.logged if self._labels else 0,
            (LABELS, "lost"): self._labels_unwritten + (self._labels.lost if self._labels else 0),
            (LABELS, "sampled_out"): self._labels_sampled_out,
            (LABELS, "without_id"): self._labels_without_id,
        }
        for (name, outcome), total in now.items():
            more = total - self._counted.get((name, outcome), 0)
            self._registry.count(name, {**self._about, "outcome": outcome}, more)
        self._counted = now


def header_of(id: str) -> list[tuple[bytes, bytes]]:
    """The id for the answer's headers; none where it would be no header."""
    return [(_PUID_HEADER, id.encode())] if id.isascii() and id.isprintable() else []
