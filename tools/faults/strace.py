"""Lets chosen system calls on chosen files fail or take long (`strace --inject`)."""

import re
import subprocess
import time

from bench import Skipped, needs

LINE = re.compile(r"^\d+ +(\d+\.\d+) (.*)$")


class Injection:
    """A server's prefix that spoils calls; what it did stands in a file of ours."""

    def __init__(self, bench, calls, paths, fault):
        """`fault` is strace's own: `error=EIO:when=3`, `delay_enter=200ms`."""
        needs("strace")
        self.trace = bench.folder / f"trace-{bench.done}"
        self.trace.unlink(missing_ok=True)
        # -D keeps the server our own child; paths count by descriptor too.
        self.prefix = ["strace", "-D", "-f", "-qq", "-ttt", "-o", str(self.trace),
                       "-e", f"trace={calls}", "-e", f"inject={calls}:{fault}"]
        for path in paths:
            self.prefix += ["-P", str(path)]

    def moments(self):
        """When calls were spoilt, and which ones."""
        if not self.trace.exists():
            return []
        matches = (LINE.match(line) for line in self.trace.read_text(errors="replace").splitlines()
                   if "INJECTED" in line)
        return [(float(match[1]), match[2]) for match in matches if match]

    def await_moment(self, seconds, alive):
        """Waits for the first spoilt call; None where there was none."""
        until = time.time() + seconds
        while time.time() < until:
            if seen := self.moments():
                return seen[0][0]
            if not alive():
                break
            time.sleep(0.01)
        seen = self.moments()
        return seen[0][0] if seen else None


def check_possible():
    needs("strace")
    done = subprocess.run(["strace", "-D", "-qq", "-o", "/dev/null", "true"],
                          capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        raise Skipped(f"strace may not trace here: {done.stderr.strip()[-200:]}")
