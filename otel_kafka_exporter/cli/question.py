"""A question to the cluster, asked once.

librdkafka gives a question up at its timeout, and a new one waits for an answer of its own: asked again in slices of
time, so that Ctrl-C and what the client complains of are noticed between them, a cluster that takes longer than a slice
is never heard. Here a thread waits for the answer, for as long as it may take, and the caller does the noticing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")
_SLICE_SECONDS = 0.05


class Question(Generic[_T]):
    """A question that is asked by now.

    Its client must not be closed while it is open: librdkafka would have its thread in what is no longer there. Nor may
    a consumer be polled: whatever else is asked of one waits until it has answered.

    Args:
        request: waits for the answer, with a timeout of its own.
    """

    def __init__(self, request: Callable[[], _T]) -> None:
        self._answers: list[_T] = []
        self._error: BaseException | None = None
        self._request = request
        self._thread = threading.Thread(target=self._ask, name="otel-kafka-question", daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        try:
            self._answers.append(self._request())
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            self._error = error

    @property
    def is_open(self) -> bool:
        """Whether there is no answer yet, nor an error."""
        return not self._answers and self._error is None

    def answer(self, meanwhile: Callable[[float], object]) -> _T:
        """Wait for the answer.

        Args:
            meanwhile: is called again and again, with how many seconds it may take: it serves the client's callbacks,
                and raises when there is no use in waiting.

        Raises:
            KafkaException: what the request raised.
        """
        while self.is_open:
            try:
                meanwhile(_SLICE_SECONDS)
            except Exception:  # noqa: PERF203 - the loop is there for it
                if self.is_open:
                    raise
        if self._error is not None:
            raise self._error
        return self._answers[0]
