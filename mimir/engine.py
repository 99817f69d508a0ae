"""Where independent pieces of work run: one small protocol, joblib's processes on this machine or a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, Protocol, TypeVar

from mimir.errors import Problem, RequirementError

T = TypeVar("T")
R = TypeVar("R")
ENGINES = ("joblib", "dask")
INSTALL = "pip install 'mimir[dask]' (in a checkout: .venv/bin/pip install -e '.[dask]'), or take joblib"


class Engine(Protocol):
    """Runs a function on every item. Results come in the order of the items, whatever runs where."""

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """`[function(item) for item in items]`; functions and items are pickled. Raises what a call raised."""


class JoblibEngine:
    """Processes of this machine (joblib with loky); one worker works in this process."""

    def __init__(self, workers: int):
        self.workers = workers

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """See Engine."""
        count = min(self.workers, len(items))
        if count < 2:
            return [function(item) for item in items]
        import joblib

        return list(joblib.Parallel(n_jobs=count, backend="loky")(joblib.delayed(function)(item) for item in items))


class DaskEngine:
    """A Dask cluster at `scheduler` (its machines see the same files), or one of `workers` processes made for the call."""

    def __init__(self, workers: int, scheduler: str | None = None):
        self.workers, self.scheduler = workers, scheduler
        try:
            import distributed
        except ImportError as error:
            raise RequirementError(f"the engine dask needs Dask: {INSTALL}") from error
        self._distributed: Any = distributed

    def map(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """See Engine."""
        if self.scheduler:
            return self._with(function, items, self.scheduler)
        count = max(1, min(self.workers, len(items)))
        with self._distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, dashboard_address=None, host="127.0.0.1"
        ) as cluster:
            return self._with(function, items, cluster)

    def _with(self, function: Callable[[T], R], items: Sequence[T], cluster: Any) -> list[R]:
        with self._distributed.Client(cluster) as client:
            return list(client.gather(client.map(function, items, pure=False)))


def engine_problems(name: str) -> list[Problem]:
    """What keeps an engine from working here: a package that is not installed. Empty when all is there."""
    if name != "dask" or find_spec("distributed"):
        return []
    return [Problem("capture.engine", "is dask, and Dask is not installed", "none, joblib", INSTALL)]


def create_engine(name: str, workers: int, scheduler: str | None = None) -> Engine:
    """The engine of a name. Raises RequirementError when its package is missing, ValueError for an unknown name."""
    if name == "joblib":
        return JoblibEngine(workers)
    if name == "dask":
        return DaskEngine(workers, scheduler)
    raise ValueError(f"unknown engine {name!r}; allowed: {', '.join(ENGINES)}")
