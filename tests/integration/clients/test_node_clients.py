"""@grpc/grpc-js and a reflection client for it, both from npm, unmodified."""
import base64
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.paths import ROOT, SLOW
from harness.protos import error_details, rpc_status

NODE = ROOT / "tests/integration/node"

# ---- Fixture


@pytest.fixture(scope="session")
def modules():
    """The packages of package.json, installed once into a cache outside the repository."""
    wanted = NODE / "package.json"
    stamp = hashlib.sha256(wanted.read_bytes()).hexdigest()[:16]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = base / "ipamd" / f"node-{stamp}"
    if not (cache / "complete").exists():
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir(parents=True)
        shutil.copy(wanted, cache)
        done = subprocess.run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"],
                              cwd=cache, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"npm install:\n{done.stdout}{done.stderr}"
        (cache / "complete").touch()
    return cache / "node_modules"


@pytest.fixture
def node(daemon, modules):
    """Runs one of our scripts against the daemon, and returns what it printed, read as JSON."""
    def run(script, *arguments):
        done = subprocess.run(["node", NODE / script, daemon.socket, *arguments], capture_output=True, text=True,
                              timeout=50 * SLOW, check=False, env={**os.environ, "NODE_PATH": str(modules)})
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def case(node):
    return lambda name: node("client.js", ROOT / "proto/ipam.proto", name)


# ---- Tests: grpc-js


@pytest.mark.seconds(400)
def test_every_method_answers(case):
    assert case("everyMethod") == {
        "available": 4094, "address": "10.201.0.1/32", "same": True, "allocated": 1, "pools": ["node-pool"],
        "released": "RELEASED", "revisions": [1, 2, 3], "removed": True, "store": "sqlite"}


def test_thousand_concurrent_calls_on_one_connection(case):
    assert case("thousandConcurrentCalls") == {"distinct": 1000, "connections": 1}


def test_passed_deadline_is_deadline_exceeded(case):
    assert case("passedDeadline")["code"] == 4


def test_short_deadlines_under_load_end_in_an_answer_or_in_time(case):
    assert case("shortDeadlinesUnderLoad") is True


def test_cancelled_call_is_cancelled_and_the_connection_lives(case):
    assert case("cancel") == 1


def test_metadata_of_any_kind_is_taken(case):
    assert case("metadata") == "sqlite"


def test_error_details_decode(case):
    seen = case("errorDetails")
    assert seen["code"] == 5 and "no-such-pool" in seen["details"]
    status = rpc_status.Status.FromString(base64.b64decode(seen["status"][0]))
    info = error_details.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (status.code, status.message) == (5, seen["details"])
    assert (info.reason, info.domain) == ("POOL_NOT_FOUND", "ipam.novaedge.io")


def test_message_in_unicode_arrives_whole(case):
    assert "π/% pool" in case("unicodeMessage")["details"]


def test_compressed_message_is_unimplemented(case):
    assert case("compressed") == 12


# ---- Tests: reflection client


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_client_lists_describes_and_calls(node, version):
    seen = node("reflection.js", version)
    assert {"ipam.v1.IPAM", "grpc.health.v1.Health"} <= set(seen["services"])
    assert set(seen["methods"]) >= {"ApplyPool", "Allocate", "Release", "ListChanges"}
    assert seen["capacity"] == 14
