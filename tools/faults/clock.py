"""F15: the wall clock jumps, while the server runs and between two runs."""

import pathlib
import struct
import subprocess
import time

from bench import needs
from kill import finish

HOUR = 3600
JUMPS = (HOUR, -HOUR, 24 * HOUR, -24 * HOUR, 6 * HOUR, -3 * HOUR)


def jumps(bench):
    """Jumps of hours and days under load, and a kill: nothing lost, no session dropped."""
    needs("cc")
    shim, offset = bench.folder / "clock.so", bench.folder / "clock"
    source = pathlib.Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(shim), str(source), "-ldl"],
                   check=True)
    offset.write_bytes(struct.pack("q", 0))
    server, ledger = bench.fleet()
    server.stop()
    moved = {"LD_PRELOAD": str(shim), "FAULTS_CLOCK": str(offset)}
    bench.restart(server, env=moved)
    for turn in range(bench.rounds):
        end = bench.load(server, ledger)
        bench.await_ack(ledger)
        before = connections(server)
        jump = JUMPS[turn % len(JUMPS)]
        set_to(offset, jump)
        ledger.first_ack = None
        went_on = bench.await_ack(ledger, 10)
        bench.found({"unexpected": not went_on}, f"no acknowledgement after a jump of {jump} s")
        time.sleep(0.5)
        after = connections(server)
        bench.found({"unexpected": after < before}, f"jump {jump}: {before} -> {after} sessions")
        if turn % 2:
            server.kill()
        end()
        if turn % 2:
            bench.restart(server, env=moved)
        bench.check(server, ledger)
        set_to(offset, 0)
        bench.done += 1
    finish(bench, server, ledger)


def set_to(offset, seconds):
    """In place: the process has the file in its memory."""
    with open(offset, "r+b") as file:
        file.write(struct.pack("q", seconds))


def connections(server):
    text = server.call("GET", "/metrics", listener="ops")[1]
    return int(next(line for line in text.splitlines()
                    if line.startswith("axle_device_connections ")).split()[1])


CASES = {"clock": (jumps, 2, 20, "the wall clock jumps by hours and days")}
