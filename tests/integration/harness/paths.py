"""Where things are: the repository, the build under test, and how patient to be with it."""
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("IPAMD_BUILD", ROOT / "build/release")).resolve()
IPAMD = BUILD / "daemon/ipamd/ipamd"
IPAMC = BUILD / "client/ipamc/ipamc"
REFERENCE = ROOT / "tests/data/reference"

# Sanitizer builds are slower by about this much; every timeout is multiplied by it.
SLOW = float(os.environ.get("IPAMD_SLOW", "1"))
