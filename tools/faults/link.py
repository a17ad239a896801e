"""The little of MQTT 5 that a device needs to publish at QoS 1 with its certificate."""

import socket
import ssl
import struct


class Link:
    """One connection of one device."""

    def __init__(self, address, device, keys, timeout=5, keep_alive=300):
        host, port = address.rsplit(":", 1)
        context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
        context.load_cert_chain(keys / f"{device}.crt", keys / f"{device}.key")
        plain = socket.create_connection((host.strip("[]"), int(port)), timeout=timeout)
        # An answer behind a PUBACK would wait 40 ms for the peer's delayed acknowledgement.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket = context.wrap_socket(plain, server_hostname=host.strip("[]"))
        except BaseException:
            plain.close()
            raise
        self.buffer = b""
        try:
            self.socket.sendall(connect(device, keep_alive))
            kind, answer = self.read(timeout)
            if kind != 0x20 or answer[1] != 0:
                raise OSError(f"CONNACK {answer[:2].hex()}")
        except BaseException:
            self.close()
            raise

    def publish(self, messages):
        """Sends `(packet id, topic, payload)`s in one write."""
        self.socket.settimeout(5)
        self.socket.sendall(b"".join(
            packet(0x32, text(topic) + struct.pack(">H", number) + b"\0" + payload)
            for number, topic, payload in messages))

    def acknowledged(self, timeout):
        """The next PUBACK as `(packet id, reason code)`; None when none came in time."""
        try:
            kind, body = self.read(timeout)
        except TimeoutError:
            return None
        if kind & 0xf0 == 0xe0:
            raise OSError(f"DISCONNECT {body[:1].hex()}")
        if kind != 0x40:
            raise OSError(f"unexpected packet {kind:#x}")
        return struct.unpack(">H", body[:2])[0], body[2] if len(body) > 2 else 0

    def read(self, timeout):
        while (whole := self.take()) is None:
            self.socket.settimeout(timeout)
            more = self.socket.recv(65536)
            if not more:
                raise OSError("the server has closed the connection")
            self.buffer += more
        return whole

    def take(self):
        length = shift = 0
        for at in range(1, min(5, len(self.buffer))):
            length |= (self.buffer[at] & 127) << shift
            shift += 7
            if self.buffer[at] < 128:
                end = at + 1 + length
                if len(self.buffer) < end:
                    return None
                kind, body = self.buffer[0], self.buffer[at + 1:end]
                self.buffer = self.buffer[end:]
                return kind, body
        return None

    def close(self):
        self.socket.close()


def connect(device, keep_alive=300):
    """CONNECT of MQTT 5 that begins anew."""
    body = text("MQTT") + bytes([5, 2]) + struct.pack(">H", keep_alive) + b"\0" + text(device)
    return packet(0x10, body)


def text(value):
    encoded = value.encode()
    return struct.pack(">H", len(encoded)) + encoded


def packet(kind, body):
    length, digits = len(body), []
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (128 if length else 0))
        if not length:
            return bytes([kind, *digits]) + body
