"""Devices that nobody here wrote: mosquitto's clients and paho, in both versions of MQTT."""

import json
import queue
import shlex
import ssl
import subprocess
import threading

import paho.mqtt.client as mqtt
import pytest

VERSIONS = [mqtt.MQTTv311, mqtt.MQTTv5]


class Device:
    """A paho client with the files that `device add` wrote."""

    def __init__(self, server, keys, name, version, client_id=None, certificate=None):
        certificate = certificate or name
        self.events = queue.Queue()
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=client_id or name, protocol=version
        )
        self.client.tls_set(
            ca_certs=keys / "ca.crt",
            certfile=keys / f"{certificate}.crt",
            keyfile=keys / f"{certificate}.key",
            tls_version=ssl.PROTOCOL_TLS_CLIENT,
        )
        self.client.on_connect = lambda c, u, f, reason, p: self.events.put(("connect", reason))
        self.client.on_disconnect = lambda c, u, f, reason, p: self.events.put(("disconnect", reason))
        self.client.on_publish = lambda c, u, mid, reason, p: self.events.put(("puback", reason))
        self.client.on_subscribe = lambda c, u, mid, reasons, p: self.events.put(("suback", reasons))
        self.client.on_message = lambda c, u, message: self.events.put(("message", message))
        host, port = server.host_port("mqtts")
        self.client.connect(host, port, keepalive=30)
        self.client.loop_start()

    def wait(self, kind):
        """The next event of a kind; others are passed over."""
        while True:
            seen, value = self.events.get(timeout=20)
            if seen == kind:
                return value

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def shell(line, **options):
    return subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=30, **options)


def printed_line(printed, program):
    lines = printed.replace("\\\n", " ").splitlines()
    return next(line.strip() for line in lines if line.strip().startswith(program))


def test_the_printed_line_works_as_printed(server):
    _keys, printed = server.add_device("b-1")
    done = shell(printed_line(printed, "mosquitto_pub"))
    assert done.returncode == 0, done.stderr
    server.settle()
    assert server.query("SELECT count(*) FROM status WHERE device = 'b-1'") == [[1]]


@pytest.mark.parametrize("version", ["mqttv311", "mqttv5"])
def test_mosquitto_publishes_and_takes_a_command(server, version):
    keys, printed = server.add_device("b-2")
    host, port = server.host_port("mqtts")
    tls = f"--cafile {keys}/ca.crt --cert {keys}/b-2.crt --key {keys}/b-2.key"
    base = f"-h {host} -p {port} {tls} -V {version} -q 1"
    listener = subprocess.Popen(
        shlex.split(f"mosquitto_sub {base} -i b-2/listen -t v1/d/b-2/c/+/+ -v -C 1 -W 20"),
        stdout=subprocess.PIPE, text=True,
    )
    command = server.api("POST", "/api/v1/devices/b-2/commands",
                         {"name": "unlock", "payload": {"bay": 7}, "timeout_s": 60})
    topic, payload = listener.communicate(timeout=30)[0].strip().split(" ", 1)
    assert topic == f"v1/d/b-2/c/{command['id']}/unlock"
    assert json.loads(payload)["payload"] == {"bay": 7}
    reply = f"v1/d/b-2/c/{command['id']}/r"
    done = shell(f"mosquitto_pub {base} -i b-2 -t {reply} -m '{{\"status\":\"succeeded\",\"result\":1}}'")
    assert done.returncode == 0, done.stderr
    server.settle()
    seen = server.api("GET", f"/api/v1/commands/{command['id']}")
    assert seen["status"] == "succeeded" and seen["result"] == 1, seen
    assert "delivered" in [step["status"] for step in seen["history"]], seen


def test_the_command_line_waits_for_the_answer(server):
    keys, _ = server.add_device("b-3")
    device = Device(server, keys, "b-3", mqtt.MQTTv5)
    device.client.subscribe("v1/d/b-3/c/+/+", qos=1)
    device.wait("suback")

    def answer():
        message = device.wait("message")
        command = json.loads(message.payload)["id"]
        device.client.publish(f"v1/d/b-3/c/{command}/r", '{"status":"succeeded"}', qos=1)

    threading.Thread(target=answer, daemon=True).start()
    server.axle("command", "send", "b-3", "lock", "--wait", "--timeout", "20s")
    device.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_paho_publishes_a_thousand_and_all_are_there(server, version):
    keys, _ = server.add_device("b-4")
    device = Device(server, keys, "b-4", version)
    assert not device.wait("connect").is_failure
    base = 1_700_000_000_000
    for index in range(1000):
        sample = json.dumps({"time": base + index, "speed_kmh": index / 4})
        device.client.publish("v1/d/b-4/t/ride", sample, qos=1)
    for _ in range(1000):
        assert not device.wait("puback").is_failure
    device.close()
    server.settle()
    rows = server.query("SELECT count(*), count(DISTINCT time), sum(speed_kmh) FROM ride WHERE device = 'b-4'")
    assert rows == [[1000, 1000, sum(index / 4 for index in range(1000))]]


def test_a_foreign_topic_is_refused_with_its_reason(server):
    keys, _ = server.add_device("b-5")
    device = Device(server, keys, "b-5", mqtt.MQTTv5)
    device.client.publish("v1/d/b-6/t/ride", "{}", qos=1)
    assert device.wait("puback").value == 0x87
    device.client.subscribe([("v1/d/b-6/c/#", mqtt.SubscribeOptions(qos=1)),
                             ("v1/d/b-5/c/#", mqtt.SubscribeOptions(qos=1))])
    assert [reason.value for reason in device.wait("suback")] == [0x87, 1]
    device.close()


def test_another_devices_client_id_is_refused_and_the_owner_stays(server):
    keys, _ = server.add_device("b-7")
    server.add_device("b-8")
    owner = Device(server, keys, "b-7", mqtt.MQTTv5)
    owner.wait("connect")
    thief = Device(server, keys, "b-8", mqtt.MQTTv5, client_id="b-7", certificate="b-8")
    assert thief.wait("connect").value in (0x85, 0x87)
    thief.close()
    owner.client.publish("v1/d/b-7/t/ride", "{}", qos=1)
    assert not owner.wait("puback").is_failure
    owner.close()


def test_a_revoked_device_is_thrown_out_and_stays_out(server):
    keys, _ = server.add_device("b-9")
    device = Device(server, keys, "b-9", mqtt.MQTTv5)
    device.wait("connect")
    server.axle("device", "revoke", "b-9")
    assert device.wait("disconnect").value in (0x87, 0x98)
    device.close()
    late = Device(server, keys, "b-9", mqtt.MQTTv5)
    assert late.wait("connect").value in (0x86, 0x87)
    late.close()


def test_nobody_enters_without_a_certificate(server):
    keys, _ = server.add_device("b-10")
    host, port = server.host_port("mqtts")
    done = shell(f"mosquitto_pub -h {host} -p {port} --cafile {keys}/ca.crt -i b-10 "
                 "-t v1/d/b-10/t/ride -m {} -q 1")
    assert done.returncode != 0


def test_the_plain_listener_serves_local_tools(server):
    host, port = server.host_port("mqtt")
    listener = subprocess.Popen(
        shlex.split(f"stdbuf -oL mosquitto_sub -h {host} -p {port} -i tool-1 -t plant/+/line -C 1 -W 20 -d"),
        stdout=subprocess.PIPE, text=True,
    )
    while "SUBACK" not in listener.stdout.readline():
        pass
    done = shell(f"mosquitto_pub -h {host} -p {port} -i tool-2 -t plant/7/line -m stop -q 1")
    assert done.returncode == 0, done.stderr
    assert "stop" in listener.communicate(timeout=30)[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_acknowledged_survives_a_kill(server, version):
    keys, _ = server.add_device("b-11")
    device = Device(server, keys, "b-11", version)
    device.wait("connect")
    for index in range(200):
        sample = json.dumps({"time": 1_700_000_000_000 + index, "speed_kmh": index})
        device.client.publish("v1/d/b-11/t/ride", sample, qos=1)
    for _ in range(200):
        device.wait("puback")
    server.kill()
    device.client.loop_stop()
    server.start()
    server.settle()
    rows = server.query("SELECT count(*), count(DISTINCT time) FROM ride WHERE device = 'b-11'")
    assert rows == [[200, 200]]
