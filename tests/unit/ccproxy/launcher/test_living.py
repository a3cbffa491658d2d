from __future__ import annotations

import os
import subprocess

from ccproxy.launcher.living import is_alive


def test_a_process_that_only_waits_to_be_reaped_is_not_alive():
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(ended.pid)
    ended.wait()
    assert not is_alive(ended.pid)
    assert is_alive(os.getpid())
