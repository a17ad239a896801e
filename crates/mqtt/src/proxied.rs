//! Who is behind a load balancer: the header of the PROXY protocol, versions 1 and 2, as HAProxy's
//! `proxy-protocol.txt` specifies it.
//!
//! It is believed from configured addresses alone, and asked of them: a receiver must not guess
//! whether it is there (section 2 of the specification).

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use axle_domain::limit;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

use crate::journal::Why;

/// What version 2 begins with.
pub(crate) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;
/// Longest rest of a header of version 2: two addresses, and what a balancer adds about TLS.
const REST_BYTES_MAX: usize = 2048;

/// Reads the header, and nothing after it: the address of the client, or that of the balancer
/// where it speaks for itself.
pub(crate) async fn read_client<S: AsyncRead + Unpin>(
    socket: &mut S,
    balancer: SocketAddr,
) -> Result<SocketAddr, Why> {
    match timeout(limit::HANDSHAKE_TIME_MAX, read_header(socket)).await {
        Ok(Ok(client)) => Ok(client.unwrap_or(balancer)),
        Ok(Err(fault)) => Err(fault.why()),
        Err(_late) => Err(Fault::Late.why()),
    }
}

/// What is wrong about a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Missing,
    Broken(&'static str),
    Late,
    Gone,
}

impl Fault {
    fn why(self) -> Why {
        let next = "Switch the PROXY protocol (1 or 2) on in the load balancer for this port, or \
                    take its address out of mqtt.trusted_proxies.";
        let (code, reason) = match self {
            Self::Missing => ("proxy.missing", "the load balancer did not say whom it speaks for"),
            Self::Broken(what) => ("proxy.broken", what),
            Self::Late => ("proxy.late", "the header of the PROXY protocol did not come in time"),
            Self::Gone => {
                ("proxy.gone", "the load balancer hung up within the header of the PROXY protocol")
            }
        };
        Why::new(code, reason, next)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == ErrorKind::UnexpectedEof {
            return Self::Gone;
        }
        Self::Broken("the connection failed within the header of the PROXY protocol")
    }
}

async fn read_header<S: AsyncRead + Unpin>(socket: &mut S) -> Result<Option<SocketAddr>, Fault> {
    // The shortest header of either version is longer than this.
    let mut start = [0; SIGNATURE.len()];
    socket.read_exact(&mut start).await?;
    if start == SIGNATURE {
        return read_binary(socket).await;
    }
    if !start.starts_with(b"PROXY ") {
        return Err(Fault::Missing);
    }
    let mut line = start.to_vec();
    // One byte at a time: what follows the line belongs to the client.
    while !line.ends_with(b"\r\n") {
        if line.len() >= LINE_BYTES_MAX {
            return Err(Fault::Broken("the line of the PROXY protocol has more than 107 bytes"));
        }
        line.push(socket.read_u8().await?);
    }
    let line = std::str::from_utf8(&line).map_err(|_error| UNREADABLE)?;
    from_line(line.trim_end_matches("\r\n"))
}

const UNREADABLE: Fault = Fault::Broken("the line of the PROXY protocol cannot be read");

/// `PROXY TCP4 <source> <destination> <port> <port>`, or `PROXY UNKNOWN …`.
fn from_line(line: &str) -> Result<Option<SocketAddr>, Fault> {
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(None);
    }
    let mut address = || words.next().and_then(|word| word.parse::<IpAddr>().ok());
    let (source, destination) = (address(), address());
    let mut port = || words.next().and_then(|word| word.parse::<u16>().ok());
    let (source_port, destination_port) = (port(), port());
    let is_whole = words.next().is_none() && destination_port.is_some();
    match (family, source, destination, source_port) {
        (Some("TCP4"), Some(source @ IpAddr::V4(_)), Some(IpAddr::V4(_)), Some(port))
        | (Some("TCP6"), Some(source @ IpAddr::V6(_)), Some(IpAddr::V6(_)), Some(port))
            if is_whole =>
        {
            Ok(Some(SocketAddr::new(source, port)))
        }
        _ => Err(UNREADABLE),
    }
}

async fn read_binary<S: AsyncRead + Unpin>(socket: &mut S) -> Result<Option<SocketAddr>, Fault> {
    let (command, family) = (socket.read_u8().await?, socket.read_u8().await?);
    let length = usize::from(socket.read_u16().await?);
    if length > REST_BYTES_MAX {
        return Err(Fault::Broken("the header of the PROXY protocol has more than 2048 bytes"));
    }
    let mut rest = vec![0; length];
    socket.read_exact(&mut rest).await?;
    match command {
        // The balancer asks for itself, for example whether we are well.
        0x20 => Ok(None),
        0x21 => from_binary(family, &rest),
        _ => Err(Fault::Broken("the header of the PROXY protocol is of another version")),
    }
}

/// Source and destination address, then source and destination port.
fn from_binary(family: u8, rest: &[u8]) -> Result<Option<SocketAddr>, Fault> {
    const SHORT: Fault = Fault::Broken("the header of the PROXY protocol is too short");
    let port = |at: usize| {
        let bytes = rest.get(at..at + 2)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    };
    match family {
        0x11 => {
            let source: [u8; 4] = rest.first_chunk().copied().ok_or(SHORT)?;
            port(10).ok_or(SHORT)?;
            Ok(Some(SocketAddr::from((source, port(8).ok_or(SHORT)?))))
        }
        0x21 => {
            let source: [u8; 16] = rest.first_chunk().copied().ok_or(SHORT)?;
            port(34).ok_or(SHORT)?;
            Ok(Some(SocketAddr::from((source, port(32).ok_or(SHORT)?))))
        }
        // No address of the internet: the specification has the receiver take the connection's.
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> (Result<Option<SocketAddr>, Fault>, Vec<u8>) {
        let mut socket = bytes;
        let found = read_header(&mut socket).await;
        (found, socket.to_vec())
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest, b"CLIENT"].concat()
    }

    #[tokio::test]
    async fn a_line_names_the_client_and_leaves_its_bytes() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.7 198.51.100.1 4711 8883", Some("192.0.2.7:4711")),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 4711 8883", Some("[2001:db8::7]:4711")),
            ("PROXY UNKNOWN", None),
            ("PROXY UNKNOWN ffff:f::f ::1 65535 1", None),
        ] {
            let (found, rest) = read(format!("{line}\r\nCLIENT").as_bytes()).await;
            assert_eq!(found, Ok(expected.map(|it| it.parse().unwrap())), "{line}");
            assert_eq!(rest, b"CLIENT", "{line}");
        }
    }

    #[tokio::test]
    async fn a_binary_header_names_the_client_and_leaves_its_bytes() {
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0x22, 0xb3];
        let mut v6 = [0; 40];
        (v6[15], v6[33]) = (1, 7);
        let more = [&v4[..], &[0x04, 0, 1, 0]].concat();
        for (command, family, rest, expected) in [
            (0x21, 0x11, &v4[..], Some("192.0.2.7:4711")),
            (0x21, 0x11, &more, Some("192.0.2.7:4711")),
            (0x21, 0x21, &v6, Some("[::1]:7")),
            (0x20, 0x00, &[], None),
            (0x21, 0x00, &[], None),
            (0x21, 0x31, &[0; 216], None),
        ] {
            let (found, left) = read(&binary(command, family, rest)).await;
            assert_eq!(found, Ok(expected.map(|it| it.parse().unwrap())), "{command} {family}");
            assert_eq!(left, b"CLIENT");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
        for bytes in [
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00"[..],
            b"PROXY TCP4 192.0.2.7 ::1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.8 1 70000\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2 3\r\n",
            b"PROXY TCP5 192.0.2.7 192.0.2.8 1 2\r\n",
            b"PROXY TCP4 \xff\xff\xff\xff 192.0.2.8 1 2\r\n",
            b"PROXY TCP4 192.0.2.7",
            b"",
            long.as_bytes(),
            &binary(0x21, 0x11, &[1; 11]),
            &binary(0x21, 0x21, &[1; 35]),
            &binary(0x31, 0x11, &[1; 12]),
            &binary(0x21, 0x11, &[0; 2049]),
        ] {
            let (found, _) = read(bytes).await;
            assert!(found.is_err(), "{}", bytes.escape_ascii());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, kind in 0..3_usize) {
            let start: &[u8] = [&b""[..], b"PROXY TCP4 ", &SIGNATURE][kind];
            let bytes = [start, &bytes].concat();
            let mut socket = &bytes[..];
            let read = wait_for(read_header(&mut socket));
            proptest::prop_assert!(read.is_err() || socket.len() < bytes.len());
        }
    }

    fn wait_for<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }
}
