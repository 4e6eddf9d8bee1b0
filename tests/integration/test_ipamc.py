"""ipamc against a real ipamd: commands, outputs, exit codes."""
import json
import os
import re
import subprocess

import pytest
import yaml

from harness.paths import IPAMC, REFERENCE
from harness.protos import ipam as pb
from harness.requests import allocate, pool

# ---- Fixture


@pytest.fixture
def main_pool(daemon):
    daemon.ipamc("apply", "-f", REFERENCE / "main-vip-pool.yaml", check=True)
    return daemon


# ---- Helpers


def rows(text):
    return [re.split(r" {2,}", line.strip()) for line in text.splitlines()]


# ---- Manifests


def test_apply_takes_several_documents_files_and_a_folder(daemon, tmp_path):
    for name in ("main-vip-pool", "external-vip-pool"):
        (tmp_path / f"{name}.yaml").write_text((REFERENCE / f"{name}.yaml").read_text())
    done = daemon.ipamc("apply", "-f", tmp_path, check=True)
    assert len(done.stdout.splitlines()) == 2
    both = (REFERENCE / "auto-vip.yaml").read_text() + "---\n" + (REFERENCE / "specific-vip.yaml").read_text()
    done = daemon.ipamc("apply", "-f", "-", stdin=both, check=True)
    assert "10.200.0.1/32" in done.stdout and "10.200.0.50/32" in done.stdout


def test_apply_dry_run_tells_and_changes_nothing(main_pool):
    before = main_pool.ipam().GetStatus(pb.GetStatusRequest()).revision
    done = main_pool.ipamc("apply", "--dry-run", "-f", REFERENCE / "specific-vip.yaml", check=True)
    assert "10.200.0.50/32" in done.stdout
    assert main_pool.ipam().GetStatus(pb.GetStatusRequest()).revision == before


def test_apply_dry_run_names_the_claims_that_would_be_stranded(main_pool):
    main_pool.ipamc("apply", "-f", REFERENCE / "specific-vip.yaml", check=True)
    smaller = (REFERENCE / "main-vip-pool.yaml").read_text().replace("10.200.0.0/24", "10.200.0.0/28")
    done = main_pool.ipamc("apply", "--dry-run", "-f", "-", stdin=smaller, check=True)
    assert "specific-vip" in done.stdout and "10.200.0.50/32" in done.stdout
    assert main_pool.ipam().GetPool(pb.GetPoolRequest(name="main-vip-pool")).pool.counts.capacity == 254


def test_delete_by_manifest_takes_vips_and_pool_away(main_pool):
    main_pool.ipamc("apply", "-f", REFERENCE / "auto-vip.yaml", check=True)
    both = (REFERENCE / "main-vip-pool.yaml").read_text() + "---\n" + (REFERENCE / "auto-vip.yaml").read_text()
    main_pool.ipamc("delete", "-f", "-", stdin=both, check=True)
    assert not main_pool.ipam().ListPools(pb.ListPoolsRequest()).pools


@pytest.mark.parametrize("manifest, words", [
    ("kind: [", ["1"]), ("apiVersion: novaedge.io/v1alpha1\nkind: ProxyIPPool\nspec: {}\n", ["name"]),
    ("apiVersion: novaedge.io/v1alpha1\nkind: Nonsense\nmetadata: {name: x}\n", ["Nonsense"]),
    ("apiVersion: novaedge.io/v1alpha1\nkind: ProxyIPPool\nmetadata: {name: x}\nspec: {cidrs: [10.0.0.1/24]}\n",
     ["10.0.0.1/24", "10.0.0.0/24"])])
def test_manifest_that_is_not_right_is_a_usage_error_that_says_where(daemon, manifest, words):
    done = daemon.ipamc("apply", "-f", "-", stdin=manifest)
    assert done.returncode == 2 and done.stderr.startswith("ipamc: ")
    for word in words:
        assert word in done.stderr


# ---- Get and describe


def test_get_vips_shows_addresses(main_pool):
    main_pool.ipamc("apply", "-f", REFERENCE / "auto-vip.yaml", check=True)
    head, row = rows(main_pool.ipamc("get", "vips", check=True).stdout)
    assert head[0] == "NAME" and row[0] == "auto-vip" and "10.200.0.1/32" in row


def test_get_claims_lists_every_kind(main_pool):
    main_pool.ipamc("allocate", "main-vip-pool", "by-hand", check=True)
    main_pool.ipamc("allocate", "main-vip-pool", "a-vip", "--kind", "ProxyVIP", check=True)
    text = main_pool.ipamc("get", "claims", check=True).stdout
    assert "Manual" in text and "ProxyVIP" in text and "10.200.0.2/32" in text


def test_json_and_yaml_say_the_same_in_proto3_json(main_pool):
    as_json = json.loads(main_pool.ipamc("get", "pools", "main-vip-pool", "-o", "json", check=True).stdout)
    as_yaml = yaml.safe_load(main_pool.ipamc("get", "pools", "main-vip-pool", "-o", "yaml", check=True).stdout)
    assert as_json["spec"]["cidrs"] == ["10.200.0.0/24"] and as_json["counts"]["available"] == "254"
    assert as_json["state"] == "READY" and as_json["spec"]["autoAssign"] is True
    for document in (as_json, as_yaml):
        document.pop("createdAt")
    assert as_yaml == as_json


def test_name_output_feeds_a_script(main_pool):
    done = main_pool.ipamc("get", "pools", "-o", "name", check=True)
    assert [line.split("/")[-1] for line in done.stdout.splitlines()] == ["main-vip-pool"]


def test_describe_shows_pool_and_vip(main_pool):
    main_pool.ipamc("apply", "-f", REFERENCE / "specific-vip.yaml", check=True)
    assert "10.200.0.0/24" in main_pool.ipamc("describe", "pool", "main-vip-pool", check=True).stdout
    assert "10.200.0.50/32" in main_pool.ipamc("describe", "vip", "specific-vip", check=True).stdout


def test_status_and_version_answer(daemon):
    assert "sqlite" in daemon.ipamc("status", check=True).stdout
    assert json.loads(daemon.ipamc("status", "-o", "json", check=True).stdout)["store"] == "sqlite"
    assert "ipamc" in daemon.ipamc("version", check=True).stdout


# ---- Allocate, release, call


def test_dual_allocation_prints_an_address_a_line(daemon):
    daemon.ipam().ApplyPool(pool("both", "10.0.0.0/30", "2001:db8::/126"))
    done = daemon.ipamc("allocate", "both", "web", "--family", "dual", check=True)
    assert done.stdout == "10.0.0.1/32\n2001:db8::/128\n"


def test_allocate_replace_enqueue_and_dry_run(main_pool):
    assert main_pool.ipamc("allocate", "main-vip-pool", "web", "--dry-run", check=True).stdout == "10.200.0.1/32\n"
    assert main_pool.ipamc("allocate", "main-vip-pool", "web", check=True).stdout == "10.200.0.1/32\n"
    assert main_pool.ipamc("allocate", "main-vip-pool", "web", "--address", "10.200.0.9").returncode == 5
    done = main_pool.ipamc("allocate", "main-vip-pool", "web", "--address", "10.200.0.9", "--replace", check=True)
    assert done.stdout == "10.200.0.9/32\n"
    done = main_pool.ipamc("allocate", "main-vip-pool", "other", "--address", "10.200.0.9", "--enqueue")
    assert done.stdout == ""
    main_pool.ipamc("release", "web", check=True)
    assert "10.200.0.9/32" in main_pool.ipamc("get", "claims", "Manual/other", check=True).stdout


def test_release_by_address(main_pool):
    main_pool.ipamc("allocate", "main-vip-pool", "web", check=True)
    main_pool.ipamc("release", "--address", "10.200.0.1", check=True)
    assert main_pool.ipam().GetPool(pb.GetPoolRequest(name="main-vip-pool")).pool.counts.allocated == 0
    assert main_pool.ipamc("release").returncode == 2


def test_call_reaches_any_unary_method_in_json(main_pool):
    request = json.dumps({"owner": {"kind": "ProxyVIP", "name": "web"}, "pool": "main-vip-pool"})
    for method in ("Allocate", "ipam.v1.IPAM/Allocate"):
        reply = json.loads(main_pool.ipamc("call", method, request, check=True).stdout)
        assert reply["claims"][0]["address"] == "10.200.0.1/32" and reply["claims"][0]["state"] == "BOUND"
    health = json.loads(main_pool.ipamc("call", "grpc.health.v1.Health/Check", "{}", check=True).stdout)
    assert health["status"] == "SERVING"
    done = main_pool.ipamc("call", "ipam.v1.IPAM/NoSuchMethod", "{}")
    assert done.returncode == 2
    done = main_pool.ipamc("call", "Allocate", '{"nonsense": 1}')
    assert done.returncode == 2 and "nonsense" in done.stderr


# ---- Errors


def test_exit_code_tells_the_class_of_error(daemon, main_pool):
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("one", addresses=["192.0.2.1"]))
    ipam.Allocate(allocate("holder", "one"))

    def code(*arguments):
        return daemon.ipamc(*arguments).returncode

    assert code("no-such-command") == code("allocate") == code("get", "pools", "-o", "xml") == code("--no-such") == 2
    assert code("allocate", "no-such-pool", "x") == code("get", "pools", "no-such-pool") == 3
    assert code("allocate", "one", "x") == 4
    assert code("allocate", "one", "x", "--address", "192.0.2.1") == 5
    assert code("--socket", "/nonexistent/socket", "status") == 7
    assert code("delete", "vip", "no-such-vip") in (0, 3)


def test_errors_are_json_where_json_is_asked_for(daemon):
    done = daemon.ipamc("allocate", "no-such-pool", "x", "-o", "json")
    assert done.returncode == 3 and done.stdout == ""
    error = json.loads(done.stderr)
    assert "POOL_NOT_FOUND" in json.dumps(error)


def test_daemon_that_does_not_answer_is_given_up_in_time(daemon):
    os.kill(daemon.process.pid, 19)  # SIGSTOP: it holds the connection and says nothing
    done = daemon.ipamc("--timeout", "0.5s", "status")
    os.kill(daemon.process.pid, 18)
    assert done.returncode == 9, done


def test_broken_pipe_is_not_a_crash(main_pool):
    environment = {**os.environ, "IPAMD_SOCKET": str(main_pool.socket)}
    process = subprocess.Popen([str(IPAMC), "get", "pools"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    process.stdout.close()
    assert process.wait(20) != -11
    assert b"Sanitizer" not in process.stderr.read()


def test_help_names_every_command():
    done = subprocess.run([str(IPAMC), "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    for word in ("apply", "delete", "get", "describe", "allocate", "release", "call", "status", "version", "--socket"):
        assert word in done.stdout
