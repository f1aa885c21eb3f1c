"""Who does the work: this process, processes of this machine (joblib), or a cluster of Dask or Ray.

Each worker takes what there is to work with once and keeps it, with all that it remembers between two jobs.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from escapement.errors import ConfigurationError, EscapementError, not_installed
from escapement.search.ledger import Result
from escapement.search.space import Point

Task: TypeAlias = tuple[Point, int, int]
"""A point, and the stretch to trade, nanoseconds UTC."""
Work: TypeAlias = Callable[[Point, int, int], Result]
Parcel: TypeAlias = tuple[int, list[Result]]
Run: TypeAlias = Callable[[Sequence[Sequence[Task]]], Iterator[Parcel]]
"""Does batches, in any order: yields the number of each with its results, as they come."""
Workers: TypeAlias = Callable[[Work], AbstractContextManager[Run]]

_loaded: dict[str, Work] = {}


def do(work: Work, number: int, batch: Sequence[Task]) -> Parcel:
    """Do a batch; settings that cannot be used are a result too."""
    found: list[Result] = []
    for point, from_ns, to_ns in batch:
        try:
            found.append(work(point, from_ns, to_ns))
        except EscapementError as error:
            found.append({"error": str(error)})
    return number, found


def local(count: int) -> Workers:
    """Return processes of this machine, as many as ``count``; one does the work in this process.

    Raises:
        ConfigurationError: joblib is not installed.
    """
    if count > 1:
        try:
            import joblib  # noqa: F401, PLC0415 - an optional extra
        except ModuleNotFoundError:
            raise not_installed("joblib runs the workers", "search", "name --workers 1") from None

    @contextmanager
    def opened(work: Work) -> Iterator[Run]:
        if count == 1:
            yield lambda batches: (do(work, number, batch) for number, batch in enumerate(batches))
            return
        import joblib  # noqa: PLC0415

        with tempfile.TemporaryDirectory(prefix="escapement-sweep-") as folder:
            file = str(Path(folder) / "work")
            joblib.dump(work, file)
            parallel = joblib.Parallel(n_jobs=count, return_as="generator_unordered", batch_size=1, pre_dispatch="all")
            yield lambda batches: parallel(
                joblib.delayed(_do_file)(file, number, batch) for number, batch in enumerate(batches)
            )

    return opened


def _do_file(file: str, number: int, batch: Sequence[Task]) -> Parcel:
    import joblib  # noqa: PLC0415

    if file not in _loaded:
        _loaded.clear()
        _loaded[file] = joblib.load(file)
    return do(_loaded[file], number, batch)


def dask(address: str) -> Workers:
    """Return a cluster of Dask, by the address of its scheduler, such as ``tcp://host:8786``.

    Raises:
        ConfigurationError: Dask is not installed, or, when opened, does not answer there.
    """
    try:
        from distributed import Client, as_completed  # noqa: PLC0415 - an optional extra
    except ModuleNotFoundError:
        raise not_installed("Dask runs the points", "dask") from None

    @contextmanager
    def opened(work: Work) -> Iterator[Run]:
        try:
            client = Client(address, timeout="10s")
        except (OSError, TimeoutError, ValueError) as error:
            raise ConfigurationError(
                f"--dask {address!r}: no scheduler answers there ({error}); start one, or correct the address"
            ) from error
        with client:
            given = client.scatter(work, broadcast=True, hash=False)

            def run(batches: Sequence[Sequence[Task]]) -> Iterator[Parcel]:
                asked = [client.submit(do, given, number, batch, pure=False) for number, batch in enumerate(batches)]
                for _, found in as_completed(asked, with_results=True):
                    yield found

            yield run

    return opened


def ray(address: str) -> Workers:
    """Return a cluster of Ray, by its address, such as ``ray://host:10001``; ``local`` is one of this machine's own.

    Raises:
        ConfigurationError: Ray is not installed, or, when opened, does not answer there.
    """
    try:
        import ray as cluster  # noqa: PLC0415 - an optional extra
        from ray.util import ActorPool  # noqa: PLC0415
    except ModuleNotFoundError:
        raise not_installed("Ray runs the points", "ray") from None

    @contextmanager
    def opened(work: Work) -> Iterator[Run]:
        try:
            cluster.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigurationError(
                f"--ray {address!r}: no cluster answers there ({error}); start one, or name local"
            ) from error
        try:
            given, count = cluster.put(work), max(1, int(cluster.cluster_resources().get("CPU", 1)))
            pool = ActorPool([cluster.remote(_Worker).remote(given) for _ in range(count)])
            yield lambda batches: pool.map_unordered(_do_at, list(enumerate(batches)))
        finally:
            cluster.shutdown()

    return opened


class _Worker:
    def __init__(self, work: Work) -> None:
        self._work = work

    def do(self, number: int, batch: Sequence[Task]) -> Parcel:
        return do(self._work, number, batch)


def _do_at(actor: Any, numbered: tuple[int, Sequence[Task]]) -> Any:
    return actor.do.remote(*numbered)
