//! What was asked for, and how a connection is made and spoken on.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;

use crate::lane::Socket;

const PACKET_BYTES: usize = 470;

/// Handshakes at once while connections are made that are not themselves measured.
pub(crate) const AT_ONCE: usize = 64;

pub(crate) struct Plan {
    pub(crate) words: HashMap<String, String>,
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
}

impl Plan {
    pub(crate) fn text(&self, name: &str, otherwise: &str) -> String {
        self.words.get(name).map_or_else(|| otherwise.to_owned(), Clone::clone)
    }

    pub(crate) fn number(&self, name: &str, otherwise: usize) -> usize {
        self.words.get(name).map_or(otherwise, |text| text.parse().unwrap())
    }

    pub(crate) fn connections(&self) -> usize {
        self.number("connections", 100)
    }

    pub(crate) fn seconds(&self) -> u64 {
        self.number("seconds", 5) as u64
    }

    pub(crate) async fn socket(&self) -> std::io::Result<Box<dyn Socket>> {
        let socket = TcpStream::connect(self.text("at", "127.0.0.1:1883")).await?;
        socket.set_nodelay(true)?;
        Ok(match &self.tls {
            Some(config) => {
                let name = ServerName::try_from("localhost").unwrap();
                let connector = TlsConnector::from(Arc::clone(config));
                Box::new(connector.connect(name, socket).await?)
            }
            None => Box::new(socket),
        })
    }

    /// One connection that the broker has accepted.
    pub(crate) async fn connect(&self, name: &str, is_clean: bool) -> Box<dyn Socket> {
        self.try_connect(name, is_clean).await.unwrap()
    }

    pub(crate) async fn try_connect(
        &self,
        name: &str,
        is_clean: bool,
    ) -> std::io::Result<Box<dyn Socket>> {
        let mut socket = self.socket().await?;
        let (user, password) = (self.text("user", ""), self.text("password", ""));
        let mut flags = if is_clean { 2 } else { 0 };
        let mut body = b"\x00\x04MQTT\x04\x00\x00\x00".to_vec();
        put_text(&mut body, &format!("{}{name}", self.text("client", "load-")));
        if !user.is_empty() {
            flags |= 0xc0;
            put_text(&mut body, &user);
            put_text(&mut body, &password);
        }
        body[7] = flags;
        socket.write_all(&packet(0x10, &body)).await?;
        socket.flush().await?;
        let mut answer = [0; 4];
        socket.read_exact(&mut answer).await?;
        if answer[..2] != [0x20, 2] || answer[3] != 0 {
            return Err(std::io::Error::other(format!("refused: {answer:?}")));
        }
        Ok(socket)
    }

    pub(crate) async fn connect_all(self: &Arc<Self>, is_clean: bool) -> Vec<Box<dyn Socket>> {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let connecting: Vec<_> = (0..self.connections())
            .map(|number| {
                let (plan, turns) = (Arc::clone(self), Arc::clone(&turns));
                tokio::spawn(async move {
                    let _turn = turns.acquire().await.unwrap();
                    plan.connect(&number.to_string(), is_clean).await
                })
            })
            .collect();
        let mut sockets = Vec::new();
        for one in connecting {
            sockets.push(one.await.unwrap());
        }
        sockets
    }

    pub(crate) fn publish(&self, topic: &str) -> (Vec<u8>, usize) {
        let mut body = Vec::new();
        put_text(&mut body, topic);
        let id_at = body.len() + 3;
        body.resize(PACKET_BYTES - 3, b'x');
        (packet(0x32, &body), id_at)
    }
}

pub(crate) fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(&(text.len() as u16).to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut left = body.len();
    loop {
        let more = if left > 127 { 0x80 } else { 0 };
        packet.push((left & 0x7f) as u8 | more);
        left >>= 7;
        if left == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

pub(crate) async fn read_packet<S: AsyncRead + Unpin + ?Sized>(
    socket: &mut S,
) -> Option<(u8, Vec<u8>)> {
    let first = socket.read_u8().await.ok()?;
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let byte = socket.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    Some((first, body))
}

pub(crate) async fn subscribe(socket: &mut Box<dyn Socket>, filter: &str) {
    let mut body = vec![0, 1];
    put_text(&mut body, filter);
    body.push(1);
    socket.write_all(&packet(0x82, &body)).await.unwrap();
    socket.flush().await.unwrap();
    let (first, answer) = read_packet(socket).await.unwrap();
    assert!(first == 0x90 && answer[2] < 0x80, "subscription refused: {first:#x} {answer:?}");
}

pub(crate) fn client_tls(dir: &Path) -> Arc<rustls::ClientConfig> {
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&read("ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::pem_slice_iter(&read("client.crt")).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(&read("client.key")).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    // Whole handshakes are measured, not tickets.
    config.resumption = rustls::client::Resumption::disabled();
    Arc::new(config)
}
