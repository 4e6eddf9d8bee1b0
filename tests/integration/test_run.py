"""./run, as a newcomer uses it: once, again, stop."""
import os
import subprocess

import pytest

from harness.paths import BUILD, ROOT

pytestmark = [
    pytest.mark.skipif(BUILD != ROOT / "build/release", reason="./run uses the release build, which another suite tests"),
    pytest.mark.seconds(300),
]

# ---- Fixture


@pytest.fixture
def run(tmp_path):
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}

    def call(*arguments):
        return subprocess.run([ROOT / "run", *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=280, check=False)

    yield call
    call("stop")


# ---- Tests


def test_run_gives_a_vip_its_address_and_serves_until_stopped(run):
    first = run()
    assert first.returncode == 0, first
    for words in ("main-vip-pool", "auto-vip", "10.200.0.1/32", "IPAMD_SOCKET=", "./run stop"):
        assert words in first.stdout
    again = run()
    assert again.returncode == 0 and "serving already" in again.stdout and "10.200.0.1/32" in again.stdout
    stopped = run("stop")
    assert stopped.returncode == 0 and "stopped" in stopped.stdout
    assert "not running" in run("stop").stdout
    after = run()
    assert after.returncode == 0 and "10.200.0.1/32" in after.stdout, "its state was kept"


def test_run_refuses_what_it_does_not_know(run):
    assert run("nonsense").returncode == 2
