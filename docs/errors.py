#!/usr/bin/python3
"""Makes docs/errors.md from include/ipam/errors.def and error.h. With --check: only says whether it is up to date."""
import difflib
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/errors.md"
ROW = re.compile(r'IPAM_ERROR_ROW\((\w+), (\d+), (\w+), (\w+),\s*"((?:[^"\\]|\\.)*)"\s*,\s*"((?:[^"\\]|\\.)*)"\s*\)')
EXIT = re.compile(r"IPAM_EXIT_(\w+) = (\d+),\s*(?:/\* (.*?) \*/)?")

HEAD = """# Errors

Every error that ipamd, libipam and ipamc report is a row of one table, `include/ipam/errors.def`, from which this page is
made by `docs/errors.py`. The reason is what programs should look at: it travels as `google.rpc.ErrorInfo` {reason, domain
`ipam.novaedge.io`, metadata} in `grpc-status-details-bin`, and never changes its meaning. The message is for people and
names the pool, owner or address at hand.

## Exit codes of ipamc

| code | class | when |
|---|---|---|
"""


def plain(text):
    return re.sub(r"\\(.)", r"\1", text).replace("|", "\\|")


def page():
    table = (ROOT / "include/ipam/errors.def").read_text()
    exits = EXIT.findall((ROOT / "include/ipam/error.h").read_text())
    codes = {name: code for name, code, _ in exits}
    rows = ROW.findall(re.sub(r'"\s*\n\s*"', "", table))
    if len(rows) != table.count("\nIPAM_ERROR_ROW("):
        sys.exit("docs/errors.py: a row of errors.def can't be read")
    lines = [HEAD]
    lines += [f"| {code} | {name.lower()} | {comment or 'success'} |\n" for name, code, comment in exits]
    lines += ["\nThose of ipamd are in [operations](operations.md#when-ipamd-refuses-to-start): 2 for what it would end with each time.\n"]
    lines += ["\n## Reasons\n\n| reason | number | gRPC status | exit | meaning | what to do |\n|---|---|---|---|---|---|\n"]
    lines += [f"| `{name}` | {number} | {status} | {codes[group]} | {plain(summary)} | {plain(remedy)} |\n"
              for name, number, status, group, summary, remedy in rows]
    return "".join(lines)


def main():
    new = page()
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(new)
        return 0
    old = PAGE.read_text() if PAGE.exists() else ""
    sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), "docs/errors.md", "as generated"))
    return int(old != new)


if __name__ == "__main__":
    sys.exit(main())
