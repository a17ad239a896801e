"""F30: a bad network between devices and server, as a relay that delays, cuts, resets and forgets."""

import random
import socket
import struct
import threading
import time

from kill import finish

KEEP_ALIVE_S = 4
# How long a round loads over the bad network.
ROUND_S = 6
# 64 kbit/s.
SLOW_BYTES_PER_S = 8000
# How soon a device gives up on a connection of which nothing comes any more.
GIVE_UP_S = 1.5
KINDS = ("good", "late", "slow", "bytes", "reset", "lost", "lost")


class Relay:
    """Stands before a listener. Each connection has an illness of its own, drawn from a seed."""

    def __init__(self, target, seed):
        self.target, self.random = target, random.Random(seed)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.is_silent, self.counts, self.open = False, {}, []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                host, port = self.target.rsplit(":", 1)
                server = socket.create_connection((host, int(port)))
            except OSError:
                return
            kind, draw = self.random.choice(KINDS), random.Random(self.random.random())
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.open += [client, server]
            # Both directions fall silent after so many bytes, but not before a handshake is through.
            fate = {"kind": kind, "left": draw.randrange(4000, 60_000), "draw": draw}
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for here, there in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=(here, there, client, fate),
                                 daemon=True).start()

    def pump(self, here, there, client, fate):
        kind, draw = fate["kind"], fate["draw"]
        try:
            while piece := here.recv(16_384):
                fate["left"] -= len(piece)
                if kind == "lost" and fate["left"] < 0:
                    # Like an address translation that was forgotten: the server hears nothing.
                    time.sleep(GIVE_UP_S)
                    reset(client)
                    return
                if kind == "reset" and draw.random() < 0.05:
                    reset(here)
                    reset(there)
                    return
                if kind == "late":
                    time.sleep(0.3 + draw.uniform(-0.1, 0.1))
                if self.is_silent:
                    return
                for part in parts(kind, piece):
                    there.sendall(part)
            if not self.is_silent:
                there.shutdown(socket.SHUT_WR)
        except OSError:
            if not self.is_silent and kind != "lost":
                there.close()

    def fall_silent(self):
        """From now on nothing passes, an end neither: every connection is half open."""
        self.is_silent = True
        self.listener.close()

    def close(self):
        self.listener.close()
        for one in self.open:
            one.close()


def parts(kind, piece):
    if kind == "bytes":
        yield from (piece[at:at + 1] for at in range(len(piece)))
    elif kind == "slow":
        for at in range(0, len(piece), 1000):
            part = piece[at:at + 1000]
            time.sleep(len(part) / SLOW_BYTES_PER_S)
            yield part
    else:
        yield piece


def reset(one):
    """Ends a connection with RST."""
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RD)
        one.close()
    except OSError:
        pass


def bad_network(bench):
    """QoS 1 completes over every illness; who is half open is noticed by the keep alive."""
    server, ledger = bench.fleet(devices=10, keep_alive=KEEP_ALIVE_S)
    direct = server.addresses["mqtts"]
    for _ in range(bench.rounds):
        relay = Relay(direct, bench.random.random())
        server.addresses["mqtts"] = relay.address
        end = bench.load(server, ledger)
        came = bench.await_ack(ledger)
        bench.found({"unexpected": not came}, "no acknowledgement over the bad network")
        time.sleep(ROUND_S)
        relay.fall_silent()
        silent_at = time.time()
        end()
        while connections(server) and time.time() < silent_at + 1.5 * KEEP_ALIVE_S + 5:
            time.sleep(0.05)
        left = connections(server)
        bench.found({"unexpected": left}, f"{left} half-open connections stay")
        bench.notes["noticed_ms_max"] = max(bench.notes.get("noticed_ms_max", 0),
                                            round((time.time() - silent_at) * 1000))
        for kind, count in relay.counts.items():
            bench.note(f"{kind}_links", count)
        relay.close()
        # What is unknown is sent again over a good one, and all of it completes.
        server.addresses["mqtts"] = direct
        end = bench.load(server, ledger)
        bench.await_ack(ledger)
        time.sleep(1)
        end()
        bench.check(server, ledger)
        # No start of a server comes before these.
        bench.first_acks.clear()
        bench.done += 1
    finish(bench, server, ledger)


def connections(server):
    """How many clients the server takes for connected."""
    text = server.call("GET", "/metrics", listener="ops")[1]
    return sum(int(float(line.split()[-1])) for line in text.splitlines()
               if line.startswith("axle_mqtt_connections"))


CASES = {"bad-network": (bad_network, 1, 20, "delays, single bytes, resets, silence")}
