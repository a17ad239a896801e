"""What was sent, acknowledged, refused and left unknown; kept outside the server.

Contents derive from (seed, device, number), so that they are checked without being kept. Devices
publish over MQTT with their certificates and send again what was not acknowledged; an app uploads
batches with idempotency keys and repeats what was not answered.
"""

import hashlib
import json
import threading
import time

from link import Link

UNKNOWN, ACKED, REFUSED = 0, 1, 2
FIELDS = "lat, lon, speed_kmh, battery_pct, power_w, temperature_c"
STEP_MS, WINDOW, BATCH, PAGE = 10, 16, 20, 4000


def content(seed, device, number):
    """The values of one row; every one of them depends on all three."""
    digest = hashlib.blake2b(f"{seed}/{device}/{number}".encode(), digest_size=16).digest()
    parts = [int.from_bytes(digest[at:at + 2], "big") for at in range(0, 12, 2)]
    return [47 + parts[0] / 100000, 11 + parts[1] / 100000, parts[2] % 450 / 10,
            parts[3] % 101, parts[4] % 1000, parts[5] % 400 / 10]


class Source:
    """One device or app: the fate of each row it sent, by number."""

    def __init__(self, name):
        self.name = name
        self.fate = []        # of each number
        self.sent_at = []     # when it was last sent
        self.acked_at = []    # when its acknowledgement came
        self.checked = 0      # all before it have been read back once
        self.receipts = {}    # of uploads


class Ledger:
    """Outlives every server process. `drive` it against one after another, then `check`."""

    def __init__(self, seed, folder, devices=3, apps=1, pad=0, pace=0.004,
                 keep_alive=300):
        self.seed, self.keys, self.pad, self.pace = seed, folder / "keys", pad, pace
        self.keep_alive = keep_alive
        self.devices = [Source(f"d-{number}") for number in range(devices)]
        self.apps = [Source(f"a-{number}") for number in range(apps)]
        self.began_ms = int(time.time() * 1000) - 6 * 3600 * 1000
        self.refused_puback = 0
        self.first_ack = None
        self.examples = []

    def enroll(self, server):
        for source in self.devices + self.apps:
            server.axle("device", "add", source.name, "--out", str(self.keys))

    def sample(self, source, number):
        values = dict(zip(FIELDS.split(", "), content(self.seed, source.name, number)))
        row = {"time": self.began_ms + number * STEP_MS, "odometer_km": number, **values}
        if self.pad:
            row["pad"] = "x" * self.pad
        return row

    # -- sending

    def drive(self, server, stop, seconds=None):
        """Loads the server until `stop` is set, or for so long. Threads end with it."""
        self.first_ack = None
        work = [(self.publish, source) for source in self.devices]
        work += [(self.upload, source) for source in self.apps]
        threads = [threading.Thread(target=run, args=(server, source, stop), daemon=True)
                   for run, source in work]
        for thread in threads:
            thread.start()
        if seconds is not None:
            stop.wait(seconds)
            stop.set()
            for thread in threads:
                thread.join(60)
        return threads

    def acked(self, source, number, code=0):
        now = time.time()
        if code >= 0x80:
            source.fate[number] = REFUSED
            self.refused_puback += 1
            return
        if source.fate[number] != ACKED:
            source.fate[number], source.acked_at[number] = ACKED, now
        self.first_ack = self.first_ack or now

    def publish(self, server, source, stop):
        while not stop.is_set():
            try:
                link = Link(server.addresses["mqtts"], source.name, self.keys,
                            keep_alive=self.keep_alive)
            except OSError:
                stop.wait(0.02)
                continue
            try:
                self.converse(link, source, stop)
            except OSError:
                stop.wait(0.02)
            finally:
                link.close()

    def converse(self, link, source, stop):
        """Sends first what is unknown, then what is new, a window at a time."""
        by_id = {}
        waiting = [n for n in range(source.checked, len(source.fate)) if source.fate[n] == UNKNOWN]
        while not stop.is_set():
            numbers, waiting = waiting[:WINDOW], waiting[WINDOW:]
            while len(numbers) < WINDOW:
                numbers.append(len(source.fate))
                source.fate.append(UNKNOWN)
                source.sent_at.append(0.0)
                source.acked_at.append(None)
            topic = f"v1/d/{source.name}/t/ride"
            by_id, now = dict(enumerate(numbers, 1)), time.time()
            for number in numbers:
                source.sent_at[number] = now
            link.publish((i, topic, json.dumps(self.sample(source, n)).encode())
                         for i, n in by_id.items())
            while by_id and not stop.is_set():
                answer = link.acknowledged(0.2)
                if answer is not None:
                    self.acked(source, by_id.pop(answer[0]), answer[1])
            stop.wait(self.pace * WINDOW)
        # What is on its way is taken; after that it is unknown.
        while by_id and (answer := link.acknowledged(0.3)) is not None:
            self.acked(source, by_id.pop(answer[0]), answer[1])

    def upload(self, server, source, stop):
        while not stop.is_set():
            unknown = [n for n in range(0, len(source.fate), BATCH) if source.fate[n] == UNKNOWN]
            first = unknown[0] if unknown else len(source.fate)
            if not unknown:
                source.fate += [UNKNOWN] * BATCH
                source.sent_at += [0.0] * BATCH
                source.acked_at += [None] * BATCH
            self.upload_one(server, source, first)
            stop.wait(self.pace * BATCH * 2)

    def upload_one(self, server, source, first):
        numbers = range(first, first + BATCH)
        body = {"device": source.name, "stream": "ride",
                "samples": [self.sample(source, number) for number in numbers]}
        now = time.time()
        for number in numbers:
            source.sent_at[number] = now
        try:
            key = f"{self.seed}-{source.name}-{first}"
            status, said = server.call("POST", "/api/v1/uploads", body, {"Idempotency-Key": key},
                                       timeout=5)
        except OSError:
            return time.sleep(0.02)
        if status == 200:
            if said["stored"] != BATCH:
                self.example(f"upload {key}: {said}")
            source.receipts[first] = said["upload"]
            for number in numbers:
                self.acked(source, number)
        elif status in (429, 500, 503, 507):
            time.sleep(0.1)
        else:
            self.example(f"upload {key}: {status} {said}")
            for number in numbers:
                source.fate[number] = REFUSED
        return None

    def example(self, words):
        if len(self.examples) < 20:
            self.examples.append(words)

    # -- reading back

    def check(self, server, everything=False):
        """Compares what is visible with what was sent; what must not be, by name.

        Rows that were settled by an earlier check are read again only with `everything`.
        """
        server.settle()
        found = dict.fromkeys(
            ("lost", "doubled", "phantom", "corrupt", "partial", "latest", "law"), 0)
        for source in self.devices + self.apps:
            since = 0 if everything else source.checked
            seen = self.visible(server, source, since, found)
            for number in range(since, len(source.fate)):
                if source.fate[number] == ACKED and number not in seen:
                    found["lost"] += 1
                    self.example(f"lost: {source.name} {number}")
                if source.fate[number] == REFUSED and number in seen:
                    found["phantom"] += 1
            if source in self.apps:
                self.check_uploads(server, source, since, seen, found)
            self.check_latest(server, source, seen, found)
            # What is unknown at the end of a round is sent again in the next.
            unknown = (n for n in range(since, len(source.fate)) if source.fate[n] == UNKNOWN)
            source.checked = next(unknown, len(source.fate))
        self.check_law(server, found)
        return found

    def visible(self, server, source, since, found):
        seen = set()
        for begin in range(since, len(source.fate) + PAGE, PAGE):
            rows = server.query(
                f"SELECT odometer_km, {FIELDS} FROM ride WHERE device = '{source.name}' "
                f"AND odometer_km >= {begin} AND odometer_km < {begin + PAGE}")
            for number, *values in rows:
                number = int(number)
                if number >= len(source.fate):
                    found["phantom"] += 1
                elif number in seen:
                    found["doubled"] += 1
                    self.example(f"doubled: {source.name} {number}")
                elif values != content(self.seed, source.name, number):
                    found["corrupt"] += 1
                    self.example(f"corrupt: {source.name} {number}: {values}")
                seen.add(number)
        return seen

    def check_uploads(self, server, source, since, seen, found):
        for first in range(since - since % BATCH, len(source.fate), BATCH):
            there = sum(number in seen for number in range(first, first + BATCH))
            found["partial"] += first >= since and there not in (0, BATCH)
        # The last one that was answered is repeated: it must have the same receipt.
        if source.receipts and (first := max(source.receipts)) >= since:
            before = source.receipts[first]
            self.upload_one(server, source, first)
            if source.receipts[first] != before:
                found["doubled"] += 1
                self.example(f"another receipt: {source.name} {first}")

    def check_latest(self, server, source, seen, found):
        if seen:
            fields = server.call("GET", f"/api/v1/devices/{source.name}/state")[1]["fields"]
            latest = fields.get("ride.odometer_km", {}).get("value")
            if latest is None or int(latest) < max(seen):
                found["latest"] += 1
                self.example(f"latest: {source.name} {latest}, not {max(seen)}")

    def check_law(self, server, found):
        server.settle()
        text = server.call("GET", "/metrics", listener="ops")[1]
        rows = {line.split('"')[1]: float(line.split()[-1]) for line in text.splitlines()
                if line.startswith("axle_ingest_records_total{")}
        received = rows.pop("received")
        if received != sum(rows.values()):
            found["law"] += 1
            self.example(f"received {received}, but {rows}")

    def acked_after(self, moment):
        """Rows that were sent after a moment and acknowledged all the same."""
        return sum(1 for source in self.devices + self.apps
                   for sent, acked in zip(source.sent_at, source.acked_at)
                   if acked is not None and sent > moment and acked > moment)

    def figures(self):
        fates = [fate for source in self.devices + self.apps for fate in source.fate]
        return {"sent": len(fates), "acked": fates.count(ACKED),
                "refused": fates.count(REFUSED), "unknown": fates.count(UNKNOWN)}
