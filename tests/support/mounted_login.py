"""Run in a mount namespace of its own: one login file mounted alone, as a container gets it.
Answers in JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from shared.accounts.store import CredentialFile

home = Path(sys.argv[1])
original, mounted = home / "host/login.json", home / "box/login.json"
for path in (original, mounted):
    path.parent.mkdir()
    path.write_text('{"a": 1}')
subprocess.run(["mount", "--bind", original, mounted], check=True)
file = CredentialFile(mounted)
seen = {"writable": file.obstacle()}
file.write(b'{"a": 2}')
seen["on the host"] = original.read_text()
subprocess.run(["mount", "-o", "remount,ro,bind", mounted], check=True)
seen["read-only"] = file.obstacle()
(home / "host/new").write_text('{"a": 3}')
(home / "host/new").rename(original)
seen["replaced"] = file.obstacle()
seen["still read"] = file.read(fresh=True)
sys.stdout.write(json.dumps(seen))
