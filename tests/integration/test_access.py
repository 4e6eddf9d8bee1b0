"""Roles: real users and groups, switched to in children, each of which may do its own and no more."""
import grp
import json
import os
import subprocess
import sys

import pytest

from harness.history import read
from harness.paths import ROOT, SLOW
from harness.protos import ipam as pb
from harness.requests import allocate, pool, release

pytestmark = pytest.mark.usefixtures("needs_root")

READ, ALLOCATE, ADMIN, OTHER = 61001, 61002, 61003, 61004  # groups that need no line in /etc/group
ALICE, BOB = 61101, 61102
ROLES = ["none", "read", "allocate", "admin"]
# What each method needs; a method that reflection shows and this lacks fails the test.
NEEDS = {
    "ipam.v1.IPAM": {"ApplyPool": "admin", "DeletePool": "admin", "GetPool": "read", "ListPools": "read",
                     "Allocate": "allocate", "Release": "allocate", "GetClaims": "read", "ListClaims": "read",
                     "ListChanges": "read", "GetStatus": "read"},
    "grpc.health.v1.Health": {"Check": "none", "Watch": "none"},
    "grpc.reflection.v1.ServerReflection": {"ServerReflectionInfo": "none"},
    "grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo": "none"},
}
GROUPS = ("--read-group", str(READ), "--allocate-group", str(ALLOCATE), "--admin-group", str(ADMIN), "--socket-mode", "0666")

# ---- Helpers


def run_as(daemon, uid, gid, groups, *command):
    """Runs the program of harness/as_user.py as another user, in another process; its last line is JSON."""
    done = subprocess.run([sys.executable, str(ROOT / "tests/integration/harness/as_user.py"), str(uid), str(gid),
                           ",".join(map(str, groups)), str(daemon.socket), *command],
                          capture_output=True, text=True, timeout=50 * SLOW, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def methods(daemon, **who):
    return run_as(daemon, who["uid"], who["gid"], who.get("groups", []), "methods")


def check_role(answers, role):
    """Each method of the table is refused just when its role is above `role`."""
    assert {service: set(found) for service, found in answers.items()} == {s: set(m) for s, m in NEEDS.items()}
    for service, found in answers.items():
        for method, answer in found.items():
            needs = NEEDS[service][method]
            if ROLES.index(needs) <= ROLES.index(role):
                assert answer["code"] != "PERMISSION_DENIED", (service, method, answer)
                continue
            assert (answer["code"], answer["reason"]) == ("PERMISSION_DENIED", "PERMISSION_DENIED"), (method, answer)
            assert answer["metadata"] == {"method": f"{service}/{method}", "role": needs, "has": role}
            for part in (method, f"the role {needs}", f"has {role}", f"--{needs}-group"):
                assert part in answer["message"], answer


def calls_as(daemon, uid, groups, *calls):
    """What became of each call [method, request]: "OK" or the reason; and the messages."""
    answers = run_as(daemon, uid, OTHER, groups, "calls", json.dumps(calls))
    return [answer.get("reason", "OK") for answer in answers], [answer.get("message", "") for answer in answers]


def allocation(name, kind, uid="", **more):
    return ["Allocate", {"owner": {"kind": kind, "name": name, "uid": uid}, "pool": "p", **more}]


def releasing(name, kind, **more):
    return ["Release", {"owner": {"kind": kind, "name": name}, **more}]


# ---- Tests


@pytest.mark.parametrize("uid, gid, groups, role", [
    (ALICE, OTHER, [], "none"), (ALICE, OTHER, [READ], "read"), (ALICE, READ, [], "read"),
    (ALICE, OTHER, [ALLOCATE], "allocate"), (BOB, OTHER, [READ, ALLOCATE], "allocate"), (BOB, ADMIN, [], "admin"),
    (BOB, OTHER, [READ, ADMIN], "admin"), (BOB, READ, [OTHER, ALLOCATE], "allocate"),
    (ALICE, OTHER, [ADMIN, *range(70000, 70200)], "admin"), (0, 0, [], "admin")])
def test_each_role_can_do_its_own_and_no_more(daemons, uid, gid, groups, role):
    daemon = daemons().start(*GROUPS)
    check_role(methods(daemon, uid=uid, gid=gid, groups=groups), role)


def test_only_an_admin_ends_a_cooling(daemons):
    daemon = daemons().start(*GROUPS)
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24", reuse_delay_seconds=3600))
    ipam.Allocate(allocate("a", "p"))
    ipam.Release(release("a"))
    answer = run_as(daemon, ALICE, ALLOCATE, [], "end_cooling", "10.0.0.1")
    assert answer["reason"] == "PERMISSION_DENIED" and answer["metadata"]["role"] == "admin"
    assert "Release with end_cooling needs the role admin" in answer["message"] and "--admin-group" in answer["message"]
    assert ipam.GetPool(pb.GetPoolRequest(name="p")).pool.counts.cooling == 1
    assert run_as(daemon, BOB, ADMIN, [], "end_cooling", "10.0.0.1") == {"code": "OK"}
    assert ipam.GetPool(pb.GetPoolRequest(name="p")).pool.counts.cooling == 0


@pytest.mark.parametrize("uid, gid, groups, hears", [
    (ALICE, OTHER, [], False), (ALICE, READ, [], True), (BOB, OTHER, [READ], True), (BOB, OTHER, [ALLOCATE], True),
    (BOB, ADMIN, [], True), (0, 0, [], True)])
def test_the_bus_is_for_those_who_may_read(daemons, uid, gid, groups, hears):
    daemon = daemons().start(*GROUPS, "--events-mode", "0666")
    heard = run_as(daemon, uid, gid, groups, "listen", str(daemon.events))
    assert heard["ticks"] == hears
    assert hears or heard["bytes"] == 0


def test_without_groups_the_bus_is_for_all_who_can_connect(daemons):
    daemon = daemons().start("--events-mode", "0666")
    assert run_as(daemon, ALICE, OTHER, [], "listen", str(daemon.events))["ticks"] == 1


def test_several_groups_may_have_one_role(daemons):
    daemon = daemons().start("--read-group", str(READ), "--read-group", str(OTHER), "--socket-mode", "0666")
    check_role_of = {READ: "read", OTHER: "read", ALLOCATE: "none"}
    for gid, role in check_role_of.items():
        check_role(methods(daemon, uid=ALICE, gid=gid), role)


def test_groups_go_by_name(daemons):
    """Any group of this machine that root's is not."""
    group = next(entry for entry in grp.getgrall() if entry.gr_gid not in (0, OTHER))
    daemon = daemons().start("--allocate-group", group.gr_name, "--socket-mode", "0666")
    check_role(methods(daemon, uid=ALICE, gid=OTHER, groups=[group.gr_gid]), "allocate")
    check_role(methods(daemon, uid=ALICE, gid=OTHER), "none")


@pytest.mark.parametrize("option", ["--read-group", "--allocate-group", "--admin-group", "--socket-group"])
def test_unknown_group_is_an_error_at_start(daemons, option):
    daemon = daemons()
    daemon.start(option, "no-such-group", ready=False)
    assert daemon.wait() == 2
    daemon.wait_log(f"{option} no-such-group: no group has that name.*groupadd")


def test_without_groups_the_socket_alone_decides(daemons):
    daemon = daemons().start("--socket-mode", "0660", "--socket-group", str(OTHER))
    assert os.stat(daemon.socket).st_gid == OTHER
    check_role(methods(daemon, uid=ALICE, gid=OTHER), "admin")
    assert run_as(daemon, BOB, READ, [], "connect") == {"error": "PermissionError"}


def test_socket_open_to_all_without_groups_is_warned_of(daemons):
    daemon = daemons().start("--socket-mode", "0666")
    daemon.wait_log("lets every user of the machine in")


def test_own_user_of_the_daemon_is_admin(daemons):
    daemon = daemons()
    daemon.folder.chmod(0o777)
    daemon.start(*GROUPS, wrap=("setpriv", f"--reuid={ALICE}", f"--regid={OTHER}", "--clear-groups"))
    check_role(methods(daemon, uid=ALICE, gid=OTHER), "admin")
    check_role(methods(daemon, uid=BOB, gid=OTHER), "none")


def test_every_change_names_who_made_it(daemons):
    daemon = daemons().start(*GROUPS)
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    made = run_as(daemon, ALICE, ALLOCATE, [], "changes")
    ipam.Allocate(allocate("root-vip", "p"))
    ipam.DeletePool(pb.DeletePoolRequest(name="p"))
    actors = [(change.actor.uid, change.actor.method) for change in read(ipam)]
    assert actors == [(0, "ApplyPool"), (ALICE, "Allocate"), (ALICE, "Release"), (0, "Allocate"), (0, "DeletePool")]
    commands = [change.actor.command for change in read(ipam)]
    assert commands[1] == commands[2] == made["command"] != ""


@pytest.mark.seconds(120)
def test_connections_of_one_user_are_limited_and_the_others_served(daemons):
    daemon = daemons().start(*GROUPS, "--max-user-connections", "5")
    assert run_as(daemon, ALICE, READ, [], "connections", "5") == {"served": 5, "refused": []}
    found = run_as(daemon, ALICE, READ, [], "connections", "6")
    assert found["served"] == 5 and "--max-user-connections" in found["refused"][0]
    assert run_as(daemon, BOB, READ, [], "connections", "5", ) == {"served": 5, "refused": []}
    assert daemon.ipam().GetStatus(pb.GetStatusRequest()).store == "sqlite"


# ---- For whom the role allocate may act


def test_allocate_group_without_kinds_may_not_act_for_objects_of_kubernetes(daemons):
    daemon = daemons().start(*GROUPS)
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    ipam.Allocate(allocate("web", "p", uid="uid-1"))
    ipam.Allocate(allocate("shop/front", "p", kind="Service", uid="uid-2"))
    revision = ipam.GetStatus(pb.GetStatusRequest()).revision
    reasons, messages = calls_as(
        daemon, ALICE, [ALLOCATE], releasing("web", "ProxyVIP"), releasing("web", "ProxyVIP", uid="uid-1"),
        ["Release", {"address": "10.0.0.1"}], ["Release", {"address": "10.0.0.2"}], allocation("web", "ProxyVIP", "uid-9"),
        allocation("web", "ProxyVIP", address="10.0.0.9", replace=True), allocation("invented", "ProxyVIP", "uid-3"),
        allocation("invented", "Service", "uid-3", enqueue=True), releasing("shop/front", "Service"))
    assert reasons == ["PERMISSION_DENIED"] * 9
    assert "ProxyVIP/web is an object of Kubernetes" in messages[0] and "--allocate-group GROUP:ProxyVIP" in messages[0]
    assert "Service/shop/front" in messages[3]
    assert ipam.GetStatus(pb.GetStatusRequest()).revision == revision
    reasons, _ = calls_as(daemon, ALICE, [ALLOCATE], allocation("by-hand", "ProxyVIP"), allocation("n", "Node", "any"),
                          releasing("by-hand", "ProxyVIP"), ["Release", {"address": "10.0.0.4"}])
    assert reasons == ["OK"] * 4, "what is not Kubernetes' is as before"


def test_allocate_group_is_bound_to_kinds_and_several_groups_add_up(daemons):
    daemon = daemons().start("--allocate-group", f"{ALLOCATE}:Node,Pod", "--allocate-group", f"{READ}:ProxyVIP",
                             "--socket-mode", "0666")
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24"))
    ipam.Allocate(allocate("web", "p", uid="uid-1"))
    nodes = (allocation("n", "Node"), allocation("pod", "Pod", "uid"), releasing("pod", "Pod"))
    others = (allocation("m", "Manual"), allocation("x", "ProxyVIP"), ["Release", {"address": "10.0.0.1"}])
    assert calls_as(daemon, ALICE, [ALLOCATE], *nodes, *others)[0] == ["OK"] * 3 + ["PERMISSION_DENIED"] * 3
    assert calls_as(daemon, BOB, [READ], *nodes)[0] == ["PERMISSION_DENIED"] * 3
    assert calls_as(daemon, BOB, [READ, ALLOCATE], *nodes, others[2])[0] == ["OK"] * 4
    assert calls_as(daemon, BOB, [READ, ALLOCATE], others[0])[0] == ["PERMISSION_DENIED"]
    ipam.Allocate(allocate("m", "p", kind="Manual"))  # root


@pytest.mark.parametrize("value, says", [("GROUP:", '"" can\'t be a kind'), ("GROUP:a,,b", "GROUP:KIND,KIND such as"),
                                         ("GROUP:Node/n1", '"Node/n1" can\'t be a kind of owner')])
def test_kinds_that_cant_be_are_an_error_at_start(daemons, value, says):
    daemon = daemons()
    daemon.start("--allocate-group", value.replace("GROUP", str(ALLOCATE)), ready=False)
    assert daemon.wait() == 2
    daemon.wait_log(says)


# ---- Claims of a user


def test_a_user_may_make_so_many_claims_of_all_kinds_together_and_no_more(daemons):
    options = (*GROUPS, "--max-user-claims", "3")
    daemon = daemons().start(*options)
    ipam = daemon.ipam()
    ipam.ApplyPool(pool("p", "10.0.0.0/24", reuse_delay_seconds=3600))
    fresh = [allocation("x", f"Fresh{n}") for n in range(5)]
    reasons, messages = calls_as(daemon, ALICE, [ALLOCATE], *fresh[:4], releasing("x", "Fresh0"), fresh[4], fresh[0])
    assert reasons == ["OK"] * 3 + ["LIMIT_EXCEEDED", "OK", "LIMIT_EXCEEDED", "OK"], "what cools counts, and may come back"
    assert f"the user with uid {ALICE} has made 3 claims" in messages[3] and "--max-user-claims" in messages[3]
    assert calls_as(daemon, BOB, [ALLOCATE], fresh[4])[0] == ["OK"]
    for n in range(5):
        ipam.Allocate(allocate(f"root-{n}", "p"))
    daemon.kill9()
    ipam = daemon.start(*options).ipam()
    assert calls_as(daemon, ALICE, [ALLOCATE], fresh[3], fresh[1])[0] == ["LIMIT_EXCEEDED", "OK"], "users are kept"
    made_by = {claim.owner.name: claim.user for claim in ipam.ListClaims(pb.ListClaimsRequest()).claims}
    assert (made_by["x"], made_by["root-1"]) in [(ALICE, 0), (BOB, 0)]
    claim, = ipam.GetClaims(pb.GetClaimsRequest(owner=pb.Owner(kind="ProxyVIP", name="root-0"))).claims
    assert claim.WhichOneof("made_by") == "user" and claim.user == 0
