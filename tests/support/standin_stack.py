"""`ccproxy serve` with stand-ins for the services; the launcher, supervisord, the listener and
Redis are real.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ccproxy.launcher.launch import start_stack
from ccproxy.launcher.programs import SCRIPTS, installed_commands

STANDIN = Path(__file__).with_name("standin.py")

if __name__ == "__main__":
    stand_ins = {
        name: [sys.executable, str(STANDIN), name] for name in SCRIPTS if name != "listener"
    }
    sys.exit(start_stack(commands={**installed_commands(), **stand_ins}))
