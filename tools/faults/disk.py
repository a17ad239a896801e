"""F04, F08: a disk that loses what was not synced, and one that is full. Needs root."""

import fcntl
import os
import struct
import subprocess
import time

from bench import Skipped, needs, shell
from kill import finish

# EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH: the file system ends at once, and what is
# only in memory is lost, the journal's open transaction included.
SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2


class Volume:
    """An ext4 file system of our own in an image."""

    def __init__(self, bench, mebibytes):
        needs("mkfs.ext4", "mount", "umount")
        if os.geteuid() != 0:
            raise Skipped("mounting an image needs root")
        self.image, self.path = bench.folder / "image", bench.folder / "volume"
        self.path.mkdir()
        with open(self.image, "wb") as image:
            image.truncate(mebibytes << 20)
        shell("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0", str(self.image))
        bench.cleanups.append(self.unmount)
        self.mount()

    def mount(self):
        try:
            shell("mount", "-o", "loop", str(self.image), str(self.path))
        except subprocess.CalledProcessError as error:
            raise Skipped(f"no loop device: {error.stderr.strip()}") from error

    def unmount(self):
        if os.path.ismount(self.path):
            shell("umount", str(self.path))

    def lose_power(self, server):
        """Nobody hears of a sync that was under way: of those, Linux 6.18 says that they succeeded
        and loses what they were for, to any program that appends and syncs."""
        server.freeze()
        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        except OSError as error:
            raise Skipped(f"no EXT4_IOC_SHUTDOWN: {error}") from error
        finally:
            os.close(folder)

    def free(self):
        volume = os.statvfs(self.path)
        return volume.f_bavail * volume.f_frsize


def power(bench):
    """The power goes at a random moment; the journal is replayed; all that was promised is there."""
    volume = Volume(bench, 512)
    server, ledger = bench.fleet(volume.path / "data")
    for _ in range(bench.rounds):
        end = bench.load(server, ledger)
        time.sleep(bench.random.random() * bench.random.choice((0.3, 1.5)))
        volume.lose_power(server)
        server.kill()
        end()
        volume.unmount()
        volume.mount()
        findings, _torn = server.verify()
        # Pages of the last, unacknowledged commit may lie there out of order (docs/formats).
        bench.note("verify_findings", len(findings))
        bench.restart(server)
        bench.check(server, ledger)
        bench.done += 1
    finish(bench, server, ledger)


def full(bench):
    """A ballast fills the disk under load, and goes again; nobody restarts anything."""
    volume = Volume(bench, 768)
    settings = {"LOG__RETENTION_BYTES": "128MiB"}
    server, ledger = bench.fleet(volume.path / "data", settings, pad=4096, pace=0.001)
    ballast = volume.path / "ballast"
    for _ in range(bench.rounds):
        end = bench.load(server, ledger)
        bench.await_ack(ledger)
        fill(ballast, volume)
        held = withheld(server, ledger)
        is_ready, reasons = server.ready()
        if held:
            is_told = not is_ready and any("its disk is full" in reason for reason in reasons)
            bench.found({"unexpected": not is_told}, f"the disk is full, but /readyz: {reasons}")
        else:
            bench.found({"unexpected": 1}, "the disk is full, and acknowledgements go on")
        status, _said = server.call("GET", "/api/v1/devices")
        bench.found({"unexpected": status != 200}, f"reading while the disk is full: {status}")
        ballast.unlink()
        freed, ledger.first_ack = time.time(), None
        resumed = bench.await_ack(ledger, 20)
        took = (time.time() - freed) * 1000
        bench.found({"unexpected": not resumed}, f"no acknowledgement {took:.0f} ms after freeing")
        bench.notes["resumed_ms_max"] = max(round(took), bench.notes.get("resumed_ms_max", 0))
        ledger.first_ack = None
        end()
        bench.found({"unexpected": not server.is_up()}, server.words()[-500:])
        bench.check(server, ledger)
        until = time.time() + 10
        while not server.ready()[0] and time.time() < until:
            time.sleep(0.05)
        bench.found({"unexpected": not server.ready()[0]}, f"not ready again: {server.ready()}")
        bench.done += 1
    finish(bench, server, ledger)


def fill(ballast, volume):
    """Takes all room but a little, then what is left of it."""
    with open(ballast, "wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(b"\1" * size)
            except OSError:
                continue


def withheld(server, ledger, seconds=40):
    """Waits until nothing has been acknowledged for a second."""
    until = time.time() + seconds
    while time.time() < until and server.is_up():
        ledger.first_ack = None
        time.sleep(1)
        if ledger.first_ack is None:
            return True
    return False


CASES = {
    "power": (power, 2, 200, "power loss on an ext4 image (EXT4_IOC_SHUTDOWN)"),
    "disk-full": (full, 1, 50, "the disk is full, then free again, without a restart"),
}
