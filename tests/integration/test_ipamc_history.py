"""What ipamc tells of the past and of decisions: get changes, history, audit, explain, map."""
import hashlib
import json
import os
import pty
import re
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from harness.paths import BUILD, IPAMC, SLOW
from harness.protos import ipam as pb
from harness.requests import allocate, pool, release
from harness.waiting import eventually

FAILURE, USAGE, NOT_FOUND = 1, 2, 3

# ---- Helpers


def history(daemon, *arguments):
    done = daemon.ipamc("history", "-o", "json", *arguments, check=True)
    return json.loads(done.stdout)["tenures"]


def holders(daemon, *arguments):
    return [tenure["owner"]["name"] for tenure in history(daemon, *arguments)]


def said(done, code, *words):
    assert done.returncode == code, (done.returncode, done.stderr)
    for word in words:
        assert word in done.stderr


def explained(daemon, *arguments):
    return json.loads(daemon.ipamc("explain", *arguments, "-o", "json", check=True).stdout)


def failed(explanation):
    return [step["check"] for step in explanation["steps"] if step["result"] == "failed"]


def on_terminal(daemon, arguments, env):
    """What a command prints on a terminal."""
    main, other = pty.openpty()
    full = {**os.environ, "IPAMD_SOCKET": str(daemon.socket), "LC_ALL": "C.UTF-8", "TERM": "xterm", **env}
    full.pop("NO_COLOR", None) if "NO_COLOR" not in env else None
    done = subprocess.run([IPAMC, *arguments], stdin=subprocess.DEVNULL, stdout=other, env=full, timeout=20 * SLOW, check=True)
    os.close(other)
    text = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        if not part:
            break
        text += part
    os.close(main)
    assert done.returncode == 0
    return text.decode().replace("\r\n", "\n")


def fill(ipam, count):
    """So many VIPs of the pool p, in one go."""
    for call in [ipam.Allocate.future(allocate(f"v{n}", "p")) for n in range(count)]:
        call.result()


def make_changes_until_compacted(ipam):
    """Old changes go in pieces, when there are many more than the limit."""
    for _ in range(100):
        for call in [method.future(request) for _ in range(100)
                     for method, request in ((ipam.Allocate, allocate("v", "p")), (ipam.Release, release("v")))]:
            call.result()
        if ipam.ListChanges(pb.ListChangesRequest(limit=1)).compacted_through:
            return
    raise AssertionError("nothing was ever compacted")


# ---- Changes


def test_get_changes_filters_and_limits(daemon, ipam):
    for n in (1, 2):
        ipam.ApplyPool(pool(f"p{n}", f"10.0.{n}.0/24"))
        ipam.Allocate(allocate("v", f"p{n}", kind=f"K{n}"))

    def revisions(*arguments):
        return [line.removeprefix("change/") for line in daemon.ipamc("get", "changes", "-o", "name", *arguments, check=True).stdout.split()]

    assert revisions() == ["1", "2", "3", "4"]
    assert revisions("--after", "1", "--limit", "2") == ["2", "3"]
    assert revisions("--pool", "p2") == ["3", "4"]
    assert revisions("--owner", "K1/v") == ["2"]
    assert revisions("--address", "10.0.2.1") == ["4"]
    assert revisions("--after", "99") == []
    said(daemon.ipamc("get", "changes", "--after", "-1"), USAGE, "--after -1: write a number")
    said(daemon.ipamc("get", "changes", "--limit", "1e3"), USAGE, "--limit 1e3")


def test_get_changes_reads_more_than_a_page(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/20"))
    fill(ipam, 1500)
    names = daemon.ipamc("get", "changes", "-o", "name", check=True).stdout.split()
    assert names == [f"change/{n}" for n in range(1, 1502)]
    assert len(daemon.ipamc("get", "changes", "-o", "name", "--limit", "1200", check=True).stdout.split()) == 1200


# ---- History


def test_history_tells_who_held_an_address_and_what_an_owner_held(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    ipam.Allocate(allocate("a", "p", address="10.0.0.9"))
    ipam.Release(release("a"))
    ipam.Allocate(allocate("b", "p", address="10.0.0.9"))
    ipam.Allocate(allocate("a", "p", address="10.0.0.8"))
    ipam.Allocate(allocate("a", "p", address="10.0.0.7", replace=True))
    assert holders(daemon, "--address", "10.0.0.9") == ["a", "b"]
    assert [(tenure["address"], tenure["ended"]) for tenure in history(daemon, "--owner", "a")] == [
        ("10.0.0.9/32", "released"), ("10.0.0.8/32", "replaced"), ("10.0.0.7/32", None)]
    first = history(daemon, "--address", "10.0.0.9")[0]
    assert (first["fromRevision"], first["toRevision"], first["endedBy"]["method"]) == ("2", "3", "Release")


def test_history_at_a_moment_tells_who_held_it_then(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    ipam.Allocate(allocate("a", "p", address="10.0.0.9"))
    ipam.Release(release("a"))
    ipam.Allocate(allocate("b", "p", address="10.0.0.9"))
    first, second = history(daemon, "--address", "10.0.0.9")
    for moment, names in ((first["from"], ["a"]), (first["to"], []), (second["from"], ["b"]), ("now", ["b"]), ("-1h", []),
                          ("1h ago", []), ("2000-01-01T00:00:00Z", [])):
        assert holders(daemon, "--address", "10.0.0.9", "--at", moment) == names, moment


@pytest.mark.parametrize("arguments, words", [
    ((), "history of what"),
    (("--address", "10.0.0.1", "--owner", "a"), "history of what"),
    (("--address", "10.0.0.1", "--at", "yesterday"), "--at \"yesterday\" is not a time"),
    (("--address", "10.0.0"), "10.0.0"),
])
def test_history_refuses_what_it_cannot_tell(daemon, arguments, words):
    said(daemon.ipamc("history", *arguments), USAGE, words)


def test_history_that_is_no_longer_kept_is_said_plainly(daemons):
    daemon = daemons().start("--history-limit", "5", "--history-rate", "1000000")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    ipam.Allocate(allocate("kept", "p", address="10.0.0.9"))
    make_changes_until_compacted(ipam)
    done = daemon.ipamc("history", "--address", "10.0.0.9", check=True)
    assert re.search(r"^ProxyVIP/kept +10\.0\.0\.9/32 .* now +p ", done.stdout, re.M)
    assert "no longer kept: holders that had gone before" in done.stderr
    assert "no longer kept" not in daemon.ipamc("history", "--address", "10.0.0.9", "--at", "now", check=True).stderr
    assert "no longer kept" in daemon.ipamc("history", "--address", "10.0.0.9", "--at", "-1h", check=True).stderr
    assert "no longer kept" in daemon.ipamc("get", "changes", check=True).stderr


# ---- Audit


def test_audit_verifies_the_chain_and_names_its_head(daemon, ipam):
    said(daemon.ipamc("audit", "verify", check=True), 0)
    ipam.ApplyPool(pool("p", "10.0.0.0/20"))
    fill(ipam, 1200)
    head = ipam.ListChanges(pb.ListChangesRequest(after_revision=1200)).changes[-1]
    answer = json.loads(daemon.ipamc("audit", "verify", "-o", "json", check=True).stdout)
    assert (answer["checked"], answer["revision"], answer["hash"]) == ("1201", "1201", head.hash.hex())
    answer = json.loads(daemon.ipamc("audit", "verify", "--from", "1000", "-o", "json", check=True).stdout)
    assert (answer["checked"], answer["believed"]) == ("202", "999")
    said(daemon.ipamc("audit", "verify", "--from", "2000"), USAGE, "the newest change is revision 1201")


@pytest.mark.parametrize("statement, words", [
    ("UPDATE changes SET hash = zeroblob(32) WHERE revision = 4", "3 changes fit the hash chain, up to revision 3"),
    ("DELETE FROM changes WHERE revision = 4", "after change 3 comes change 5"),
    ("UPDATE changes SET record = (SELECT record FROM changes WHERE revision = 3) WHERE revision = 4", "after change 3 comes change 3"),
    ("DELETE FROM changes WHERE revision > 8", "it ends at revision 8"),
])
def test_audit_finds_a_history_that_was_altered(daemon, ipam, statement, words):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    for n in range(9):
        ipam.Allocate(allocate(f"v{n}", "p"))
    with sqlite3.connect(daemon.state_dir / "ipamd.db") as database:
        database.execute(statement)
    done = daemon.ipamc("audit", "verify")
    said(done, FAILURE, words)
    assert done.stdout == ""


def test_audit_says_from_where_a_compacted_chain_can_be_checked(daemons):
    daemon = daemons().start("--history-limit", "5", "--history-rate", "1000000")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    make_changes_until_compacted(ipam)
    done = daemon.ipamc("audit", "verify", check=True)
    assert "was believed: what was before it is no longer kept" in done.stdout
    done = daemon.ipamc("audit", "verify", "--from", "1")
    said(done, FAILURE, "no longer kept; the chain can be checked with --from ")
    first = re.search(r"--from (\d+)", done.stderr)[1]
    assert f"revisions {first} to " in daemon.ipamc("audit", "verify", "--from", first, check=True).stdout


# ---- Heads that are noted elsewhere


def head_of(daemon):
    head = daemon.ipamc("audit", "head", check=True).stdout.strip()
    assert re.fullmatch(r"\d+:[0-9a-f]{64}", head)
    return head


def revision_of(head):
    return int(head.partition(":")[0])


def logged_heads(daemon):
    return re.findall(r"head of the history (\d+:[0-9a-f]{64})", daemon.log())


def rewrite_history(database, text, by):
    """As somebody would who may write the database and knows how the chain is made: every hash after the change fits again."""
    previous = bytes(32)
    for revision, record in database.execute("SELECT revision, record FROM changes ORDER BY revision").fetchall():
        record = record.replace(text, by)
        previous = hashlib.blake2b(previous + record, digest_size=32).digest()
        database.execute("UPDATE changes SET record = ?, hash = ? WHERE revision = ?", (record, previous, revision))
    database.execute("UPDATE meta SET hash = ?", (previous,))


def test_history_that_was_rewritten_with_new_hashes_is_found_by_a_noted_head(daemons):
    daemon = daemons().start()
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    early = head_of(daemon)
    for n in range(9):
        ipam.Allocate(allocate(f"v{n}", "p"))
    noted = head_of(daemon)
    ipam.Allocate(allocate("later", "p"))
    done = daemon.ipamc("audit", "verify", "--expect", noted, "--expect", early, check=True)
    assert "Revision 10 has the hash that was noted" in done.stdout and "believed" not in done.stdout
    assert json.loads(daemon.ipamc("audit", "verify", "--expect", early, "-o", "json", check=True).stdout)["proven"] == "1"
    with sqlite3.connect(daemon.state_dir / "ipamd.db") as database:
        rewrite_history(database, b"v3", b"x3")
    assert daemon.ipamc("audit", "verify").returncode == 0, "the chain alone does not tell"
    assert daemon.ipamc("audit", "verify", "--expect", early).returncode == 0
    done = daemon.ipamc("audit", "verify", "--expect", early, "--expect", noted)
    said(done, FAILURE, "revision 10 has another hash than was noted")
    assert done.stdout == ""


def test_head_that_is_ahead_of_the_history_tells_of_lost_changes(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    head = head_of(daemon)
    ahead = f"{revision_of(head) + 1}:{'ab' * 32}"
    said(daemon.ipamc("audit", "verify", "--expect", ahead), FAILURE, "revision 2 was noted, and the newest is 1")


def test_head_of_an_empty_history_is_revision_0(daemon, ipam):
    head = head_of(daemon)
    assert head == f"0:{'0' * 64}"
    assert json.loads(daemon.ipamc("audit", "head", "-o", "json", check=True).stdout) == {"revision": "0", "hash": "0" * 64}
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    daemon.ipamc("audit", "verify", "--expect", head, check=True)
    said(daemon.ipamc("audit", "verify", "--expect", f"0:{'1' * 64}"), FAILURE, "revision 0 has another hash")


def test_noted_head_proves_what_is_left_of_a_compacted_history(daemons):
    daemon = daemons().start("--history-limit", "5", "--history-rate", "1000000")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    gone = head_of(daemon)
    make_changes_until_compacted(ipam)
    noted = head_of(daemon)
    done = daemon.ipamc("audit", "verify", "--expect", noted, check=True)
    assert f"Revision {revision_of(noted)} has the hash that was noted" in done.stdout and "believed" not in done.stdout
    kept = ipam.ListChanges(pb.ListChangesRequest(limit=1)).changes[0]
    oldest = f"{kept.revision}:{kept.hash.hex()}"  # its hash is compared, not computed
    daemon.ipamc("audit", "verify", "--expect", oldest, check=True)
    said(daemon.ipamc("audit", "verify", "--expect", f"{kept.revision}:{'0' * 64}"), FAILURE, "another hash")
    done = daemon.ipamc("audit", "verify", "--expect", gone)
    said(done, FAILURE, f"up to revision {kept.revision - 1} are no longer kept, so the hash of revision 1 can't be checked")


def test_expected_head_before_the_start_of_the_check_is_a_usage_error(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    heads = [head_of(daemon)]
    for n in range(5):
        ipam.Allocate(allocate(f"v{n}", "p"))
        heads.append(head_of(daemon))
    daemon.ipamc("audit", "verify", "--from", "4", "--expect", heads[2], check=True)  # revision 3: where the chain starts
    said(daemon.ipamc("audit", "verify", "--from", "4", "--expect", heads[1]), USAGE, "the check begins later, with --from 4")


def test_head_is_logged_at_start_and_at_a_clean_stop(daemons):
    daemon = daemons().start()
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    noted = head_of(daemon)
    daemon.stop()
    assert logged_heads(daemon) == [f"0:{'0' * 64}", noted]
    daemon.start()
    assert logged_heads(daemon)[2:] == [noted]
    daemon.ipamc("audit", "verify", "--expect", noted, check=True)


@pytest.mark.skipif(BUILD.name == "asan", reason="a program under AddressSanitizer hangs at start when libfaketime speeds "
                    "the monotonic clock up; the release build runs this test")
def test_head_is_logged_once_a_day(daemons):
    """A day of ipamd's own clock takes a second here."""
    daemon = daemons()
    library, = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    daemon.start(env={"LD_PRELOAD": str(library), "FAKETIME": "+0 x86400", "ASAN_OPTIONS": "verify_asan_link_order=0"})
    eventually(lambda: len(logged_heads(daemon)) >= 3)
    assert set(logged_heads(daemon)) == {f"0:{'0' * 64}"}
    assert len(re.findall("head of the history", daemon.log())) < 200, "a day, and not each turn of the loop"


# ---- Explain


def test_explain_allocate_names_the_check_that_fails_and_takes_nothing(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/29", excluded=["10.0.0.6"], reuse_delay_seconds=600))
    ipam.ApplyPool(pool("off", "10.0.1.0/29", auto_assign=False))
    ipam.ApplyPool(pool("paused", "10.0.2.0/29", paused=True))
    ipam.Allocate(allocate("a", "p"))
    ipam.Allocate(allocate("b", "p"))
    ipam.Release(release("b"))
    revision = ipam.GetStatus(pb.GetStatusRequest()).revision
    for arguments, check in {
            ("gone", "x"): "pool", ("off", "x"): "auto-assign", ("paused", "x"): "paused", ("p", "x", "--family", "ipv6"): "family",
            ("p", "x", "--address", "10.0.0.1"): "in use", ("p", "x", "--address", "10.0.0.2"): "cooling",
            ("p", "x", "--address", "10.0.0.6"): "excluded", ("p", "x", "--address", "10.0.9.9"): "in pool",
            ("p", "x", "--address", "10.0.0"): "address", ("-", "x"): "request", ("p", "a/b/c", "--kind", "x/y"): "owner",
            ("p", "ProxyVIP/a", "--address", "10.0.0.4"): "claim"}.items():
        explanation = explained(daemon, "allocate", *arguments)
        assert failed(explanation) == [check] and explanation["outcome"] == "refused", arguments
        assert explanation["reason"] and explanation["message"] and explanation["unblock"], arguments
    granted = explained(daemon, "allocate", "p", "x")
    assert failed(granted) == [] and granted["outcome"] == "granted"
    assert granted["claims"][0]["address"] == "10.0.0.3/32" and granted["counts"]["ipv4"]["available"] == "3"
    assert explained(daemon, "allocate", "p", "ProxyVIP/a")["outcome"] == "held"
    assert ipam.GetStatus(pb.GetStatusRequest()).revision == revision


def test_explain_tells_the_place_in_the_queue_and_what_would_unblock_it(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/30", reuse_delay_seconds=600))
    for name in ("a", "b"):
        ipam.Allocate(allocate(name, "p"))
    ipam.Release(release("b"))
    until = next(iter(ipam.ListClaims(pb.ListClaimsRequest(state=pb.COOLING)).claims)).cooling_until.ToSeconds()
    for name in ("c", "d"):
        ipam.Allocate(allocate(name, "p", enqueue=True))
    text = daemon.ipamc("explain", "vip", "d", check=True).stdout
    assert re.search(r"^free address \(ipv4\) +failed +pool exhausted", text, re.M)
    assert "Answer: waits at place 2: pool exhausted" in text
    assert f"10.0.0.2/32, which ProxyVIP/b held, stops cooling at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(until))}" in text
    assert "with --enqueue it would be at place 3" in daemon.ipamc("explain", "allocate", "p", "e", check=True).stdout
    assert [each["outcome"] for each in explained(daemon, "vip", "a")["explanations"]] == ["held"]
    said(daemon.ipamc("explain", "vip", "nobody"), NOT_FOUND, "ProxyVIP/nobody")


def test_explain_of_a_dual_vip_is_one_explanation_that_names_the_family(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/30", "2001:db8::/128"))
    ipam.Allocate(allocate("a", "p", family=pb.IPV6))
    ipam.Allocate(allocate("v", "p", family=pb.DUAL, enqueue=True))
    explanation, = explained(daemon, "vip", "v")["explanations"]
    step, = (step for step in explanation["steps"] if step["result"] == "failed")
    assert (step["check"], step["family"]) == ("free address", "ipv6")
    again = explained(daemon, "allocate", "p", "w", "--family", "dual")
    assert [step for step in again["steps"] if step["result"] == "failed"][0]["family"] == "ipv6"


# ---- Map


def test_map_counts_as_the_pool_does(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/23", addresses=["10.0.9.1"], excluded=["10.0.0.7"], reuse_delay_seconds=600))
    for n in range(300):
        ipam.Allocate(allocate(f"v{n}", "p"))
    for n in range(0, 300, 7):
        ipam.Release(release(f"v{n}"))
    ipam.Allocate(allocate("manual", address="10.0.1.200"))
    ipam.Allocate(allocate("elsewhere", address="10.9.9.9"))
    ipam.ApplyPool(pool("p", "10.0.0.0/23", addresses=["10.0.9.1"], excluded=["10.0.0.7", "10.0.0.9"], reuse_delay_seconds=600))
    picture = json.loads(daemon.ipamc("map", "p", "-o", "json", check=True).stdout)
    counts = {name: int(count) for name, count in picture["counts"].items()}
    told = ipam.GetPool(pb.GetPoolRequest(name="p")).pool.counts
    assert counts["free"] == told.available and counts["cooling"] == told.cooling
    assert counts["held"] + counts["manual"] == told.allocated and counts["manual"] == 1
    assert (counts["orphaned"], counts["reserved"]) == (told.orphaned, 2)
    said(daemon.ipamc("map", "gone"), NOT_FOUND, "gone")


def test_map_has_color_on_a_terminal_only_and_never_where_it_is_not_wanted(daemon, ipam):
    ipam.ApplyPool(pool("p", "10.0.0.0/28"))
    assert "\033[" in on_terminal(daemon, ["map", "p"], {})
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": ""}):
        assert "\033[" not in on_terminal(daemon, ["map", "p"], env), env
    assert "\033[" in on_terminal(daemon, ["map", "p"], {"NO_COLOR": ""})
    assert "\033[" in on_terminal(daemon, ["map", "p", "--color", "always"], {"NO_COLOR": "1"})
    assert "\033[" not in on_terminal(daemon, ["map", "p", "--color=never"], {})
    assert "\033[" not in daemon.ipamc("map", "p").stdout
    said(daemon.ipamc("map", "p", "--color", "allways"), USAGE, "did you mean always?")


@pytest.mark.parametrize("command", [("map", "p"), ("get", "changes"), ("history", "--address", "10.0.0.1"), ("audit", "verify"),
                                     ("explain", "allocate", "p", "x")])
@pytest.mark.parametrize("form", ["table", "json", "yaml"])
def test_full_disk_is_an_error_and_a_reader_that_left_is_none(daemon, ipam, command, form):
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    ipam.Allocate(allocate("a", "p"))
    environment = {**os.environ, "IPAMD_SOCKET": str(daemon.socket)}
    with open("/dev/full", "w") as full:
        done = subprocess.run([IPAMC, *command, "-o", form], stdout=full, stderr=subprocess.PIPE, text=True, env=environment,
                              timeout=30 * SLOW, check=False)
    assert done.returncode == FAILURE and done.stderr == "ipamc: standard output: No space left on device\n"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([IPAMC, *command, "-o", form], stdout=writing, stderr=subprocess.PIPE, text=True, env=environment,
                          timeout=30 * SLOW, check=False)
    os.close(writing)
    assert done.returncode == FAILURE and done.stderr == ""
