from __future__ import annotations

from pathlib import Path


def peak_mb() -> float:
    """Give VmHWM, the most memory that this process ever had.

    `ru_maxrss` would not do: on Linux a child begins with that of the process that started it, and what it takes itself
    is not seen until it is more.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return round(int(line.split()[1]) / 1024, 1)
    raise RuntimeError("no VmHWM in /proc/self/status")
