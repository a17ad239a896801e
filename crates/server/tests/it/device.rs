//! A device: the few MQTT 3.1.1 packets that it needs, over TLS with its own certificate.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// A packet: first byte, and what follows the length.
type Packet = (u8, Vec<u8>);

pub(crate) struct Device {
    stream: StreamOwned<ClientConnection, TcpStream>,
}

impl Device {
    /// Connects with the files that `axle device add` wrote.
    pub(crate) fn connect(address: &str, keys: &Path, id: &str) -> Self {
        let pem = |name: String| std::fs::read(keys.join(name)).unwrap();
        let certificate = |name: String| CertificateDer::from_pem_slice(&pem(name)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca.crt".to_owned())).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![certificate(format!("{id}.crt"))],
                PrivateKeyDer::from_pem_slice(&pem(format!("{id}.key"))).unwrap(),
            )
            .unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut device = Self { stream: StreamOwned::new(connection, socket) };
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60];
        put_text(&mut body, id);
        device.write(0x10, &body);
        assert_eq!(device.read(), (0x20, vec![0, 0]), "CONNACK");
        device
    }

    /// Publishes at QoS 1 and waits for the acknowledgement.
    pub(crate) fn publish(&mut self, topic: &str, payload: &str) {
        let mut body = Vec::new();
        put_text(&mut body, topic);
        body.extend([0, 7]);
        body.extend(payload.as_bytes());
        self.write(0x32, &body);
        assert_eq!(self.read(), (0x40, vec![0, 7]), "PUBACK");
    }

    pub(crate) fn subscribe(&mut self, filter: &str) {
        let mut body = vec![0, 9];
        put_text(&mut body, filter);
        body.push(1);
        self.write(0x82, &body);
        assert_eq!(self.read(), (0x90, vec![0, 9, 1]), "SUBACK");
    }

    /// The next message: topic and payload. Acknowledges it.
    pub(crate) fn receive(&mut self) -> (String, String) {
        let (first, body) = self.read();
        assert_eq!(first & 0xf6, 0x32, "a PUBLISH at QoS 1");
        let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let (topic, rest) = body[2..].split_at(length);
        self.write(0x40, &rest[..2]);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(topic), text(&rest[2..]))
    }

    fn write(&mut self, first: u8, body: &[u8]) {
        let mut packet = vec![first];
        let mut length = body.len();
        loop {
            let low = u8::try_from(length % 128).unwrap();
            length /= 128;
            packet.push(if length > 0 { low | 0x80 } else { low });
            if length == 0 {
                break;
            }
        }
        packet.extend(body);
        self.stream.write_all(&packet).unwrap();
    }

    fn read(&mut self) -> Packet {
        let first = self.byte();
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        (first, body)
    }

    fn byte(&mut self) -> u8 {
        let mut byte = [0];
        self.stream.read_exact(&mut byte).unwrap();
        byte[0]
    }
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    body.extend(text.as_bytes());
}
