#!/usr/bin/python3
"""Measures the engine alone, calls over the socket beside their yardsticks, the start with a million
claims, and allocations beside a thousand subscribers and beside peers that mean harm.

./test bench runs it with IPAMD_BUILD set to a release build. It prints tables and writes all figures as JSON to
$BENCH_JSON, else to build/bench.json. docs/benchmarks.md says what each figure means. Exit status 0 says that everything
was measured, not that every aim was met: figures depend on the machine, and the table says which aims they miss.
"""
import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import report
import servers
from report import aim, say, table

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/hostile"))
from attacks import ATTACKS, ROLELESS  # noqa: E402

BUILD = Path(os.environ.get("IPAMD_BUILD", ROOT / "build/release")).resolve()
OUTPUT = Path(os.environ.get("BENCH_JSON", ROOT / "build/bench.json"))
# On the file system of the build, so that it is a disk and not the memory that a /tmp may be.
STATE = BUILD / "bench-state"

SCENARIOS = ((1, 1), (8, 1), (8, 32), (64, 10))
CLAIMS_AT_START = 1_000_000


def program(name, *arguments):
    """Runs one of our programs; its JSON lines as a list."""
    done = subprocess.run([BUILD / "bench" / name, *map(str, arguments)], stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise servers.ServerFailed(f"{name} ended with status {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


# ---- The engine alone ---------------------------------------------------------------------------------------------

CALLS = ("allocate_ns", "release_ns")
OLD_CALLS = ("old_allocate_ns", "old_release_ns")


def bench_engine(rounds):
    lines = program("bench_engine", rounds)
    calls = [line for line in lines if line["what"] == "calls"]
    memory = [line["bytes_per_claim"] for line in lines if line["what"] == "memory"]
    for line in lines:
        if line["what"] == "skipped":
            say(f"engine: pool {line['pool']} left out, too little memory")
    table("Engine alone, ns a call (median)",
          ["pool", "claims elsewhere", "fill %", "allocate", "release", "allocate, old owner", "release, old claim"],
          [[c["pool"], c["elsewhere"], f"{c['fill'] * 100:g}"]
           + [f"{c[key]:.0f}" if c[key] else "-" for key in CALLS + OLD_CALLS] for c in calls])
    say(f"  memory: {statistics.median(memory):.0f} bytes a claim" if memory else "")
    aims = []
    for key in CALLS:
        name = key.removesuffix("_ns")
        values = [c[key] for c in calls]
        aims.append(aim(f"engine: {name}, ns, the slowest of all pools and fills", max(values), 300))
        aims.append(aim(f"engine: {name}, slowest / fastest", max(values) / min(values), 2))
    return {"calls": calls, "bytes_per_claim": statistics.median(memory) if memory else None}, aims


# ---- The disk -----------------------------------------------------------------------------------------------------

def fdatasync_us(append, count=500):
    """Median microseconds to write one page and have it on disk: behind the end of the file, or over an old page."""
    page = os.urandom(4096)
    times = []
    path = STATE / "page"
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC, 0o600)
    try:
        os.pwrite(fd, page * 64, 0)
        os.fsync(fd)
        for i in range(count):
            begin = time.perf_counter_ns()
            os.pwrite(fd, page, 4096 * (64 + i if append else i % 64))
            os.fdatasync(fd)
            times.append((time.perf_counter_ns() - begin) / 1000)
    finally:
        os.close(fd)
        path.unlink()
    return statistics.median(times)


# ---- Over the socket ----------------------------------------------------------------------------------------------

def load(call, path, scenario, chosen):
    return program("bench_load", call, path, *scenario, chosen.warm_up, chosen.seconds)[0]


def one_round(scenario, chosen):
    """All yardsticks, one right after the other, each server with an empty state directory."""
    with servers.scratch(STATE) as folder:
        found = {"append_us": fdatasync_us(append=True), "overwrite_us": fdatasync_us(append=False)}
        with servers.ipamd(BUILD, folder / "ipamd") as (_, path, _):
            found["health"] = load("health", path, scenario, chosen)
            found["allocate"] = load("allocate", path, scenario, chosen)
        with servers.etcd(folder / "etcd") as path:
            found["put"] = load("put", path, scenario, chosen)
    return found


def median_of(rounds, value):
    return statistics.median(value(found) for found in rounds)


def rate(call):
    return lambda found: found[call]["calls_per_second"]


def disk_us(found):
    return min(found["append_us"], found["overwrite_us"])


# Ratios are made within a round and their median is taken, so that what slows the machine for a while slows both sides.
RATIOS = {
    "allocate_to_put": lambda found: rate("allocate")(found) / rate("put")(found),
    "allocate_to_health": lambda found: rate("allocate")(found) / rate("health")(found),
    "latency_to_disk_and_echo": lambda found: found["allocate"]["p50_us"] / (disk_us(found) + found["health"]["p50_us"]),
}


def summary(scenario, rounds):
    calls = {call: {key: median_of(rounds, lambda found, c=call, k=key: found[c][k])
                    for key in ("calls_per_second", "p50_us", "p99_us")} for call in ("allocate", "health", "put")}
    return {"connections": scenario[0], "in_flight": scenario[1], **calls,
            "fdatasync_append_us": median_of(rounds, lambda found: found["append_us"]),
            "fdatasync_overwrite_us": median_of(rounds, lambda found: found["overwrite_us"]),
            "ratios": {name: median_of(rounds, ratio) for name, ratio in RATIOS.items()}, "rounds": rounds}


def load_table(found):
    table("Over the socket (medians), durable Allocate beside Health/Check and etcd's durable Put",
          ["connections x in flight", "allocate/s", "p50 us", "p99 us", "health/s", "p50 us", "p99 us", "etcd put/s",
           "p50 us", "p99 us", "allocate/etcd", "allocate/health"],
          [[f"{s['connections']} x {s['in_flight']}"]
           + [f"{s[call][key]:,.0f}" for call in ("allocate", "health", "put")
              for key in ("calls_per_second", "p50_us", "p99_us")]
           + [f"{s['ratios'][name]:.2f}" for name in ("allocate_to_put", "allocate_to_health")] for s in found])
    say("  fdatasync of one page, us (median): " + ", ".join(
        f"{name} {statistics.median(s[f'fdatasync_{name}_us'] for s in found):.0f}" for name in ("append", "overwrite")))


def bench_load(chosen):
    rounds = {scenario: [] for scenario in SCENARIOS}
    for i in range(chosen.rounds):
        for scenario in SCENARIOS:
            found = one_round(scenario, chosen)
            rounds[scenario].append(found)
            say(f"  round {i + 1}, {scenario[0]} x {scenario[1]}: allocate {rate('allocate')(found):,.0f}/s, "
                f"health {rate('health')(found):,.0f}/s, etcd put {rate('put')(found):,.0f}/s")
    found = [summary(scenario, rounds[scenario]) for scenario in SCENARIOS]
    load_table(found)
    single, busy = found[0]["ratios"], found[SCENARIOS.index((8, 32))]["ratios"]
    return found, [
        aim("8 x 32: allocate / etcd put", busy["allocate_to_put"], 4, at_least=True),
        aim("8 x 32: allocate / health", busy["allocate_to_health"], 0.3, at_least=True),
        aim("1 x 1: allocate p50 / (fdatasync + health p50)", single["latency_to_disk_and_echo"], 2)]


# ---- Start --------------------------------------------------------------------------------------------------------

def bench_start(rounds):
    times, peaks, after = [], [], []
    with servers.scratch(STATE) as folder:
        filled = program("bench_fill", folder / "state", CLAIMS_AT_START, 512)[0]
        size = sum(path.stat().st_size for path in (folder / "state").iterdir()) / 1e6
        for i in range(rounds):
            with servers.ipamd(BUILD, folder / f"run{i}", folder / "state") as (process, _, seconds):
                times.append(seconds)
                peaks.append(servers.memory_of(process.pid, "VmHWM"))
                after.append(servers.memory_of(process.pid, "VmRSS"))
    found = {"claims": CLAIMS_AT_START, "seconds": statistics.median(times), "peak_mb": statistics.median(peaks),
             "rss_mb": statistics.median(after), "database_mb": size,
             "store_claims_per_second": filled["claims_per_second"]}
    table(f"Start with {CLAIMS_AT_START:,} claims (medians)",
          ["seconds to READY=1", "peak MB", "MB once ready", "database MB", "store alone, claims/s"],
          [[f"{found['seconds']:.2f}"]
           + [f"{found[key]:,.0f}" for key in ("peak_mb", "rss_mb", "database_mb", "store_claims_per_second")]])
    return found, [aim("start: seconds to READY=1", found["seconds"], 1.5),
                   aim("start: peak MB", found["peak_mb"], 300)]


# ---- The bus ------------------------------------------------------------------------------------------------------

FOLLOWERS = 1000
FOLLOWERS_A_PROCESS = 500  # nanomsg has 512 sockets a process
BURST_SECONDS = 0.05


@contextlib.contextmanager
def crowd(path, count):
    """`count` subscribers that have all delivered what there is; yields their processes."""
    processes = []
    try:
        for first in range(0, count, FOLLOWERS_A_PROCESS):
            size = min(FOLLOWERS_A_PROCESS, count - first)
            processes.append(subprocess.Popen([BUILD / "bench/bench_follow", path, path.parent / "events.sock", str(size)],
                                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        for process in processes:
            if not process.stdout.readline().startswith("ready"):
                raise servers.ServerFailed("bench_follow did not get ready")
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def revision_of(path):
    done = subprocess.run([BUILD / "client/ipamc/ipamc", "call", "GetStatus", "{}"], env={"IPAMD_SOCKET": str(path)},
                          stdout=subprocess.PIPE, check=True)
    return int(json.loads(done.stdout)["durableRevision"])


def allocate_beside(followers, chosen):
    with servers.scratch(STATE) as folder, servers.ipamd(BUILD, folder / "ipamd") as (_, path, _), crowd(path, followers):
        return load("allocate", path, (8, 32), chosen)


def catch_up():
    """A short burst of changes; seconds until every follower has delivered all of them."""
    with servers.scratch(STATE) as folder, servers.ipamd(BUILD, folder / "ipamd") as (_, path, _), \
            crowd(path, FOLLOWERS) as processes:
        program("bench_load", "allocate", path, 8, 32, 0, BURST_SECONDS)
        begin, revision = time.monotonic(), revision_of(path)
        for process in processes:
            process.stdin.write(f"{revision}\n")
            process.stdin.flush()
        for process in processes:
            if not process.stdout.readline().startswith("delivered"):
                raise servers.ServerFailed("bench_follow ended early")
        return {"changes": revision, "seconds": time.monotonic() - begin}


def bench_bus(chosen):
    """Pairs within a round, in turns which comes first."""
    pairs = []
    for i in range(chosen.rounds):
        order = (0, FOLLOWERS) if i % 2 == 0 else (FOLLOWERS, 0)
        found = {followers: allocate_beside(followers, chosen) for followers in order}
        alone, beside = found[0], found[FOLLOWERS]
        pairs.append({"alone": alone, "beside": beside, "ratio": beside["calls_per_second"] / alone["calls_per_second"]})
        say(f"  round {i + 1}: alone {alone['calls_per_second']:,.0f}/s, beside {FOLLOWERS:,} subscribers "
            f"{beside['calls_per_second']:,.0f}/s, ratio {pairs[-1]['ratio']:.3f}")
    late = catch_up()
    ratio = median_of(pairs, lambda pair: pair["ratio"])
    table(f"Allocate, 8 x 32, beside {FOLLOWERS:,} subscribers (medians)",
          ["", "allocate/s", "p50 us", "p99 us"],
          [[name] + [f"{median_of(pairs, lambda pair, n=name, k=key: pair[n][k]):,.0f}"
                     for key in ("calls_per_second", "p50_us", "p99_us")] for name in ("alone", "beside")])
    say(f"  ratio {ratio:.3f}; {FOLLOWERS:,} subscribers have {late['changes']:,} changes each "
        f"{late['seconds']:.1f} s after a burst of them")
    return {"pairs": pairs, "ratio": ratio, "catch_up": late}, [
        aim(f"bus: allocate beside {FOLLOWERS:,} subscribers / alone", ratio, 0.9, at_least=True)]


# ---- Hostile peers ------------------------------------------------------------------------------------------------

HOSTILE_ROUNDS = 3
HOSTILE_WARM_UP = 1  # in which the attack gets going
HOSTILE_AIM = 5


def patiently(path, chosen, attack):
    """One client with one call at a time; `attack`, if any, begins when the client has its connection, and outlasts it."""
    client = subprocess.Popen(list(map(str, (BUILD / "bench/bench_load", "allocate", path, 1, 1, HOSTILE_WARM_UP, chosen.seconds))),
                              stdout=subprocess.PIPE, text=True)
    attacker = None
    try:
        while revision_of(path) < 10 and client.poll() is None:
            time.sleep(0.01)
        if attack:
            attacker = subprocess.Popen([sys.executable, ROOT / "tests/hostile/attacks.py", attack, path,
                                         str(HOSTILE_WARM_UP + chosen.seconds + 1)], stdout=subprocess.PIPE, text=True)
        found = client.communicate()[0]
        if client.returncode != 0:
            raise servers.ServerFailed(f"beside {attack or 'nobody'} the client ended with status {client.returncode}")
        found = json.loads(found)
        if found["calls"] == 0:  # none was answered in all the time
            found["p50_us"] = found["p99_us"] = chosen.seconds * 1e6
        return found, json.loads(attacker.communicate(timeout=120)[0]) if attacker else None
    finally:
        for process in (client, attacker):
            if process and process.poll() is None:
                process.kill()
                process.wait()


# Those of ROLELESS are let in and have no role; whom the bench itself is, has.
ROLES = ("--read-group", "61299", "--socket-mode", "0666")


def besiege(attack, chosen):
    options = ROLES if attack in ROLELESS else ()
    with servers.scratch(STATE) as folder:
        with servers.ipamd(BUILD, folder / "alone", options=options) as (_, path, _):
            alone, _ = patiently(path, chosen, None)
        with servers.ipamd(BUILD, folder / "beside", options=options) as (process, path, _):
            beside, attacker = patiently(path, chosen, attack)
            peak = servers.memory_of(process.pid, "VmHWM")
    return {"alone": alone, "beside": beside, "ratio": beside["p99_us"] / alone["p99_us"], "attacker": attacker,
            "peak_mb": peak}


def hostile_row(attack, rounds):
    return {"attack": attack, "ratio": median_of(rounds, lambda found: found["ratio"]),
            "peak_mb": max(found["peak_mb"] for found in rounds), "rounds": rounds,
            **{side: {key: median_of(rounds, lambda found, s=side, k=key: found[s][k]) for key in ("p50_us", "p99_us")}
               for side in ("alone", "beside")}}


def bench_hostile(chosen):
    rows = []
    for attack in ATTACKS:
        rows.append(hostile_row(attack, [besiege(attack, chosen) for _ in range(min(chosen.rounds, HOSTILE_ROUNDS))]))
        say(f"  {attack}: p99 {rows[-1]['alone']['p99_us']:,.0f} us, {rows[-1]['beside']['p99_us']:,.0f} us beside it")
    table("A client's Allocate, 1 x 1, alone and beside an attack (medians; memory: the most)",
          ["attack", "p50 us", "p99 us", "p50 us beside", "p99 us beside", "p99 ratio", "peak MB"],
          [[row["attack"]] + [f"{row[side][key]:,.0f}" for side in ("alone", "beside") for key in ("p50_us", "p99_us")]
           + [f"{row['ratio']:.1f}", f"{row['peak_mb']:.0f}"] for row in rows])
    return rows, [aim(f"hostile: {row['attack']}: p99 / alone", row["ratio"], HOSTILE_AIM) for row in rows]


# ---- All of it ----------------------------------------------------------------------------------------------------

PARTS = {
    "engine": lambda chosen: bench_engine(chosen.rounds),
    "load": bench_load,
    "start": lambda chosen: bench_start(chosen.rounds),
    "bus": bench_bus,
    "hostile": bench_hostile,
}


def options():
    parser = argparse.ArgumentParser(prog="tests/bench/run.py", description="Measures; see docs/benchmarks.md.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each measurement (default: 5)")
    parser.add_argument("--seconds", type=float, default=2, help="of each load (default: 2)")
    parser.add_argument("--warm-up", type=float, default=0.5, help="seconds of load before each (default: 0.5)")
    chosen = parser.parse_args()
    unknown = set(chosen.parts) - set(PARTS)
    if unknown or chosen.rounds < 1:
        parser.error(f"no part is named {', '.join(sorted(unknown))}" if unknown else "--rounds must be 1 or more")
    return chosen


def main():
    chosen = options()
    subprocess.run(["bash", ROOT / ".ci/install", "bench"], check=True)
    results = {"cores": os.cpu_count(), "kernel": platform.release().split("-")[0], "rounds": chosen.rounds}
    aims = []
    for name, measure in PARTS.items():
        if not chosen.parts or name in chosen.parts:
            say(f"measuring: {name}")
            results[name], found = measure(chosen)
            aims += found
    report.finish(results, aims, OUTPUT)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except servers.ServerFailed as error:
        sys.exit(f"bench: {error}")
