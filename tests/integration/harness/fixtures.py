"""Fixtures of all tests that run processes; conftest.py files import them."""
import faulthandler
import os
import signal

import pytest

from harness import protos
from harness.daemon import Daemon
from harness.paths import SLOW

TEST_SECONDS = 60


def pytest_configure(config):
    config.addinivalue_line("markers", "threads: run under ThreadSanitizer too")
    config.addinivalue_line("markers", "seconds(n): how long the test may take, instead of a minute")


def pytest_unconfigure(config):
    protos.remove()


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


@pytest.fixture
def daemons(request):
    """Makes daemons; all are stopped at the end, and the test fails if one left a report or an odd exit status."""
    made = []

    def make(**arguments):
        made.append(Daemon(**arguments))
        return made[-1]

    yield make
    wrong = [f"{daemon.folder.name}: {problem}" for daemon in made for problem in daemon.close()]
    if wrong or getattr(request.node, "report_call", None) and request.node.report_call.failed:
        for daemon in made:
            print(f"---- log of {daemon.folder.name}\n{daemon.log()[-20000:]}")
    for daemon in made:
        daemon.remove()
    assert not wrong, "; ".join(wrong)


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
