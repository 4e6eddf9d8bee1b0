"""Processes that die with the one that started them, however that ends."""
import subprocess


def child(command, **options):
    """setpriv asks the kernel for it, and not a preexec_fn: with one, Popen forks, and gRPC's fork handlers crash us at times."""
    return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *map(str, command)], **options)
