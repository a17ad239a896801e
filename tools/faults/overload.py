"""F23: many times more comes than axle can take. Health and commands must not wait for it, what
gives way is counted, and what was acknowledged is there."""

import collections
import json
import multiprocessing
import struct
import subprocess
import threading
import time

import bench as harness
from link import Link, packet, text
from server import BINARY

SECONDS = {True: 8, False: 60}
ROWS = 128                # different rows of a flood; a repetition of one is the same row
PAD = 2000                # bytes of each that nobody asked for
LARGE = 6_000             # the same where what waits for the disk shall grow
FLOODS = (1,) * 4 + (0,) * 2
PROBE_S = 0.05
COMMAND_S_MAX = 30        # after this a command counts as lost
RATED_PER_S = 33_000      # messages of a fleet of two million
CALM_S_MAX = 300          # after this the projections should have caught up


class Device(Link):
    """A device that answers every command at once."""

    def listen(self, name):
        filter_ = text(f"v1/d/{name}/c/+/+") + b"\1"
        self.socket.sendall(packet(0x82, struct.pack(">H", 1) + b"\0" + filter_))
        kind, body = self.read(5)
        if kind != 0x90 or body[-1] > 2:
            raise OSError(f"SUBACK {body.hex()}")

    def answer(self, name, stop, seen):
        number = 1
        while not stop.is_set():
            try:
                kind, body = self.read(0.2)
            except TimeoutError:
                continue
            if kind & 0xf0 != 0x30:
                continue
            length = struct.unpack(">H", body[:2])[0]
            command = body[2:2 + length].decode().split("/")[4]
            seen[command] = time.perf_counter()
            number = number % 60000 + 1
            self.socket.sendall(packet(0x40, body[2 + length:4 + length]))
            self.publish([(number, f"v1/d/{name}/c/{command}/r", b'{"status":"succeeded"}')])


class Asks:
    """Asks for health and sends commands, again and again, and keeps how long each took."""

    def __init__(self, server, keys, name):
        self.server, self.name = server, name
        self.stop, self.deaf = threading.Event(), threading.Event()
        self.took = collections.defaultdict(list)
        self.bad, self.seen = [], {}
        self.device = Device(server.addresses["mqtts"], name, keys)
        self.device.listen(name)
        runs = [(self.commands, ()), (self.health, ("/healthz",)), (self.health, ("/readyz",)),
                (self.device.answer, (name, self.deaf, self.seen))]
        self.threads = [threading.Thread(target=run, args=args, daemon=True) for run, args in runs]
        for thread in self.threads:
            thread.start()

    def health(self, path):
        while not self.stop.is_set():
            began = time.perf_counter()
            status, said = self.server.call("GET", path, listener="ops")
            self.took[path].append(time.perf_counter() - began)
            if path == "/healthz" and status != 200:
                self.bad.append(f"{path}: {status} {said}")
            self.stop.wait(PROBE_S)

    def commands(self):
        while not self.stop.is_set():
            began = time.perf_counter()
            body = {"name": "ring", "payload": {}, "timeout_s": 60}
            status, said = self.server.call("POST", f"/api/v1/devices/{self.name}/commands", body)
            if status != 202:
                self.bad.append(f"a command is answered {status} {said}")
                continue
            self.took["command accepted"].append(time.perf_counter() - began)
            self.follow(said["id"], began)
            self.stop.wait(PROBE_S)

    def follow(self, command, began):
        while time.perf_counter() - began < COMMAND_S_MAX:
            told = self.server.call("GET", f"/api/v1/commands/{command}")[1]
            if told["status"] == "succeeded":
                self.took["command answered"].append(time.perf_counter() - began)
                self.took["command at the device"].append(self.seen[command] - began)
                return
            time.sleep(0.005)
        self.bad.append(f"command {command} is {told['status']} after {COMMAND_S_MAX} s")

    def end(self):
        """Milliseconds by what was asked, and what went wrong."""
        self.stop.set()
        for thread in self.threads[:-1]:
            thread.join(COMMAND_S_MAX)
        self.deaf.set()  # the device answers to the last
        self.threads[-1].join(COMMAND_S_MAX)
        self.device.close()
        return {what: spread(took) for what, took in sorted(self.took.items())}


def spread(took):
    ordered = sorted(took)
    pick = lambda share: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 1)
    return {"n": len(ordered), "p50": pick(0.5), "p99": pick(0.99), "max": pick(1)}


def rows(began_ms, pad):
    """Rows of `ride` as payloads."""
    for number in range(ROWS):
        row = {"time": began_ms + number * 10, "speed_kmh": number, "pad": "x" * pad}
        yield json.dumps(row).encode()


def flood(address, name, keys, qos, until, counts, pad=PAD):
    """Publishes as fast as the server reads; counts what was sent and what was acknowledged."""
    link = Link(address, name, keys)
    topic, began_ms = text(f"v1/d/{name}/t/ride"), int(time.time() * 1000) - 3_600_000
    number = lambda at: struct.pack(">H", at + 1) if qos else b""
    block = b"".join(packet(0x30 | qos << 1, topic + number(at) + b"\0" + payload)
                     for at, payload in enumerate(rows(began_ms, pad)))
    sent = acked = 0
    link.socket.settimeout(60)
    while time.time() < until:
        link.socket.sendall(block)
        sent += ROWS
        while qos and acked < sent:
            kind, _body = link.read(60)
            acked += kind == 0x40
    # Whatever was sent has been read when PINGRESP comes.
    link.socket.sendall(b"\xc0\0")
    while link.read(60)[0] != 0xd0:
        pass
    link.close()
    counts.put((f"qos{qos}", sent, acked))


def ask_and_upload(server, name, until, answers):
    """Uploads and questions by turns, as fast as they are answered; counts answers by status."""
    began_ms = int(time.time() * 1000) - 7_200_000
    samples = [{"time": began_ms + number * 10, "speed_kmh": number, "pad": "x" * PAD}
               for number in range(ROWS)]
    body, turn = {"device": name, "stream": "ride", "samples": samples}, 0
    sql = "SELECT device, count(*), avg(speed_kmh) FROM ride GROUP BY device"
    while time.time() < until:
        turn += 1
        try:
            key = {"Idempotency-Key": f"{name}-{turn}"}
            status = server.call("POST", "/api/v1/uploads", body, key, timeout=60)[0]
            answers[f"upload {status}"] += 1
            status = server.call("POST", "/api/v1/query", {"sql": sql}, timeout=60)[0]
            answers[f"question {status}"] += 1
        except OSError as error:
            answers[f"no answer: {error}"] += 1


def law(server):
    text_ = server.call("GET", "/metrics", listener="ops")[1]
    lines = [line for line in text_.splitlines() if line.startswith("axle_ingest_records_total{")]
    return {line.split('"')[1]: int(float(line.split()[-1])) for line in lines}


def since(before, after):
    return {name: after[name] - before.get(name, 0) for name in after}


def overload(bench):
    """Floods at QoS 1 and 0, uploads and questions, as fast as they are taken."""
    server, ledger = bench.fleet(devices=1, apps=0, settings={"STORE__FLUSH_INTERVAL": "10s"})
    run(bench, server, ledger, FLOODS, PAD)


def slow_disk(bench):
    """The same, and more, while each sync takes 1.5 s: what waits grows and ages, and gives way."""
    harness.needs("strace")
    server, ledger = bench.fleet(devices=1, apps=0, settings={"STORE__FLUSH_INTERVAL": "10s"})
    server.stop()
    bench.restart(server, prefix=("strace", "-D", "-f", "-qq", "-o", "/dev/null",
                                  "-e", "trace=fdatasync",
                                  "-e", "inject=fdatasync:delay_enter=1500000"))
    run(bench, server, ledger, FLOODS * 4, LARGE)


def ask_quietly(bench, server, ledger):
    """Notes how long health and commands take where nothing else is to be done."""
    asks = Asks(server, ledger.keys, "bell")
    time.sleep(2)
    bench.notes["quiet"] = asks.end()
    bench.found({"unexpected": len(asks.bad)}, f"{asks.bad[:3]}")
    # Answers have come: so all that was sent before them is in the log.
    server.settle(CALM_S_MAX)


def end_loud(bench, server, asks):
    """Notes how long they took under load, and when all that came with it is shown."""
    bench.notes["overload"] = asks.end()
    bench.found({"unexpected": len(asks.bad)}, f"{asks.bad[:3]}")
    began = time.time()
    server.settle(CALM_S_MAX)
    bench.notes["calm_after_ms"] = round((time.time() - began) * 1000)


def run(bench, server, ledger, kinds, pad):
    names = [f"flood-{number}" for number in range(len(kinds))]
    for name in [*names, "phone", "bell"]:
        server.axle("device", "add", name, "--out", str(ledger.keys))
    seconds = SECONDS[bench.rounds <= 1]
    ledger.drive(server, threading.Event(), 1)
    ask_quietly(bench, server, ledger)
    before, known = law(server), ledger.figures()
    asks = Asks(server, ledger.keys, "bell")
    counts, answers = multiprocessing.Queue(), collections.Counter()
    until = time.time() + seconds
    address = server.addresses["mqtts"]
    floods = [multiprocessing.Process(target=flood, daemon=True, args=(
        address, name, ledger.keys, qos, until, counts, pad)) for name, qos in zip(names, kinds)]
    others = [threading.Thread(target=ask_and_upload, daemon=True,
                               args=(server, "phone", until, answers))]
    stop = threading.Event()
    others += ledger.drive(server, stop)
    for worker in (*floods, *others):
        if worker not in others or not worker.is_alive():
            worker.start()
    sums = collections.Counter()
    for _flood in floods:
        kind, sent, acked = counts.get(timeout=seconds + 120)
        sums[f"{kind} sent"] += sent
        sums[f"{kind} acked"] += acked
    stop.set()
    for worker in (*floods, *others):
        worker.join(120)
    end_loud(bench, server, asks)
    # What came to the door, counted from outside. An upload that is shed counts once; what was
    # unknown before was sent again.
    gone = sum(count for status, count in answers.items()
               if status.startswith("upload") and status != "upload 200")
    expected = (sums["qos1 sent"] + sums["qos0 sent"] + answers["upload 200"] * ROWS + gone
                + ledger.figures()["sent"] - known["sent"] + known["unknown"])
    # What was shed is on its way from the door into the state for a moment.
    until = time.time() + 10
    while (change := since(before, law(server)))["received"] != expected and time.time() < until:
        time.sleep(0.1)
    bench.notes.update(counts=dict(sums), answers=dict(answers), door=change,
                       messages_per_s=round((sums["qos1 acked"] + sums["qos0 sent"]
                                             - change["shed"]) / seconds))
    if change["received"] != expected:
        bench.found({"law": 1}, f"{change['received']} received, {expected} sent")
    bench.check(server, ledger)
    bench.done += 1


def ten_times(bench):
    """Ten times of what a fleet of two million sends, on time, whether it is answered or not."""
    server, ledger = bench.fleet(devices=1, apps=0)
    server.axle("device", "add", "bell", "--out", str(ledger.keys))
    ask_quietly(bench, server, ledger)
    before = law(server)
    asks = Asks(server, ledger.keys, "bell")
    seconds = SECONDS[bench.rounds <= 1]
    load = subprocess.run(
        [BINARY, "load-test", "--profile", "meter", "--devices", "500", "--json",
         "--rate", str(10 * RATED_PER_S), "--duration", f"{seconds}s",
         "--data-dir", str(server.data)],
        capture_output=True, text=True, timeout=seconds + 2 * CALM_S_MAX, check=False)
    end_loud(bench, server, asks)
    bench.found({"unexpected": load.returncode != 0}, load.stderr[-500:])
    said, change = json.loads(load.stdout), since(before, law(server))
    bench.notes.update(load=said, door=change)
    expected = said["acked"] * said["values_per_message"]
    if said["unacked"] == 0 and change["received"] != expected:
        bench.found({"law": 1}, f"{change['received']} received, {expected} acknowledged")
    bench.done += 1


CASES = {
    "overload-paced": (ten_times, 0, 2, "ten times the rated load, on time"),
    "overload": (overload, 1, 2, "many times more than axle takes"),
    "overload-disk": (slow_disk, 1, 2, "the same and more with a disk that takes 1.5 s a sync"),
}
