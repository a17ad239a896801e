//! A client of another library speaks with the socket through pipes of all widths.

use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use rustls_pki_types::{PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

type Accepting = JoinHandle<Result<TlsSocket<DuplexStream>, IoError>>;
type Client = TlsStream<DuplexStream>;

fn configs(of: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, ClientConfig) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[of])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[of])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), client)
}

async fn pair(width: usize, of: &'static SupportedProtocolVersion) -> (Accepting, Client) {
    let (server, client) = configs(of);
    let (ours, theirs) = duplex(width);
    let connector = TlsConnector::from(Arc::new(client));
    let name = ServerName::try_from("localhost").unwrap();
    // A pipe may be too narrow for what the server says last: it is heard later.
    let accepting = tokio::spawn(TlsSocket::accept(server, ours));
    let client = connector.connect(name, theirs).await.unwrap();
    (accepting, client)
}

/// Sends everything back until the client has said goodbye, then says goodbye.
async fn echo(socket: Accepting) -> TlsSocket<DuplexStream> {
    let mut socket = socket.await.unwrap().unwrap();
    let mut bytes = vec![0; 5000];
    loop {
        let count = socket.read(&mut bytes).await.unwrap();
        if count == 0 {
            socket.shutdown().await.unwrap();
            return socket;
        }
        socket.write_all(&bytes[..count]).await.unwrap();
        socket.flush().await.unwrap();
    }
}

fn is_empty(buffers: &Buffers) -> bool {
    let Buffers { held, opened, sealed, .. } = buffers;
    [held, opened, sealed].iter().all(|it| it.capacity() == 0)
}

#[tokio::test]
async fn what_is_written_comes_back_through_pipes_of_all_widths() {
    for of in [&version::TLS13, &version::TLS12] {
        for width in [7, 4096, 100_000, 1_000_000] {
            let (socket, client) = pair(width, of).await;
            let count = if width < 100 { 2000 } else { 150_000_u32 };
            let sent: Vec<u8> = (0..count).map(|it| (it % 251) as u8).collect();
            let (mut reader, mut writer) = tokio::io::split(client);
            let mut back = Vec::new();
            let write = async {
                writer.write_all(&sent).await.unwrap();
                writer.shutdown().await.unwrap();
            };
            let read = reader.read_to_end(&mut back);
            let (socket, (), read) = tokio::join!(echo(socket), write, read);
            read.unwrap();
            assert!(back == sent, "{of:?} {width}");
            assert!(is_empty(&socket.buffers), "{of:?} {width}: an idle socket keeps nothing");
        }
    }
}

#[tokio::test]
async fn new_keys_are_taken_and_answered_in_between() {
    let (socket, mut client) = pair(4096, &version::TLS13).await;
    let talk = async {
        for round in 0_u8..20 {
            client.get_mut().1.refresh_traffic_keys().unwrap();
            client.write_all(&[round; 300]).await.unwrap();
            client.flush().await.unwrap();
            let mut back = [0; 300];
            client.read_exact(&mut back).await.unwrap();
            assert_eq!(back, [round; 300]);
        }
        client.shutdown().await.unwrap();
        client
    };
    let (_socket, mut client) = tokio::join!(echo(socket), talk);
    assert_eq!(client.read(&mut [0; 9]).await.unwrap(), 0, "both have said goodbye");
}

#[tokio::test]
async fn an_end_without_a_goodbye_is_told_from_one_with_it() {
    let (socket, client) = pair(4096, &version::TLS13).await;
    let mut socket = socket.await.unwrap().unwrap();
    drop(client);
    let error = socket.read(&mut [0; 9]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    let (socket, mut client) = pair(4096, &version::TLS13).await;
    let mut socket = socket.await.unwrap().unwrap();
    client.write_all(b"last").await.unwrap();
    client.shutdown().await.unwrap();
    let mut last = Vec::new();
    socket.read_to_end(&mut last).await.unwrap();
    assert_eq!(last, b"last");
}

#[tokio::test]
async fn bytes_that_were_changed_on_their_way_end_it_and_are_told() {
    let (server, client) = configs(&version::TLS13);
    let (ours, mut theirs) = duplex(1_000_000);
    let mut tls =
        rustls::ClientConnection::new(Arc::new(client), ServerName::try_from("localhost").unwrap())
            .unwrap();
    let accept = tokio::spawn(TlsSocket::accept(server, ours));
    let mut bytes = Vec::new();
    while tls.is_handshaking() {
        bytes.clear();
        tls.write_tls(&mut bytes).unwrap();
        theirs.write_all(&bytes).await.unwrap();
        let mut input = [0; 8192];
        let count = theirs.read(&mut input).await.unwrap();
        tls.read_tls(&mut &input[..count]).unwrap();
        tls.process_new_packets().unwrap();
    }
    bytes.clear();
    tls.write_tls(&mut bytes).unwrap();
    theirs.write_all(&bytes).await.unwrap();
    let mut socket = accept.await.unwrap().unwrap();
    std::io::Write::write_all(&mut tls.writer(), b"content").unwrap();
    bytes.clear();
    tls.write_tls(&mut bytes).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    theirs.write_all(&bytes).await.unwrap();
    let error = socket.read(&mut [0; 9]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    drop(socket);
    let mut rest = Vec::new();
    theirs.read_to_end(&mut rest).await.unwrap();
    tls.read_tls(&mut &rest[..]).unwrap();
    let told = tls.process_new_packets().unwrap_err();
    assert_eq!(told, TlsError::AlertReceived(rustls::AlertDescription::BadRecordMac));
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_cut_off() {
    let (server, _client) = configs(&version::TLS13);
    let (ours, mut theirs) = duplex(1_000_000);
    // A message of the handshake that says of itself that it is 16 MiB long.
    theirs.write_all(&[0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]).await.unwrap();
    theirs.write_all(&[0; 0x3ffc]).await.unwrap();
    for _ in 0..9 {
        theirs.write_all(&[0x16, 3, 1, 0x40, 0]).await.unwrap();
        theirs.write_all(&[0; 0x4000]).await.unwrap();
    }
    let refused = TlsSocket::accept(server, ours).await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::InvalidData);
}
