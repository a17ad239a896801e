"""Devices that ask for their identity themselves, with the AWS IoT device SDK: a claim's certificate
brings each its own, by the topics of AWS fleet provisioning."""

import concurrent.futures
import json
import queue
import subprocess

import pytest
from awscrt import mqtt, mqtt5
from awsiot import iotidentity, mqtt5_client_builder, mqtt_connection_builder

TEMPLATE = "line-7"
PATIENCE = 20


@pytest.fixture
def claim(server):
    """The certificate of a claim for bikes; its folder."""
    folder = server.folder / "claim"
    server.axle("application", "create", TEMPLATE, "--claim", "bike-*", "--kind", "bike", "--count", "5")
    server.axle("application", "certify", TEMPLATE, "--out", str(folder))
    return folder


class Connection3:
    """The SDK's MQTT 3.1.1 client."""

    def __init__(self, server, certificate, key, authority, client_id):
        host, port = server.host_port("mqtts")
        self.made = mqtt_connection_builder.mtls_from_path(
            endpoint=host, port=port, cert_filepath=str(certificate), pri_key_filepath=str(key),
            ca_filepath=str(authority), client_id=client_id, clean_session=True, keep_alive_secs=30,
        )
        self.made.connect().result(PATIENCE)

    def publish(self, topic, payload):
        future, _ = self.made.publish(topic, payload, mqtt.QoS.AT_LEAST_ONCE)
        future.result(PATIENCE)

    def close(self):
        self.made.disconnect().result(PATIENCE)


class Connection5:
    """The SDK's MQTT 5 client."""

    def __init__(self, server, certificate, key, authority, client_id):
        host, port = server.host_port("mqtts")
        connected, self.stopped = concurrent.futures.Future(), concurrent.futures.Future()
        self.made = mqtt5_client_builder.mtls_from_path(
            endpoint=host, port=port, cert_filepath=str(certificate), pri_key_filepath=str(key),
            ca_filepath=str(authority), client_id=client_id,
            on_lifecycle_connection_success=connected.set_result,
            on_lifecycle_connection_failure=lambda it: connected.set_exception(it.exception),
            on_lifecycle_stopped=self.stopped.set_result,
        )
        self.made.start()
        connected.result(PATIENCE)

    def publish(self, topic, payload):
        packet = mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS.AT_LEAST_ONCE)
        done = self.made.publish(packet).result(PATIENCE)
        assert done.puback.reason_code == mqtt5.PubackReasonCode.SUCCESS

    def close(self):
        self.made.stop()
        self.stopped.result(PATIENCE)


class Asking:
    """What a device does that has nothing but the claim."""

    def __init__(self, connection):
        self.identity = iotidentity.IotIdentityClient(connection.made)
        self.answers = queue.Queue()

    def subscribe(self, what, request):
        for answer in ("accepted", "rejected"):
            ask = getattr(self.identity, f"subscribe_to_{what}_{answer}")
            future, _ = ask(request, mqtt.QoS.AT_LEAST_ONCE, self.answers.put)
            future.result(PATIENCE)

    def certificate(self, request):
        self.subscribe("create_certificate_from_csr", iotidentity.CreateCertificateFromCsrSubscriptionRequest())
        asked = iotidentity.CreateCertificateFromCsrRequest(certificate_signing_request=request)
        self.identity.publish_create_certificate_from_csr(asked, mqtt.QoS.AT_LEAST_ONCE).result(PATIENCE)
        return self.answers.get(timeout=PATIENCE)

    def register(self, token, device):
        wanted = iotidentity.RegisterThingSubscriptionRequest(template_name=TEMPLATE)
        self.subscribe("register_thing", wanted)
        asked = iotidentity.RegisterThingRequest(
            template_name=TEMPLATE, certificate_ownership_token=token,
            parameters={"SerialNumber": device},
        )
        self.identity.publish_register_thing(asked, mqtt.QoS.AT_LEAST_ONCE).result(PATIENCE)
        return self.answers.get(timeout=PATIENCE)


def new_request(folder, device):
    """A key of the device's own, and its signing request."""
    key = folder / f"{device}.key"
    made = subprocess.run(
        ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", str(key), "-subj", f"/CN={device}"],
        capture_output=True, text=True, check=True, timeout=30,
    )
    return key, made.stdout


@pytest.mark.parametrize("kind", [Connection3, Connection5])
def test_a_device_gets_its_own_certificate_and_publishes_with_it(server, claim, kind):
    authority = claim / "ca.crt"
    shared = kind(server, claim / f"{TEMPLATE}.crt", claim / f"{TEMPLATE}.key", authority, f"{TEMPLATE}/station")
    asking = Asking(shared)
    key, request = new_request(server.folder, "bike-1")
    signed = asking.certificate(request)
    assert isinstance(signed, iotidentity.CreateCertificateFromCsrResponse), vars(signed)
    thing = asking.register(signed.certificate_ownership_token, "bike-1")
    assert isinstance(thing, iotidentity.RegisterThingResponse), vars(thing)
    assert thing.thing_name == "bike-1"
    shared.close()

    certificate = server.folder / "bike-1.crt"
    certificate.write_text(signed.certificate_pem)
    device = kind(server, certificate, key, authority, "bike-1")
    device.publish("v1/d/bike-1/t/status", json.dumps({"odometer_km": 1}))
    device.close()
    server.settle()
    assert server.query("SELECT odometer_km FROM status WHERE device = 'bike-1'") == [[1]]


def test_what_a_claim_may_not_bring_is_rejected_in_words(server, claim):
    shared = Connection3(
        server, claim / f"{TEMPLATE}.crt", claim / f"{TEMPLATE}.key", claim / "ca.crt", TEMPLATE
    )
    asking = Asking(shared)
    _, request = new_request(server.folder, "scooter-1")
    signed = asking.certificate(request)
    refused = asking.register(signed.certificate_ownership_token, "scooter-1")
    assert isinstance(refused, iotidentity.ErrorResponse), vars(refused)
    assert refused.status_code == 403 and refused.error_message
    shared.close()
