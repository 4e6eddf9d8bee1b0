"""Fixtures of all tests that run processes; conftest.py files import them."""
import faulthandler
import os
import signal

import pytest

from harness.daemon import Daemon
from harness.paths import SLOW

TEST_SECONDS = 60


def pytest_configure(config):
    config.addinivalue_line("markers", "threads: run under ThreadSanitizer too")
    config.addinivalue_line("markers", "core: of tests/e2e, what runs on Debian's old API server too")
    config.addinivalue_line("markers", "seconds(n): how long the test may take, instead of a minute")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """A test that hangs fails by an alarm; one that hangs in C code, where no exception arrives, ends the run."""
    marker = item.get_closest_marker("seconds")
    seconds = int((marker.args[0] if marker else TEST_SECONDS) * SLOW)

    def hung(*_):
        raise TimeoutError(f"the test took more than {seconds} s")

    signal.signal(signal.SIGALRM, hung)
    signal.alarm(seconds)
    faulthandler.dump_traceback_later(seconds + 30, exit=True)
    yield
    signal.alarm(0)
    faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, f"report_{call.when}", outcome.get_result())


def factory(request, kind):
    """Makes processes; all are stopped at the end, and the test fails if one left a report or an odd exit status."""
    made = []

    def make(*arguments, **options):
        made.append(kind(*arguments, **options))
        return made[-1]

    yield make
    wrong = [f"{process.folder.name}: {problem}" for process in made for problem in process.close()]
    if wrong or getattr(request.node, "report_call", None) and request.node.report_call.failed:
        for process in made:
            print(f"---- log of {process.folder.name}\n{process.log()[-20000:]}")
    for process in made:
        process.remove()
    assert not wrong, "; ".join(wrong)


@pytest.fixture
def daemons(request):
    yield from factory(request, Daemon)


@pytest.fixture
def daemon(daemons):
    return daemons().start()


@pytest.fixture
def ipam(daemon):
    return daemon.ipam()


@pytest.fixture
def needs_root():
    if os.geteuid() != 0:
        pytest.skip("only root may mount and change users")
