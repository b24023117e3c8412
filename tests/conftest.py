"""What every test runs on: both event loops, Hypothesis profiles, and a count per event loop at the end."""

from __future__ import annotations

import gc
import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import structlog
from structlog.testing import LogCapture

from realtime_async.testing.clock import BACKENDS, backend_options

if TYPE_CHECKING:
    from tests.postgres_server import Cluster, Database, DatabaseMaker

# A failed promise of a stage is explained like any other failed assertion.
pytest.register_assert_rewrite("tests.controller.staged")

# Timing is no property of the code under test: a busy machine must not fail a test that is right.
hypothesis.settings.register_profile(
    "dev", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
# The same examples in every run, so that a failure belongs to the change it is seen with.
hypothesis.settings.register_profile(
    "ci", hypothesis.settings.get_profile("dev"), derandomize=True, print_blob=True
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")

NO_LOOP = "no event loop"


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """
    The event loop of an async test.

    A test (or a class, or a module) marked `virtual_time` gets one whose clock jumps
    to the next deadline when every task waits.
    """
    backend: str = request.param
    if request.node.get_closest_marker("virtual_time") is None:
        return backend, {}
    return backend, backend_options(backend)


@pytest.fixture
def heard() -> Iterator[list[Any]]:
    """The events that are logged, of every level."""
    capture = LogCapture()
    before = structlog.get_config()
    structlog.configure(
        processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET)
    )
    yield capture.entries
    structlog.configure(**before)


POSTGRES = os.environ.get("REALTIME_ASYNC_TEST_POSTGRES", "")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs PostgreSQL, where that is asked for."""
    if POSTGRES != "none":
        return
    left_out = {item for item in items if _needs_postgres(item)}
    config.hook.pytest_deselected(items=[*left_out])
    items[:] = [item for item in items if item not in left_out]


def _needs_postgres(item: pytest.Item) -> bool:
    """Whether it asks for a server, or may ask for one as it goes, and has a parameter that says so."""
    asked = {*getattr(item, "fixturenames", ())}
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return bool(asked & {"own_cluster", "postgres"}) or (
        "request" in asked and any(each == "postgres" for each in parameters)
    )


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over the tests themselves: a look through them all stops every thread meanwhile."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def own_cluster() -> Iterator[Cluster]:
    """A PostgreSQL server that a test may stop, as long as it starts it again."""
    from tests.postgres_server import cluster

    with ExitStack() as stack:
        try:
            made = stack.enter_context(cluster(fsync="off"))
        except LookupError as missing:
            pytest.fail(str(missing))
        yield made


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[DatabaseMaker]:
    """A PostgreSQL server that goes on running: the one that is named, or one of our own."""
    from tests.postgres_server import databases

    dsn = POSTGRES or request.getfixturevalue("own_cluster").admin_dsn
    with databases(dsn) as maker:
        yield maker


@pytest.fixture(scope="session")
def stoppable(own_cluster: Cluster) -> Iterator[DatabaseMaker]:
    """Databases of a server that is ours: its cluster may be stopped, and its settings are known."""
    from tests.postgres_server import databases

    with databases(own_cluster.admin_dsn) as maker:
        yield maker


@pytest.fixture
def postgres_database(postgres: DatabaseMaker) -> Iterator[Database]:
    """A migrated database that nobody else uses."""
    with postgres.database() as database:
        yield database


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    chosen = item.callspec.params.get("anyio_backend", NO_LOOP) if hasattr(item, "callspec") else NO_LOOP
    # A test may choose one with options, as a pair.
    backend = chosen if isinstance(chosen, str) else chosen[0]
    # A report carries its test's properties, also from another process.
    item.user_properties.append(("backend", backend))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests passed on each event loop, and how many were not asked."""
    stats = terminalreporter.stats
    passed = Counter(dict(report.user_properties)["backend"] for report in stats.get("passed", []))
    terminalreporter.section("per event loop")
    for backend in (*BACKENDS, NO_LOOP):
        terminalreporter.write_line(f"{backend}: {passed[backend]} passed")
    terminalreporter.write_line(f"failed: {len(stats.get('failed', [])) + len(stats.get('error', []))}")
    terminalreporter.write_line(f"skipped: {len(stats.get('skipped', []))}")
    terminalreporter.write_line(f"xfailed: {len(stats.get('xfailed', []))}")
