"""ipamc as a process against ipamd: every command, its output in each format, its errors and exit codes."""
import json
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.paths import IPAMC, REFERENCE, SLOW
from harness.protos import ipam as pb
from harness.requests import all_claims, allocate, owner, pool

USAGE, NOT_FOUND, EXHAUSTED, CONFLICT, UNAVAILABLE, REFUSED, TIMEOUT = 2, 3, 4, 5, 7, 8, 9

# ---- Helpers


def manifest(kind, name, **spec):
    """A manifest in JSON, which is YAML."""
    return json.dumps({"apiVersion": "novaedge.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}) + "\n"


def pool_manifest(name, *cidrs, **spec):
    return manifest("ProxyIPPool", name, cidrs=cidrs, autoAssign=True, **spec)


def vip_manifest(name, pool_name=None, **spec):
    return manifest("ProxyVIP", name, **({"poolRef": {"name": pool_name}} if pool_name else {}), **spec)


def documents(*texts):
    return "---\n".join(texts)


def apply(daemon, *texts, **more):
    return daemon.ipamc("apply", "-f", "-", stdin=documents(*texts), **more)


def lines(done):
    return done.stdout.splitlines()


def said(done, code, *words):
    """The command failed with this code and its one error names these."""
    assert done.returncode == code, (done.returncode, done.stderr)
    assert done.stderr.startswith("ipamc: ")
    for word in words:
        assert word in done.stderr


def environment(daemon):
    return {**os.environ, "IPAMD_SOCKET": str(daemon.socket)}


# ---- Apply


def test_apply_tells_created_configured_and_unchanged(daemon):
    assert lines(apply(daemon, pool_manifest("p", "10.0.0.0/24"))) == ["proxyippool/p created"]
    assert lines(apply(daemon, pool_manifest("p", "10.0.0.0/24"))) == ["proxyippool/p unchanged"]
    assert lines(apply(daemon, pool_manifest("p", "10.0.0.0/23"))) == ["proxyippool/p configured"]


def test_apply_sends_pools_first_then_certain_addresses_then_the_others(daemon):
    done = apply(daemon, vip_manifest("any", "p"), vip_manifest("certain", "p", address="10.0.0.1/32"),
                 pool_manifest("p", "10.0.0.0/24"), check=True)
    assert lines(done) == ["proxyippool/p created", "proxyvip/certain 10.0.0.1/32 allocated from p",
                           "proxyvip/any 10.0.0.2/32 allocated from p"]


def test_apply_swaps_the_address_of_a_vip(daemon):
    apply(daemon, pool_manifest("p", "10.0.0.0/24"), vip_manifest("v", "p"), check=True)
    assert lines(apply(daemon, vip_manifest("v", "p"))) == ["proxyvip/v 10.0.0.1/32 unchanged"]
    done = apply(daemon, vip_manifest("v", "p", address="10.0.0.9"), check=True)
    assert lines(done) == ["proxyvip/v 10.0.0.9/32 allocated from p instead of 10.0.0.1/32"]


def test_apply_records_a_vip_without_a_pool(daemon, ipam):
    done = apply(daemon, vip_manifest("v", address="192.0.2.1"), check=True)
    assert lines(done) == ["proxyvip/v 192.0.2.1/32 allocated"]
    claim, = all_claims(ipam)
    assert (claim.pool, claim.owner) == ("", owner("v"))


def test_apply_gives_both_addresses_of_a_dual_vip(daemon):
    done = apply(daemon, pool_manifest("p", "10.0.0.0/30", "2001:db8::/126"), vip_manifest("v", "p", addressFamily="dual"))
    assert lines(done)[1:] == ["proxyvip/v 10.0.0.1/32 allocated from p", "proxyvip/v 2001:db8::/128 allocated from p"]


def test_apply_checks_everything_before_it_sends_anything(daemon, ipam):
    done = apply(daemon, pool_manifest("p", "10.0.0.0/24"), vip_manifest("v"))
    said(done, USAGE, "stdin:3: the VIP v has neither a pool nor an address")
    assert not ipam.ListPools(pb.ListPoolsRequest()).pools


def test_apply_goes_on_after_a_refusal_and_exits_with_the_first(daemon):
    done = apply(daemon, pool_manifest("a", "10.0.0.0/30"), pool_manifest("b", "10.0.0.0/29"), vip_manifest("v", "gone"),
                 vip_manifest("w", "a"))
    assert done.returncode == CONFLICT
    assert lines(done) == ["proxyippool/a created", "proxyvip/w 10.0.0.1/32 allocated from a"]
    errors = [line for line in done.stderr.splitlines() if line.startswith("ipamc: ")]
    assert len(errors) == 2 and "stdin:3: proxyippool/b" in errors[0] and "proxyvip/v" in errors[1]


def test_apply_enqueues_when_asked(daemon):
    done = apply(daemon, vip_manifest("v", "later"), check=False)
    said(done, NOT_FOUND, "later")
    done = daemon.ipamc("apply", "--enqueue", "-f", "-", stdin=vip_manifest("v", "later"), check=True)
    assert lines(done)[0].startswith("proxyvip/v waits for an ipv4 address: pool not found")
    apply(daemon, pool_manifest("later", "10.0.0.0/30"), check=True)
    assert daemon.ipamc("get", "vip", "v").stdout.splitlines()[1].split()[:2] == ["v", "10.0.0.1/32"]


def test_apply_reads_a_folder_in_order_of_name_and_nothing_else_in_it(daemon, tmp_path):
    (tmp_path / "2.yml").write_text(pool_manifest("two", "10.0.2.0/24"))
    (tmp_path / "1.yaml").write_text(pool_manifest("one", "10.0.1.0/24"))
    (tmp_path / "3.json").write_text(pool_manifest("three", "10.0.3.0/24"))
    (tmp_path / "README.md").write_text("not: [a manifest")
    done = daemon.ipamc("apply", "-f", tmp_path, check=True)
    assert lines(done) == [f"proxyippool/{name} created" for name in ("one", "two", "three")]


def test_apply_names_stranded_claims_and_dry_run_changes_nothing(daemon, ipam):
    apply(daemon, pool_manifest("p", "10.0.0.0/30"), vip_manifest("v", "p"), check=True)
    revision = ipam.GetStatus(pb.GetStatusRequest()).revision
    smaller = pool_manifest("p", "10.0.1.0/30")
    done = daemon.ipamc("apply", "--dry-run", "-f", "-", stdin=smaller, check=True)
    assert lines(done) == ["proxyippool/p configured (dry run)",
                           "  claim/ProxyVIP/v/ipv4 would keep 10.0.0.1/32, which would leave the pool"]
    assert ipam.GetStatus(pb.GetStatusRequest()).revision == revision
    assert lines(apply(daemon, smaller))[1] == "  claim/ProxyVIP/v/ipv4 keeps 10.0.0.1/32, which left the pool"


def test_dry_run_of_pool_and_vips_together_is_no_error(daemon, ipam):
    done = daemon.ipamc("apply", "--dry-run", "-f", REFERENCE / "main-vip-pool.yaml", "-f", REFERENCE / "auto-vip.yaml", check=True)
    assert lines(done) == ["proxyippool/main-vip-pool created (dry run)",
                           "proxyvip/auto-vip would ask the pool main-vip-pool as this file leaves it (dry run)"]
    assert ipam.GetStatus(pb.GetStatusRequest()).revision == 0


def test_dry_run_names_one_address_once(daemon):
    apply(daemon, pool_manifest("p", "10.0.0.0/24"), check=True)
    done = daemon.ipamc("apply", "--dry-run", "-f", "-", stdin=documents(vip_manifest("a", "p"), vip_manifest("b", "p")), check=True)
    assert lines(done) == ["proxyvip/a 10.0.0.1/32 allocated from p (dry run)", "proxyvip/b an ipv4 address allocated from p (dry run)"]


def test_apply_in_json_lists_every_result(daemon):
    done = daemon.ipamc("apply", "-o", "json", "-f", "-", stdin=documents(pool_manifest("p", "10.0.0.0/30"), vip_manifest("v", "gone")))
    first, second = json.loads(done.stdout)["results"]
    assert first["kind"] == "ProxyIPPool" and first["reply"]["pool"]["counts"]["available"] == "2"
    assert second["error"]["reason"] == "POOL_NOT_FOUND"
    assert json.loads(done.stderr)["error"]["reason"] == "POOL_NOT_FOUND"


# ---- Delete


def test_delete_vip_frees_its_address_and_a_second_time_it_is_not_found(daemon):
    apply(daemon, pool_manifest("p", "10.0.0.0/30"), vip_manifest("v", "p"), check=True)
    assert lines(daemon.ipamc("delete", "vip", "v", check=True)) == ["proxyvip/v 10.0.0.1/32 released"]
    said(daemon.ipamc("delete", "vip", "v"), NOT_FOUND, "ProxyVIP/v")
    daemon.ipamc("delete", "vip", "v", "--ignore-not-found", check=True)


def test_delete_pool_in_use_drains_and_only_if_unused_refuses(daemon):
    apply(daemon, pool_manifest("p", "10.0.0.0/30"), vip_manifest("v", "p"), check=True)
    said(daemon.ipamc("delete", "pool", "p", "--only-if-unused"), CONFLICT, "pool in use")
    done = daemon.ipamc("delete", "pool", "p", check=True)
    assert lines(done) == ["proxyippool/p draining, goes with the last of its claims (1)"]
    daemon.ipamc("delete", "vip", "v", check=True)
    said(daemon.ipamc("delete", "pool", "p"), NOT_FOUND)


def test_delete_by_manifests_takes_vips_before_pools(daemon, tmp_path):
    text = documents(pool_manifest("p", "10.0.0.0/30"), vip_manifest("v", "p"))
    apply(daemon, text, check=True)
    done = daemon.ipamc("delete", "-f", "-", stdin=text, check=True)
    assert lines(done) == ["proxyvip/v 10.0.0.1/32 released", "proxyippool/p deleted"]


# ---- Get and describe


def test_get_pools_in_every_format(daemon):
    apply(daemon, pool_manifest("p", "10.0.0.0/30"), pool_manifest("q", "10.0.1.0/30"), check=True)
    assert [pool["spec"]["name"] for pool in json.loads(daemon.ipamc("get", "pools", "-o", "json").stdout)["pools"]] == ["p", "q"]
    assert json.loads(daemon.ipamc("get", "pool", "q", "-o", "json").stdout)["counts"]["capacity"] == "2"
    assert lines(daemon.ipamc("get", "proxyippool", "-o", "name")) == ["proxyippool/p", "proxyippool/q"]
    assert "\n  state: READY\n" in daemon.ipamc("get", "pools", "-o", "yaml").stdout
    assert "10.0.1.0/30" in lines(daemon.ipamc("get", "pools", "-o", "wide"))[2]
    said(daemon.ipamc("get", "pool", "p", "gone"), NOT_FOUND, "gone")


def test_get_lists_every_page(daemon, ipam):
    for n in range(1100):
        ipam.ApplyPool(pool(f"p{n}", addresses=[f"10.1.{n // 250}.{n % 250}"]))
        ipam.Allocate(allocate(f"v{n}", f"p{n}"))
    assert len(lines(daemon.ipamc("get", "pools", "-o", "name"))) == 1100
    addresses = [line.split()[0] for line in lines(daemon.ipamc("get", "claims"))[1:]]
    assert addresses == [f"10.1.{n // 250}.{n % 250}/32" for n in range(1100)]
    assert len(lines(daemon.ipamc("get", "vips"))) == 1101


def test_get_claims_filters(daemon):
    apply(daemon, pool_manifest("p", "10.0.0.0/24", reuseDelaySeconds=600), vip_manifest("v", "p"), vip_manifest("w", "p"), check=True)
    daemon.ipamc("allocate", "p", "m", check=True)
    daemon.ipamc("allocate", "-", "n", "--address", "192.0.2.1", check=True)
    daemon.ipamc("delete", "vip", "w", check=True)

    def names(*arguments):
        return lines(daemon.ipamc("get", "claims", "-o", "name", *arguments))

    assert names("--kind", "Manual") == ["claim/Manual/m/ipv4", "claim/Manual/n/ipv4"]
    assert names("--pool", "p") == ["claim/ProxyVIP/v/ipv4", "claim/Manual/m/ipv4"]
    assert names("--state", "cooling") == ["claim/ProxyVIP/w/ipv4"]
    assert names("--address", "192.0.2.1") == ["claim/Manual/n/ipv4"]
    assert names("m", "ProxyVIP/v") == ["claim/ProxyVIP/v/ipv4", "claim/Manual/m/ipv4"]
    assert names("Manual/n") == ["claim/Manual/n/ipv4"]
    said(daemon.ipamc("get", "claims", "nobody"), NOT_FOUND, "nobody")


def test_describe_tells_what_there_is(daemon):
    apply(daemon, pool_manifest("p", "10.0.0.0/29", excludedAddresses=["10.0.0.1"]), vip_manifest("v", "p"), check=True)
    text = daemon.ipamc("describe", "pool", "p", check=True).stdout
    assert re.search(r"^Excluded: +10\.0\.0\.1$", text, re.M) and re.search(r"^ipv4 +5 +1 +4 ", text, re.M)
    assert "ProxyVIP   v" in text
    text = daemon.ipamc("describe", "vip", "v", check=True).stdout
    assert text.startswith("Name:  ") and "\n\n" not in text
    assert re.search(r"^Address: +10\.0\.0\.2/32$", text, re.M)
    said(daemon.ipamc("describe", "vip", "gone"), NOT_FOUND)
    assert daemon.ipamc("describe", "pool", "p", "-o", "name", check=True).stdout == "proxyippool/p\n"
    assert daemon.ipamc("describe", "vip", "v", "-o", "name", check=True).stdout == "proxyvip/v\n"


def test_names_stand_in_tables_as_they_are(daemon):
    daemon.ipamc("allocate", "-", "ü b", "--address", "192.0.2.1", check=True)
    assert "ü b" in daemon.ipamc("get", "claims").stdout


# ---- Allocate and release


def test_allocate_dual_prints_one_address_a_line(daemon):
    apply(daemon, pool_manifest("p", "10.0.0.0/30", "2001:db8::/126"), check=True)
    done = daemon.ipamc("allocate", "p", "o", "--family", "dual", "--ipv6-address", "2001:db8::2", check=True)
    assert done.stdout == "10.0.0.1/32\n2001:db8::2/128\n"


def test_allocate_takes_kind_from_option_or_owner(daemon, ipam):
    apply(daemon, pool_manifest("p", "10.0.0.0/29"), check=True)
    daemon.ipamc("allocate", "p", "a", check=True)
    daemon.ipamc("allocate", "p", "Node/b", "--uid", "u-1", check=True)
    daemon.ipamc("allocate", "p", "c/d", "--kind", "Node", check=True)
    assert [(claim.owner.kind, claim.owner.name, claim.owner.uid) for claim in all_claims(ipam)] == [
        ("Manual", "a", ""), ("Node", "b", "u-1"), ("Node", "c/d", "")]


def test_allocate_exits_by_class_of_error(daemon):
    apply(daemon, pool_manifest("p", "10.0.0.0/30"), manifest("ProxyIPPool", "off", cidrs=["10.0.1.0/30"]), check=True)
    for name in "ab":
        daemon.ipamc("allocate", "p", name, check=True)
    said(daemon.ipamc("allocate", "p", "c"), EXHAUSTED, "pool exhausted")
    said(daemon.ipamc("allocate", "gone", "c"), NOT_FOUND)
    said(daemon.ipamc("allocate", "off", "c"), REFUSED)
    said(daemon.ipamc("allocate", "p", "c", "--address", "10.0.0.1"), CONFLICT)
    said(daemon.ipamc("allocate", "p", "c", "--address", "10.0.0"), USAGE)
    said(daemon.ipamc("allocate", "p", "a", "--address", "10.0.0.2"), CONFLICT)


def test_allocate_enqueued_prints_no_address_and_says_why(daemon):
    done = daemon.ipamc("allocate", "later", "o", "--enqueue", check=True)
    assert done.stdout == "" and "claim/Manual/o/ipv4 waits" in done.stderr


def test_allocate_dry_run_takes_nothing(daemon, ipam):
    apply(daemon, pool_manifest("p", "10.0.0.0/30"), check=True)
    assert daemon.ipamc("allocate", "p", "o", "--dry-run", check=True).stdout == "10.0.0.1/32\n"
    assert not list(all_claims(ipam))


def test_release_prints_what_it_released_and_nothing_is_no_error(daemon):
    apply(daemon, pool_manifest("p", "10.0.0.0/24"), check=True)
    daemon.ipamc("allocate", "p", "o", check=True)
    assert lines(daemon.ipamc("release", "o", "--dry-run", check=True)) == ["claim/Manual/o/ipv4 10.0.0.1/32 would be released"]
    assert lines(daemon.ipamc("release", "o", check=True)) == ["claim/Manual/o/ipv4 10.0.0.1/32 released"]
    done = daemon.ipamc("release", "o", check=True)
    assert done.stdout == "" and "nothing to release" in done.stderr
    daemon.ipamc("allocate", "p", "o", check=True)
    daemon.ipamc("release", "--address", "10.0.0.1", check=True)
    said(daemon.ipamc("release"), USAGE, "release what")


# ---- Call, status, version


def test_call_speaks_proto3_json_both_ways(daemon):
    request = {"pool": {"name": "p", "cidrs": ["10.0.0.0/30"], "auto_assign": True, "reuseDelaySeconds": "5"}}
    reply = json.loads(daemon.ipamc("call", "ApplyPool", "-", stdin=json.dumps(request), check=True).stdout)
    assert (reply["revision"], reply["pool"]["spec"]["reuseDelaySeconds"]) == ("1", 5)
    changes = json.loads(daemon.ipamc("call", "ipam.v1.IPAM/ListChanges", "{}", check=True).stdout)["changes"]
    assert changes[0]["actor"]["command"] == "ipamc" and len(changes[0]["hash"]) == 44
    assert json.loads(daemon.ipamc("call", "Check", check=True).stdout) == {"status": "SERVING"}


def test_call_lists_the_methods_it_knows(daemon):
    methods = lines(daemon.ipamc("call", "--list", check=True))
    assert "ipam.v1.IPAM/Allocate" in methods and "grpc.health.v1.Health/Check" in methods
    assert "grpc.health.v1.Health/Watch" not in methods


@pytest.mark.parametrize("arguments, words", [
    (("Alocate",), "did you mean Allocate?"),
    (("GetPool", '{"nam": "p"}'), "unknown field nam in ipam.v1.GetPoolRequest; did you mean name?"),
    (("GetPool", "{"), "JSON:1"),
    (("ListPools", '{"pageSize": -1}'), "pageSize"),
])
def test_call_refuses_what_is_not_a_request(daemon, arguments, words):
    said(daemon.ipamc("call", *arguments), USAGE, words)


def test_refusal_that_ends_in_a_space_arrives(daemon):
    said(daemon.ipamc("call", "GetPool", '{"name": "p "}'), NOT_FOUND, "there is no pool p ")


def test_status_and_version_tell_of_ipamd(daemon):
    assert re.search(r"^Store: +sqlite, available$", daemon.ipamc("status", check=True).stdout, re.M)
    assert json.loads(daemon.ipamc("status", "-o", "json").stdout)["storeAvailable"] is True
    ipamc, ipamd = lines(daemon.ipamc("version", check=True))
    assert ipamc.split()[1] == ipamd.split()[1]


# ---- Errors, streams, deadlines


def test_error_with_json_is_one_object(daemon):
    done = daemon.ipamc("allocate", "gone", "o", "-o", "json")
    error = json.loads(done.stderr)["error"]
    assert (error["status"], error["reason"]) == ("NOT_FOUND", "POOL_NOT_FOUND")
    assert error["details"]["pool"] == "gone" and error["remedy"]
    assert done.stdout == "" and done.returncode == NOT_FOUND


def test_unreachable_ipamd_is_said_with_its_socket(daemon, tmp_path):
    done = daemon.ipamc("--socket", tmp_path / "none.sock", "get", "pools")
    said(done, UNAVAILABLE, str(tmp_path / "none.sock"))
    done = daemon.ipamc("version", "--socket", tmp_path / "none.sock", check=True)
    assert "not reached" in done.stdout


def test_stopped_ipamd_runs_into_the_timeout(daemon):
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        said(daemon.ipamc("get", "pools", "--timeout", "300ms"), TIMEOUT)
    finally:
        daemon.process.send_signal(signal.SIGCONT)


def test_ipamd_killed_in_a_call_is_a_lost_connection(daemon):
    daemon.process.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        call = pool.submit(daemon.ipamc, "get", "pools")
        time.sleep(0.3)  # the connection is made
        daemon.kill9()
        said(call.result(), UNAVAILABLE, "was lost: Connection reset by peer")


@pytest.mark.parametrize("arguments, words", [
    ((), "no command given"),
    (("aply",), "did you mean apply?"),
    (("get", "pols"), "did you mean pools?"),
    (("apply",), "apply -f"),
    (("apply", "-f", "/nonexistent"), "/nonexistent: No such file"),
    (("get", "pools", "--timeout", "0"), "--timeout"),
    (("get", "pools", "--dry-run"), "takes no --dry-run"),
])
def test_usage_errors_exit_with_2(daemon, arguments, words):
    done = daemon.ipamc(*arguments)
    assert done.returncode == USAGE and words in done.stderr and done.stdout == ""


def test_help_names_the_commands_and_goes_to_stdout(daemon):
    text = daemon.ipamc("--help", check=True).stdout
    for verb in ("apply", "delete pool", "get claim", "describe vip", "allocate", "release", "call", "status", "version"):
        assert f"\n  {verb} " in text
    assert "--enqueue" in daemon.ipamc("allocate", "--help", check=True).stdout


def test_full_disk_is_noticed_and_a_reader_that_left_is_not(daemon, ipam):
    for n in range(300):
        ipam.Allocate(allocate(f"v{n}", address=f"192.0.2.{n % 250}" if n < 250 else f"198.51.100.{n - 250}"))
    with open("/dev/full", "w") as full:
        done = subprocess.run([IPAMC, "get", "claims"], stdout=full, stderr=subprocess.PIPE, text=True, env=environment(daemon),
                              timeout=30 * SLOW, check=False)
    assert done.returncode == 1 and "No space left on device" in done.stderr
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([IPAMC, "get", "claims", "-o", "json"], stdout=writing, stderr=subprocess.PIPE, text=True,
                          env=environment(daemon), timeout=30 * SLOW, check=False)
    os.close(writing)
    assert done.returncode == 1 and done.stderr == ""


def test_closed_stdout_is_noticed_and_does_not_reach_the_socket(daemon):
    done = subprocess.run(["sh", "-c", f"exec {IPAMC} status >&-"], stderr=subprocess.PIPE, text=True, env=environment(daemon),
                          timeout=30 * SLOW, check=False)
    assert done.returncode == 1 and "Bad file descriptor" in done.stderr


# ---- Tests: warnings, and why an address is refused


def test_apply_warns_of_exclusions_outside_of_the_pool_and_of_clipped_ranges(daemon):
    spec = pool_manifest("p", "10.0.0.0/8", excludedAddresses=["192.0.2.1"])
    for option in ("--dry-run", "--enqueue"):
        done = daemon.ipamc("apply", option, "-f", "-", stdin=documents(spec), check=True)
        assert "proxyippool/p: 10.0.0.0/8 serves its first 65536 usable addresses only; split it to use more\n" in done.stderr
        assert "proxyippool/p: Exclusion 192.0.2.1 lies in no range of the pool; correct it or take it out\n" in done.stderr
    text = daemon.ipamc("describe", "pool", "p", check=True).stdout
    assert "split it to use more. Exclusion 192.0.2.1 lies in no range of the pool; correct it or take it out" in text
    apply(daemon, pool_manifest("other", "10.0.0.0/9"), check=False)
    reply = json.loads(daemon.ipamc("get", "pool", "p", "-o", "json", check=True).stdout)
    assert len(reply["pool"]["warnings"] if "pool" in reply else reply["warnings"]) == 2


def test_address_that_not_every_host_accepts_is_noted(daemon):
    done = daemon.ipamc("allocate", "-", "a", "--address", "169.254.9.9", check=True)
    assert done.stdout == "169.254.9.9/32\n"
    assert "hosts and routers may not accept 169.254.9.9/32: 169.254.0.0/16 is link-local (RFC 3927)" in done.stderr
    assert not daemon.ipamc("allocate", "-", "b", "--address", "10.0.0.9", check=True).stderr


@pytest.mark.parametrize("cidrs, excluded, question, words", [
    (["2001:db8::/120"], ["::/0"], [], "six has no ipv6 addresses left, it excludes them all"),
    (["10.0.0.0/24"], [], ["--address", "10.0.0.255"], "10.0.0.255 is the broadcast address of 10.0.0.0/24"),
    (["10.0.0.0/8"], [], ["--address", "10.9.0.0"], "10.9.0.0 lies past the first 65536 usable addresses of 10.0.0.0/8"),
    (["10.0.0.0/24"], [], ["--address", "127.0.0.1"], "127.0.0.0/8 is loopback (RFC 1122)")])
def test_explain_says_what_the_refusal_says(daemon, cidrs, excluded, question, words):
    apply(daemon, pool_manifest("six", *cidrs, excludedAddresses=excluded), check=True)
    refusal = daemon.ipamc("allocate", "six", "web", *question).stderr
    message = refusal.splitlines()[0].removeprefix("ipamc: ")
    assert words in message
    explained = daemon.ipamc("explain", "allocate", "six", "web", *question, check=True).stdout
    failed = [line for line in explained.splitlines() if " failed " in line]
    assert len(failed) == 1 and failed[0].endswith(message)
    assert f"Answer: refused: {message}\n" in explained
