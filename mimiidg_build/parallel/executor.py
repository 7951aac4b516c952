"""What runs the stages of a build or a benchmark: a plain call here, a task of its own in a flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

S = TypeVar("S", bound=str)
T = TypeVar("T")


class Executor(Generic[S]):
    """Runs stages of a kind ``S``, the names of one list of stages, by calling them."""

    def run(self, stage: S, call: Callable[[], T], subject: str = "") -> T:
        """Run a stage.

        Parameters
        ----------
        stage : str
            Its name.
        call : callable
            The stage, its arguments bound.
        subject : str
            Which of several of one kind, as the name of a section or a variant says.

        Returns
        -------
        What ``call`` returns.
        """
        return call()
