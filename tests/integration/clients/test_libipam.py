"""libipam as a program outside this repository finds it: installed, through pkg-config, shared and static."""
import os
import shlex
import subprocess

import pytest

from harness.paths import BUILD, ROOT, SLOW
from harness.requests import pool

# ---- Fixture


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    where = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", where], check=True, capture_output=True, timeout=60)
    return where


# ---- Helpers


def sanitizers():
    """An example that links a sanitizer build of the library has to be built with the same sanitizers."""
    cache = (BUILD / "CMakeCache.txt").read_text()
    chosen = [line.split("=", 1)[1] for line in cache.splitlines() if line.startswith("IPAMD_SANITIZE:")]
    return [f"-fsanitize={chosen[0]}"] if chosen and chosen[0] else []


def pkg_config(prefix, *arguments):
    folder = next(prefix.rglob("ipam.pc")).parent
    done = subprocess.run(["pkg-config", *arguments, "ipam"], capture_output=True, text=True, check=True,
                          env={**os.environ, "PKG_CONFIG_PATH": str(folder)})
    return shlex.split(done.stdout)


def compile_example(prefix, out, *how):
    compiler = ["cc", "-std=c17", "-Wall", "-Wextra", "-Werror", *sanitizers(), "-o", str(out), str(ROOT / "docs/example.c")]
    if "static" in how:
        libraries = pkg_config(prefix, "--static", "--libs")
        # Only our own library statically: not all of Debian's have a static form.
        libraries = [str(next(prefix.rglob("libipam.a"))) if word == "-lipam" else word for word in libraries]
    else:
        libraries = pkg_config(prefix, "--libs")
    subprocess.run([*compiler, *pkg_config(prefix, "--cflags"), *libraries], check=True, timeout=60)


def run_example(program, daemon, prefix):
    libraries = str(next(prefix.rglob("libipam.so")).parent)
    return subprocess.run([program], capture_output=True, text=True, timeout=20 * SLOW, check=False,
                          env={**os.environ, "IPAMD_SOCKET": str(daemon.socket), "LD_LIBRARY_PATH": libraries})


# ---- Tests


def test_what_is_installed_is_all_that_is_needed(prefix):
    names = {path.name for path in prefix.rglob("*") if path.is_file() or path.is_symlink()}
    assert {"client.h", "addr.h", "chain.h", "error.h", "subscriber.h", "errors.def", "ipam.pb-c.h", "libipam.a", "libipam.so", "ipamd", "ipamc"} <= names


@pytest.mark.parametrize("how", ["shared", "static"])
def test_example_compiles_and_gets_an_address(daemon, ipam, prefix, tmp_path, how):
    ipam.ApplyPool(pool("main-vip-pool", "10.200.0.0/24"))
    compile_example(prefix, tmp_path / "example", how)
    done = run_example(tmp_path / "example", daemon, prefix)
    assert done.returncode == 0, done
    assert "10.200.0.1" in done.stdout


def test_example_says_what_is_wrong_when_nobody_serves(daemon, prefix, tmp_path):
    compile_example(prefix, tmp_path / "example")
    daemon.stop()
    done = run_example(tmp_path / "example", daemon, prefix)
    assert done.returncode != 0 and str(daemon.socket) in done.stdout + done.stderr


def test_shared_library_shows_only_its_own_names(prefix):
    done = subprocess.run(["nm", "-D", "--defined-only", next(prefix.rglob("libipam.so"))], capture_output=True, text=True,
                          check=True)
    names = [line.split()[-1].split("@")[0] for line in done.stdout.splitlines() if " A " not in line]
    assert "ipam_allocate" in names
    foreign = [name for name in names if not name.startswith(("ipam_", "ipam__", "google__protobuf__", "google__rpc__"))]
    assert not foreign


def test_headers_compile_alone_and_in_cpp(prefix, tmp_path):
    for header in ("client.h", "addr.h", "error.h", "chain.h", "subscriber.h"):
        for language, standard in (("c", "c17"), ("c++", "c++17")):
            source = tmp_path / f"one.{language}"
            source.write_text(f"#include <ipam/{header}>\nint main(void) {{ return 0; }}\n")
            subprocess.run(["cc", "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
                            *pkg_config(prefix, "--cflags"), source], check=True, timeout=60)
