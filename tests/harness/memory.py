from __future__ import annotations

from pathlib import Path


def peak_mb() -> float:
    """Return VmHWM, the peak memory of this process in MB.

    Not `ru_maxrss`: on Linux a child process inherits that of its parent, so smaller peaks are not seen.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return round(int(line.split()[1]) / 1024, 1)
    raise RuntimeError("no VmHWM in /proc/self/status")
