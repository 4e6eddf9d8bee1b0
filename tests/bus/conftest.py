import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "integration"))

from harness.fixtures import *  # noqa: E402,F401,F403
