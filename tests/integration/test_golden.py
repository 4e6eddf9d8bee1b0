"""What ipamc prints, every command in every format, against golden files (tests/data/golden), on a state that is made of the
reference page's manifests. Times, ages, hashes, uids and counters of calls are made alike first.

UPDATE_GOLDEN=1 writes the files anew instead: look at the difference before you commit it.
"""
import json
import os
import re

import pytest
import yaml
from google.protobuf import json_format

from harness.daemon import Daemon
from harness.paths import REFERENCE, ROOT
from harness.protos import ipam as pb

GOLDEN = ROOT / "tests/data/golden"
UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"
CONFLICT = 5

ALL = ("table", "wide", "json", "yaml", "name")
PROGRAMS = ("json", "yaml")
PEOPLE = ("table",)

# Name of the golden file, arguments, formats.
COMMANDS = [
    ("get-pools", "get pools", ALL),
    ("get-pool", "get pool main-vip-pool", ALL),
    ("get-vips", "get vips", ALL),
    ("get-claims", "get claims", ALL),
    ("get-claims-cooling", "get claims --state cooling", ALL),
    ("get-changes", "get changes", ALL),
    ("events", "events --after 2 --limit 3", ALL),
    ("get-changes-of-pool", "get changes --pool external-vip-pool --after 2 --limit 1", ALL),
    ("describe-pool", "describe pool main-vip-pool", ALL),
    ("describe-vip", "describe vip specific-vip", ALL),
    ("history-address", "history --address 2001:db8::", ALL),
    ("history-owner", "history --owner auto-vip", ALL),
    ("history-at", "history --address 10.200.0.50 --at now", ALL),
    ("history-nobody", "history --address 10.200.0.99", ALL),
    ("audit-head", "audit head", ALL),
    ("audit-verify", "audit verify", ALL),
    ("map-main", "map main-vip-pool", ALL),
    ("map-external", "map external-vip-pool", ALL),
    ("map-ipv6", "map ipv6-pool", ALL),
    ("explain-vip", "explain vip auto-vip", ALL),
    ("explain-vip-waiting", "explain vip late-vip", ALL),
    ("explain-allocate", "explain allocate main-vip-pool web", ALL),
    ("explain-allocate-in-use", "explain allocate main-vip-pool web --address 10.200.0.50", ALL),
    ("explain-allocate-off", "explain allocate external-vip-pool web", ALL),
    ("explain-allocate-dual", "explain allocate ipv6-pool web --family dual", ALL),
    ("explain-allocate-manual", "explain allocate - web --address 192.0.2.1", ALL),
    ("allocate", "allocate main-vip-pool web --dry-run", ALL),
    ("allocate-refused", "allocate main-vip-pool web --dry-run --address 10.200.0.50", ALL),
    ("release", "release ProxyVIP/auto-vip --dry-run", ALL),
    ("apply", f"apply --dry-run -f {REFERENCE}/auto-vip.yaml -f {REFERENCE}/mixed-pool.yaml", ALL),
    ("delete-pool", "delete pool main-vip-pool --dry-run", ALL),
    ("delete-vip", "delete vip auto-vip --dry-run", ALL),
    ("delete-file", f"delete --dry-run -f {REFERENCE}/specific-vip.yaml", ALL),
    ("call", "call GetClaims {\"owner\":{\"kind\":\"ProxyVIP\",\"name\":\"auto-vip\"}}", ALL),
    ("call-list", "call --list", ALL),
    ("status", "status", ALL),
    ("version", "version", ALL),
    ("help", "--help", PEOPLE),
    *[(f"help-{verb}", f"{verb} --help", PEOPLE) for verb in (
        "apply", "delete", "get", "describe", "events", "explain", "history", "audit", "map", "allocate", "release", "call", "status",
        "version", "help")],
    ("error-usage", "get pols", ("table", "json")),
    ("error-not-found", "get pool gone", ("table", "json")),
]

# What a command's JSON is, if it is one message.
MESSAGES = {"get-pools": pb.ListPoolsReply, "get-pool": pb.Pool, "get-vips": pb.ListClaimsReply, "get-claims": pb.ListClaimsReply,
            "get-claims-cooling": pb.ListClaimsReply, "get-changes": pb.ListChangesReply, "get-changes-of-pool": pb.ListChangesReply,
            "describe-pool": pb.Pool, "describe-vip": pb.GetClaimsReply, "allocate": pb.AllocateReply,
            "release": pb.ReleaseReply, "call": pb.GetClaimsReply, "status": pb.GetStatusReply}

# How a map looks where it is shown: file, environment, options.
TERMINALS = [
    ("40-columns", {"COLUMNS": "40"}, ()),
    ("120-columns", {"COLUMNS": "120"}, ()),
    ("ascii", {"LC_ALL": "C"}, ()),
    ("color", {}, ("--color", "always")),
]
PLAIN = {"LC_ALL": "C.UTF-8", "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}


# ---- Fixture


def make_state(daemon):
    """Pools and VIPs of the reference page, and beside them one claim of each state, and a history."""
    for name in ("main-vip-pool", "external-vip-pool", "ipv6-pool", "auto-vip", "specific-vip"):
        daemon.ipamc("apply", "-f", REFERENCE / f"{name}.yaml", check=True)
    assert daemon.ipamc("apply", "-f", REFERENCE / "mixed-pool.yaml").returncode == CONFLICT
    daemon.ipamc("allocate", "ipv6-pool", "probe", check=True)
    daemon.ipamc("release", "probe", check=True)
    daemon.ipamc("allocate", "ipv6-pool", "Node/n1", "--uid", "u-1", check=True)
    daemon.ipamc("allocate", "-", "gateway", "--address", "203.0.113.11", check=True)
    ipv6 = json.loads(daemon.ipamc("get", "pool", "ipv6-pool", "-o", "json", check=True).stdout)["spec"]
    daemon.ipamc("call", "ApplyPool", json.dumps({"pool": {**ipv6, "reuseDelaySeconds": 86400}}), check=True)
    daemon.ipamc("allocate", "ipv6-pool", "gone", "--address", "2001:db8::7", check=True)
    daemon.ipamc("release", "gone", check=True)
    daemon.ipamc("allocate", "external-vip-pool", "ProxyVIP/late-vip", "--enqueue", check=True)


@pytest.fixture(scope="module")
def state():
    daemon = Daemon().start()
    make_state(daemon)
    yield daemon
    wrong = daemon.close()
    daemon.remove()
    assert not wrong


# ---- Helpers


def same_width(text):
    """An age of a few seconds; what follows in the table stays where it is."""
    return lambda match: text.ljust(len(match[0]))


def alike(name, text):
    """What differs from run to run."""
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "2024-01-15T10:30:00Z", text)
    text = re.sub(r"\(\d+s ago\)", "(0s ago)", text)
    text = re.sub(r"(?<=\s)\d{1,2}s(?=\s)", same_width("0s"), text)
    text = re.sub(r"hash: \"?[0-9a-f]{64}\"?", f"hash: {'a' * 64}", text)  # YAML quotes what looks like a number
    text = re.sub(r"\b[0-9a-f]{64}\b", "a" * 64, text)
    text = re.sub(r"hash: \"?[A-Za-z0-9+/]{43}=\"?", f"hash: {'A' * 43}=", text)
    text = re.sub(r"[A-Za-z0-9+/]{43}=", "A" * 43 + "=", text)
    text = re.sub(r"\bbootId: \"?[A-Za-z0-9+/]{22}==\"?", f"bootId: {'A' * 22}==", text)
    text = re.sub(r"[A-Za-z0-9+/]{22}==", "A" * 22 + "==", text)
    text = re.sub(r"(\"?bootTimeNs\"?: )\"\d+\"", r'\g<1>"0"', text)
    text = re.sub(r"\(uid \d+\)", "(uid 0)", text)
    text = re.sub(r"(\"?uid\"?: )\d+\b", r"\g<1>0", text)
    text = text.replace(str(REFERENCE), "REFERENCE")
    if name in ("status", "version"):
        text = re.sub(r"\d+\.\d+\.\d+\S*?(?=[\"\s])", "VERSION", text)
    if name == "status":
        text = re.sub(r"(?<=[ \"])\d+(?=[\"\n])", "0", text)
    return re.sub(r" +$", "", text, flags=re.M)


def shown(name, arguments, done):
    text = f"$ ipamc {' '.join(map(str, arguments))}\n{done.stdout}"
    if done.stderr:
        text += f"[stderr]\n{done.stderr}"
    return alike(name, text if done.returncode == 0 else f"{text}[exit {done.returncode}]\n")


def compare(name, file, text):
    path = GOLDEN / file
    if UPDATE:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    expected = path.read_text()
    if os.geteuid() != 0:  # columns are as wide as their widest cell, such as that of another uid
        text, expected = (re.sub(r"  +", "  ", each) for each in (text, expected))
    assert text == expected, f"{file} is another one; UPDATE_GOLDEN=1 writes it anew"


def run(state, arguments, form=None, env=None):
    return state.ipamc(*arguments, *(["-o", form] if form and form != "table" else []), env={**PLAIN, **(env or {})})


# ---- Tests


@pytest.mark.parametrize("name, command, form", [
    pytest.param(name, command, form, id=f"{name}.{form}") for name, command, formats in COMMANDS for form in formats])
def test_output_is_as_in_the_golden_file(state, name, command, form):
    done = run(state, command.split(), form)
    compare(name, f"{name}.{form}", shown(name, command.split() + (["-o", form] if form != "table" else []), done))


@pytest.mark.parametrize("pool_name", ["main-vip-pool", "external-vip-pool", "ipv6-pool"])
@pytest.mark.parametrize("place, env, options", TERMINALS, ids=[row[0] for row in TERMINALS])
def test_map_is_drawn_for_where_it_is_shown(state, pool_name, place, env, options):
    arguments = ("map", pool_name, *options)
    compare("map", f"map-{pool_name}.{place}", shown("map", arguments, run(state, arguments, env=env)))


@pytest.mark.parametrize("name, command", [
    pytest.param(name, command, id=name) for name, command, formats in COMMANDS
    if set(PROGRAMS) <= set(formats) and name != "events"])  # which are several: test_ipamc_watch.py
def test_json_and_yaml_read_back_to_the_same_thing(state, name, command):
    """YAML says what JSON says, and where that is a message, Python's protobuf reads it and writes the same."""
    texts = {form: run(state, command.split(), form).stdout for form in PROGRAMS}
    if not texts["json"]:
        assert not texts["yaml"]
        return
    assert yaml.safe_load(alike(name, texts["yaml"])) == json.loads(alike(name, texts["json"]))  # two calls, two times
    if name in MESSAGES:
        value = json.loads(texts["json"])
        again = json_format.MessageToDict(json_format.ParseDict(value, MESSAGES[name]()), including_default_value_fields=True)
        assert {key: again[key] for key in value} == value


def test_every_command_has_a_golden_file(state):
    """A command that is added to the table and not here is missed."""
    verbs = re.findall(r"^  (\w+) ?(pool|vip|claim|change|verify|allocate)?\b", run(state, ["--help"]).stdout, re.M)
    assert len(verbs) > 15
    tested = {tuple(command.split()[:2]) for _, command, _ in COMMANDS}
    for verb, noun in verbs:
        assert any(words[0] == verb and (not noun or words[1:] and words[1].rstrip("s") == noun) for words in tested), (verb, noun)


def test_golden_files_all_belong_to_a_command():
    known = {f"{name}.{form}" for name, _, formats in COMMANDS for form in formats}
    known |= {f"map-{pool}.{row[0]}" for pool in ("main-vip-pool", "external-vip-pool", "ipv6-pool") for row in TERMINALS}
    assert {path.name for path in GOLDEN.iterdir()} == known
