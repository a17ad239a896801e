"""Backend applications with clients that nobody here wrote: sessions that outlive connections and
kill -9, QoS 2 towards the subscriber, shared subscriptions."""

import json
import queue
import ssl
import time

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from test_devices import VERSIONS, Device

FILTER = "v1/d/+/t/#"


def application(server, name):
    """Makes an application that may read telemetry; its token."""
    return json.loads(server.axle("application", "create", name, "--subscribe", FILTER, "--json"))["token"]


class Application:
    """A paho client that proves itself by a token and keeps its session."""

    def __init__(self, server, ca, client_id, token, version):
        self.events = queue.Queue()
        options = {} if version == mqtt.MQTTv5 else {"clean_session": False}
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=version, **options
        )
        self.client.username_pw_set("application", token)
        self.client.tls_set(ca_certs=ca, tls_version=ssl.PROTOCOL_TLS_CLIENT)
        self.client.on_connect = lambda c, u, flags, reason, p: self.events.put((flags, reason))
        self.client.on_subscribe = lambda c, u, mid, reasons, p: self.events.put(reasons)
        self.messages = queue.Queue()
        self.client.on_message = lambda c, u, message: self.messages.put(message)
        host, port = server.host_port("mqtts")
        if version == mqtt.MQTTv5:
            kept = Properties(PacketTypes.CONNECT)
            kept.SessionExpiryInterval = 3600
            self.client.connect(host, port, clean_start=False, properties=kept)
        else:
            self.client.connect(host, port)
        self.client.loop_start()
        flags, reason = self.events.get(timeout=20)
        assert not reason.is_failure, reason
        self.has_session = flags.session_present

    def subscribe(self, topic_filter, qos):
        self.client.subscribe(topic_filter, qos=qos)
        (reason,) = self.events.get(timeout=20)
        assert not reason.is_failure, reason

    def take(self, count):
        """So many messages, and not one more among them twice."""
        return [json.loads(self.messages.get(timeout=20).payload)["odometer_km"] for _ in range(count)]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


def publish(device, numbers):
    for number in numbers:
        sample = json.dumps({"odometer_km": number})
        device.client.publish("v1/d/b-1/t/status", sample, qos=1 + number % 2)
        assert not device.wait("puback").is_failure


@pytest.mark.parametrize("version", VERSIONS)
def test_a_kept_session_gets_everything_once_over_a_kill(server, version):
    keys, _ = server.add_device("b-1")
    token = application(server, "backend")
    reader = Application(server, keys / "ca.crt", "backend", token, version)
    assert not reader.has_session
    reader.subscribe(FILTER, 2)
    device = Device(server, keys, "b-1", version)
    publish(device, range(10))
    assert sorted(reader.take(10)) == list(range(10))
    reader.close()
    publish(device, range(100, 150))
    device.close()
    server.kill()
    server.start()
    reader = Application(server, keys / "ca.crt", "backend", token, version)
    assert reader.has_session
    assert sorted(reader.take(50)) == list(range(100, 150))
    # What comes next is new: nothing came twice.
    device = Device(server, keys, "b-1", version)
    publish(device, [200])
    assert reader.take(1) == [200]
    device.close()
    reader.close()


def test_members_of_a_group_share_messages(server):
    keys, _ = server.add_device("b-1")
    token = application(server, "backend")
    members = [
        Application(server, keys / "ca.crt", f"backend/{number}", token, mqtt.MQTTv5)
        for number in range(3)
    ]
    for member in members:
        member.subscribe(f"$share/readers/{FILTER}", 1)
    device = Device(server, keys, "b-1", mqtt.MQTTv5)
    publish(device, range(60))
    seen = {}
    deadline = time.monotonic() + 20
    while sum(map(len, seen.values())) < 60:
        assert time.monotonic() < deadline, seen
        time.sleep(0.01)
        for number, member in enumerate(members):
            while not member.messages.empty():
                seen.setdefault(number, []).append(*member.take(1))
    assert sorted(sum(seen.values(), [])) == list(range(60))
    assert len(seen) == 3, "each had a part"
    for client in [device, *members]:
        client.close()


def test_an_application_reads_what_was_granted_and_nothing_else(server):
    keys, _ = server.add_device("b-1")
    token = application(server, "backend")
    reader = Application(server, keys / "ca.crt", "backend", token, mqtt.MQTTv5)
    for beyond in ["#", "v1/d/+/c/#", "v1/d/#", "$SYS/#"]:
        reader.client.subscribe(beyond, qos=1)
        (reason,) = reader.events.get(timeout=20)
        assert reason.is_failure, beyond
    # Without any token left the handshake itself would demand a certificate.
    application(server, "other")
    server.axle("application", "revoke", "backend")
    with pytest.raises(AssertionError):
        Application(server, keys / "ca.crt", "backend", token, mqtt.MQTTv5)
    reader.close()
