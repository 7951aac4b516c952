"""Progress of worker processes, as messages to the process that shows it.

A message is one of ("step", number, title, total, unit), ("progress", number, how much more), ("note", title, text);
None is the last. A step's number is unique among all workers.
"""

from __future__ import annotations

import itertools
import os
import queue
import time
from typing import Any

from mimiidg_build.progress import OnProgress, Reporter

SEND_EVERY_S = 0.5
Messages = Any
"""A queue between processes: what ``multiprocessing.Manager().Queue()`` gives has no type of its own."""


class Sender(Reporter):
    """Used in a worker: sends what is reported; progress about twice a second."""

    def __init__(self, messages: Messages) -> None:
        self._messages, self._numbers = messages, itertools.count()

    def step(self, title: str, total: int, unit: str = "clips") -> OnProgress:
        """Begin a step in the process that shows it. See :meth:`Reporter.step`."""
        number, waiting, last = (os.getpid(), next(self._numbers)), 0, time.monotonic()
        done = 0
        self._messages.put(("step", number, title, total, unit))

        def on_progress(n: int) -> None:
            nonlocal waiting, last, done
            waiting, done = waiting + n, done + n
            # a message takes as long as a batch of a small network, so several batches share one
            if done >= total or time.monotonic() - last >= SEND_EVERY_S:
                self._messages.put(("progress", number, waiting))
                waiting, last = 0, time.monotonic()

        return on_progress

    def note(self, title: str, text: str) -> None:
        """See :meth:`Reporter.note`."""
        self._messages.put(("note", title, text))


def pass_on(messages: Messages, reporter: Reporter) -> None:
    """Used in the process that shows progress: pass on what the workers send, until None comes."""
    steps: dict[object, OnProgress] = {}
    while True:
        try:
            message = messages.get()
        except (EOFError, OSError, queue.Empty):
            return  # the manager has ended
        if message is None:
            return
        # one worker's messages keep their order: a step comes before its progress
        if message[0] == "step":
            steps[message[1]] = reporter.step(*message[2:])
        elif message[0] == "progress":
            steps[message[1]](message[2])
        else:
            reporter.note(*message[1:])
