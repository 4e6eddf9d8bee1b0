#!/usr/bin/python3
"""Builds what the named test suites need, runs them and counts.

./test calls this after it has installed what is missing; SUITES below is the list of what there is. C tests speak TAP
(cmocka), Python tests give JUnit XML (pytest); both become one count, and whatever dies or hangs counts as failed.
"""
import argparse
import concurrent.futures
import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = "/usr/bin/python3"
CORES = os.cpu_count() or 1

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:exitcode=99",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=0:exitcode=99:second_deadlock_stack=1",
}


class BuildFailed(Exception):
    pass


@dataclasses.dataclass
class Counts:
    passed: int = 0
    failures: list = dataclasses.field(default_factory=list)  # (test, text)
    skips: list = dataclasses.field(default_factory=list)  # (test, reason)

    def add(self, other):
        self.passed += other.passed
        self.failures += other.failures
        self.skips += other.skips

    def __str__(self):
        skipped = f", {len(self.skips)} skipped" if self.skips else ""
        return f"{self.passed} passed, {len(self.failures)} failed{skipped}"


def say(text):
    print(text, flush=True)


running = set()  # process groups, for Ctrl-C


def run(command, timeout, env=None, cwd=ROOT):
    """Runs a command with all that it starts in one process group, so that a hang ends. Returns (status, output)."""
    process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    running.add(process.pid)
    try:
        output, _ = process.communicate(timeout=timeout)
        status = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        status = None
    finally:
        running.discard(process.pid)
    return status, output.decode(errors="replace")


# ---- Builds -------------------------------------------------------------------------------------------------------

built = {}


def build(preset):
    """Configures and builds a preset once per run; incremental between runs."""
    if preset not in built:
        say(f"   building build/{preset} (warnings are errors)")
        begin = time.monotonic()
        built[preset] = ""
        for command in (["cmake", "--preset", preset], ["cmake", "--build", "--preset", preset]):
            status, output = run(command, timeout=1800)
            if status != 0:
                built[preset] = f"{' '.join(command)}: exit status {status}\n{output}"
                break
        say(f"   {'failed' if built[preset] else 'built'} in {time.monotonic() - begin:.0f} s")
    if built[preset]:
        raise BuildFailed(built[preset])
    return ROOT / "build" / preset


def run_shown(command, timeout):
    """Like run(), for what takes long and tells how far it is: what it says on stderr is shown as it comes. Returns (status,
    the last line of that)."""
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               text=True, errors="replace", start_new_session=True)
    running.add(process.pid)
    last = ""
    late = threading.Timer(timeout, os.killpg, (process.pid, signal.SIGKILL))
    late.start()
    try:
        for line in process.stderr:
            last = line.strip()
            say(f"   {last}")
        status = process.wait()
        return (None if status == -signal.SIGKILL else status), last
    finally:
        late.cancel()
        running.discard(process.pid)


def api_server():
    """Debian's kube-apiserver: built once, it stays in a cache folder."""
    for command in (["bash", ".ci/install", "e2e", "kubectl"], ["tests/e2e/build-apiserver"]):
        status, _ = run_shown(command, timeout=2400)
        if status != 0:
            raise BuildFailed(f"{' '.join(command)}: {'timed out' if status is None else f'exit status {status}'}, see above")


CANNOT_BUILD = 3  # exit status of tests/e2e/build-current


def current_servers():
    """Kubernetes and etcd of a current release, built once as well. Returns why this machine can't have them, or ""."""
    status, last_line = run_shown(["tests/e2e/build-current"], timeout=3600)
    if status not in (0, CANNOT_BUILD):
        raise BuildFailed(f"tests/e2e/build-current: {'timed out' if status is None else f'exit status {status}'}, see above")
    return last_line if status == CANNOT_BUILD else ""


# ---- C tests ------------------------------------------------------------------------------------------------------

TAP_RESULT = re.compile(r"^(not )?ok \d+ (?:- )?(# SKIP )?(.*)$")


def read_tap(program, status, output):
    """Counts one program's tests. What the plan promised and the output lacks has failed."""
    counts = Counts()
    plan = 0
    notes = []
    for line in output.splitlines():
        result = TAP_RESULT.match(line)
        if re.match(r"^1\.\.\d+$", line):
            plan += int(line[3:])
        elif not result:
            notes.append(line)
        elif result[2]:
            counts.skips.append((f"{program}: {result[3]}", " ".join(notes) or "skipped by the test itself"))
            notes = []
        elif result[1]:
            counts.failures.append([f"{program}: {result[3]}", ""])
            notes = []
        else:
            counts.passed += 1
            notes = []
    seen = counts.passed + len(counts.failures) + len(counts.skips)
    ended = "timed out" if status is None else f"ended with status {status}"
    for failure in counts.failures:
        failure[1] = output
    if seen < plan or plan == 0 or (status != 0 and not counts.failures):
        counts.failures.append((f"{program}: {ended} after {seen} of {plan} tests", output))
    return counts


@dataclasses.dataclass
class CTests:
    """The cmocka programs of a build whose name matches."""
    preset: str
    pattern: str
    env: dict = dataclasses.field(default_factory=dict)
    timeout: int = 900

    def run(self):
        folder = build(self.preset)
        status, output = run(["ctest", "--test-dir", str(folder), "--show-only=json-v1"], timeout=60)
        tests = {test["name"]: test["command"] for test in json.loads(output)["tests"]} if status == 0 else {}
        tests = {name: command for name, command in tests.items() if re.search(self.pattern, name)}
        counts = Counts()
        if not tests:
            counts.failures.append((f"C tests {self.pattern}", f"build/{self.preset} has none\n{output}"))
        with concurrent.futures.ThreadPoolExecutor(CORES) as pool:
            for found in pool.map(lambda test: self.run_one(folder, *test), tests.items()):
                counts.add(found)
        return counts

    def run_one(self, folder, name, command):
        begin = time.monotonic()
        env = {**SANITIZER_ENV, **self.env, "CMOCKA_MESSAGE_OUTPUT": "TAP"}
        status, output = run(command, self.timeout, env, cwd=folder)
        counts = read_tap(name, status, output)
        say(f"   {name:32} {str(counts):36} {time.monotonic() - begin:6.1f} s")
        for note in re.findall(r"^.*\bseeds? .*\d.*$", output, re.M):
            say(f"      {note}")
        return counts


# ---- Python tests -------------------------------------------------------------------------------------------------

def read_junit(path):
    counts = Counts()
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname', '').split('.')[-1]}: {case.get('name')}"
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        skipped = case.find("skipped")
        if bad is not None:
            extra = "".join(child.text or "" for child in case if child.tag.startswith("system-"))
            counts.failures.append((name, f"{bad.text or bad.get('message')}\n{extra}"))
        elif skipped is not None:
            counts.skips.append((name, skipped.get("message") or ""))
        else:
            counts.passed += 1
    return counts


@dataclasses.dataclass
class PyTests:
    """pytest over folders, against the programs of a build."""
    preset: str
    arguments: list
    env: dict = dataclasses.field(default_factory=dict)
    timeout: int = 1200
    needs: tuple = ()  # functions that raise BuildFailed
    workers: int = 1  # at once; where tests wait more than they compute, more than there are cores

    def run(self):
        for make in self.needs:
            make()
        folder = build(self.preset)
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            junit = Path(scratch) / "junit.xml"
            env = {**SANITIZER_ENV, **self.env, "IPAMD_BUILD": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
            command = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=5", f"--junitxml={junit}",
                       "-o", "junit_logging=all", *(["-n", str(self.workers)] if self.workers > 1 else []), *self.arguments]
            status, output = run(command, self.timeout, env)
            counts = read_junit(junit) if junit.exists() else Counts()
            notes = re.findall(r"^crash: .*$", junit.read_text(), re.M) if junit.exists() else []
        if status not in (0, 1) or (status == 1 and not counts.failures):
            ended = "timed out" if status is None else f"exit status {status}"
            counts.failures.append((f"pytest {' '.join(self.arguments)}: {ended}", output))
        say(f"   {'pytest ' + ' '.join(self.arguments):32.70} {str(counts):36} {time.monotonic() - begin:6.1f} s")
        for note in notes:
            say(f"   {note}")
        return counts


@dataclasses.dataclass
class E2eTests:
    """tests/e2e on a current API server and those marked `core` on Debian's too; all on Debian's where no other can be had."""
    preset: str
    workers: int

    def run(self):
        api_server()
        reason = current_servers()
        if reason:
            counts = self.on("debian")
            counts.skips.append(("e2e on a current API server", f"{reason}; all ran on Debian's"))
            return counts
        counts = self.on("current")
        counts.add(self.on("debian", "-m", "core"))
        return counts

    def on(self, release, *arguments):
        say(f"   on the {'current' if release == 'current' else 'old'} API server")
        return PyTests(self.preset, ["tests/e2e", *arguments], {"IPAMD_KUBE": release}, timeout=3000, workers=self.workers).run()


# ---- Checks of the sources ----------------------------------------------------------------------------------------

def tracked(*patterns):
    """Files of the project, those not yet committed included."""
    _, output = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns], timeout=60)
    return sorted(name for name in set(output.split("\n")) if name and (ROOT / name).exists())


def sources_are_formatted():
    status, output = run(["clang-format", "--dry-run", "-Werror", *tracked("*.c", "*.h")], timeout=300)
    return output if status != 0 else ""


def errors_page_is_up_to_date():
    status, output = run([PYTHON, "docs/errors.py", "--check"], timeout=60)
    return output if status != 0 else ""


GROUP = "(build|test|node|bench|e2e|kubectl|apiserver)"


def packages_are_listed_once_with_known_groups():
    seen, wrong = set(), []
    for line in (ROOT / ".ci/packages").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        if not re.fullmatch(rf"{GROUP}(,{GROUP})* [a-z0-9.+-]+", line) or line.split()[1] in seen:
            wrong.append(line)
        seen.add(line.split()[-1])
    return "\n".join(wrong)


def shell_scripts_parse():
    wrong = [run(["bash", "-n", name], timeout=10)[1]
             for name in ("run", "test", ".ci/run", ".ci/install", "tests/e2e/build-apiserver", "tests/e2e/build-current",
                      "tests/e2e/build-common")]
    return "".join(wrong)


@dataclasses.dataclass
class Checks:
    """Functions that return what is wrong, or an empty text."""
    functions: tuple

    def run(self):
        counts = Counts()
        for function in self.functions:
            wrong = function()
            if wrong:
                counts.failures.append((function.__name__, wrong))
            else:
                counts.passed += 1
        return counts


@dataclasses.dataclass
class Program:
    """A program that says all by its exit status; its output is shown."""
    preset: str
    command: list
    needs: tuple = ()  # as above

    def run(self):
        for make in self.needs:
            make()
        folder = build(self.preset)
        done = subprocess.run(self.command, cwd=ROOT, env={**os.environ, "IPAMD_BUILD": str(folder)}, check=False)
        name = " ".join(self.command)
        return Counts(passed=1) if done.returncode == 0 else Counts(failures=[(name, f"status {done.returncode}")])


# ---- Suites -------------------------------------------------------------------------------------------------------

NOT_MODEL = r"^(?!.*model)"
LOOPS = r"store$|writer|client|loop|channel"


@dataclasses.dataclass
class Suite:
    name: str
    what: str
    parts: tuple
    default: bool = True


SUITES = (
    Suite("format", "sources formatted, generated pages up to date, package list and scripts sound",
          (Checks((sources_are_formatted, errors_page_is_up_to_date, packages_are_listed_once_with_known_groups,
                   shell_scripts_parse)),)),
    Suite("unit", "each layer alone, in C", (CTests("release", NOT_MODEL),)),
    Suite("model", "a million random operations against a naive model", (CTests("release", r"model"),)),
    Suite("integration", "ipamd and ipamc as processes",
          (PyTests("release", ["tests/integration", "--ignore=tests/integration/clients"], workers=2 * CORES),)),
    Suite("clients", "stock gRPC clients in Python and Node.js, libipam as installed",
          (PyTests("release", ["tests/integration/clients"]),)),
    Suite("crash", "kill -9 under load", (PyTests("release", ["tests/crash"]),)),
    Suite("bus", "subscribers killed, stopped and left out under load", (PyTests("release", ["tests/bus"], workers=CORES),)),
    Suite("asan", "all of the above under AddressSanitizer and UndefinedBehaviorSanitizer, the long ones shorter",
          (CTests("asan", r"", {"MODEL_OPS": "60000"}),
           PyTests("asan", ["tests/integration", "tests/crash", "tests/bus", "--ignore=tests/integration/test_run.py"],
                   {"IPAMD_SLOW": "4", "CRASH_ROUNDS": "12", "BUS_SECONDS": "9"}, workers=2 * CORES))),
    Suite("tsan", "store, loop and client under ThreadSanitizer",
          (CTests("tsan", LOOPS),
           PyTests("tsan", ["tests/integration", "tests/crash", "tests/bus", "-m", "threads"],
                   {"IPAMD_SLOW": "6", "CRASH_ROUNDS": "6", "BUS_SECONDS": "36"}, workers=2 * CORES))),
    Suite("e2e", "ipamd's Kubernetes processes against a real API server, with kubectl",
          (E2eTests("release", workers=CORES + 1),)),
    Suite("bench", "tables of figures beside their yardsticks", (Program("release", [PYTHON, "tests/bench/run.py"]),),
          default=False),
    Suite("bench-kube", "5,000 VIPs on a real API server, beside a plain client",
          (Program("release", [PYTHON, "tests/bench/kube.py"], needs=(api_server,)),), default=False),
)


def run_suite(suite):
    say(f"== {suite.name}: {suite.what}")
    begin = time.monotonic()
    counts = Counts()
    for part in suite.parts:
        try:
            counts.add(part.run())
        except BuildFailed as error:
            counts.failures.append((f"build/{part.preset}", str(error)))
    for name, text in counts.failures:
        say(f"\n-- FAILED {suite.name}: {name}\n{text.rstrip()}\n")
    for name, reason in counts.skips:
        say(f"   skipped {name}: {reason}")
    return counts, time.monotonic() - begin


def options():
    parser = argparse.ArgumentParser(prog="./test", description="Runs the test suites and counts.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="suites to run (default: all but those that only measure)")
    parser.add_argument("--list", action="store_true", help="show the suites and stop")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - {suite.name for suite in SUITES}
    if unknown:
        parser.error(f"no suite is named {', '.join(sorted(unknown))}; ./test --list shows them")
    return chosen


def main():
    chosen = options()
    if chosen.list:
        for suite in SUITES:
            say(f"{suite.name:12} {suite.what}{'' if suite.default else ' (only when named)'}")
        return 0
    total, lines = Counts(), []
    for suite in SUITES:
        if suite.name in chosen.names or (not chosen.names and suite.default):
            counts, seconds = run_suite(suite)
            total.add(counts)
            lines.append(f"{suite.name:12} {str(counts):40} {seconds:6.0f} s")
    say("\n" + "\n".join(lines))
    for name, _ in total.failures:
        say(f"FAILED {name}")
    say(str(total))
    return 0 if total.passed and not total.failures else 1


def interrupted(number, _frame):
    """Ctrl-C: nothing goes on behind one's back. What waits in other threads is not worth waiting for."""
    for group in list(running):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    say("interrupted")
    os._exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    sys.exit(main())
