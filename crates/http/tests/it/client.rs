//! A client that says exactly what a test tells it to, well formed or not.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The stable code of a problem; empty where the answer is none.
    pub(crate) fn code(&self) -> String {
        if self.header("content-type") != Some("application/problem+json") {
            return String::new();
        }
        let body = self.json();
        for field in ["type", "title", "detail", "code", "request_id"] {
            assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {body}");
        }
        assert_eq!(body["status"], self.status, "{body}");
        assert_eq!(Some(body["request_id"].as_str().unwrap()), self.header("x-request-id"));
        body["code"].as_str().unwrap().to_owned()
    }

    /// Status and body, without what differs from run to run.
    pub(crate) fn shown(&self) -> String {
        let mut body = self.json();
        if let Some(id) = body.get_mut("request_id") {
            *id = "…".into();
        }
        format!("{} {}", self.status, serde_json::to_string_pretty(&body).unwrap())
    }
}

/// Sends bytes and reads the answer until the server closes.
pub(crate) async fn send(address: SocketAddr, bytes: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that refuses early may close while we still write; its answer counts.
    let (mut reader, mut writer) = stream.split();
    let write = async {
        if writer.write_all(bytes).await.is_err() {
            // The answer tells why.
        }
    };
    let mut answer = Vec::new();
    let read = async {
        if reader.read_to_end(&mut answer).await.is_err() {
            // What came before the end counts.
        }
    };
    timeout(Duration::from_secs(30), async { tokio::join!(write, read) }).await.unwrap();
    parse(&answer)
}

fn parse(answer: &[u8]) -> Reply {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(answer)));
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").unwrap_or((line, "")))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let rest = &answer[end + 4..];
    let is_chunked = headers.iter().any(|(name, _)| name == "transfer-encoding");
    let body = if is_chunked { unchunk(rest) } else { rest.to_vec() };
    if (100..200).contains(&status) {
        return parse(rest);
    }
    Reply { status, headers, body }
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let length = std::str::from_utf8(&rest[..end]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        let start = end + 2;
        if length == 0 || rest.len() < start + length {
            break;
        }
        body.extend_from_slice(&rest[start..start + length]);
        rest = &rest[start + length + 2..];
    }
    body
}

/// A well-formed request under construction.
pub(crate) struct Request {
    address: SocketAddr,
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(address: SocketAddr, method: &str, path: &str) -> Self {
        Self {
            address,
            line: format!("{method} {path} HTTP/1.1"),
            headers: vec![
                ("Host".to_owned(), address.to_string()),
                ("Connection".to_owned(), "close".to_owned()),
            ],
            body: Vec::new(),
        }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        match token {
            "" => self,
            token => self.header("Authorization", &format!("Bearer {token}")),
        }
    }

    pub(crate) fn body(mut self, media: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.header("Content-Type", media).header("Content-Length", &length)
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}\r\n", self.line).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    pub(crate) async fn send(self) -> Reply {
        send(self.address, &self.bytes()).await
    }
}

/// A stream of Server-Sent Events.
pub(crate) struct Events {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Events {
    pub(crate) async fn open(request: Request) -> Self {
        let mut stream = TcpStream::connect(request.address).await.unwrap();
        stream.write_all(&request.bytes()).await.unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Opens a stream and waits for the head of its answer: what happens then is seen.
    pub(crate) async fn opened(request: Request) -> Self {
        let mut events = Self::open(request).await;
        while !events.buffer.windows(4).any(|window| window == b"\r\n\r\n") {
            assert!(events.fill().await > 0, "the stream ends before it begins");
        }
        events
    }

    async fn fill(&mut self) -> usize {
        let mut chunk = [0; 4096];
        let read = self.stream.read(&mut chunk);
        let count = timeout(Duration::from_secs(20), read).await.unwrap().unwrap_or(0);
        self.buffer.extend_from_slice(&chunk[..count]);
        count
    }

    /// The status of the answer, as soon as its head is there.
    pub(crate) async fn status(mut self) -> u16 {
        let mut line = [0; 12];
        self.stream.read_exact(&mut line).await.unwrap();
        std::str::from_utf8(&line[9..]).unwrap().parse().unwrap()
    }

    /// The data of the next event, or `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let (_, data) = self.next_text().await?;
        Some(serde_json::from_str(&data).unwrap())
    }

    /// Name and text of the next event that has data, or `None` at the end of the stream.
    pub(crate) async fn next_text(&mut self) -> Option<(String, String)> {
        loop {
            let text = String::from_utf8_lossy(&self.buffer).into_owned();
            if let Some(end) = text.find("\r\n\r\n").filter(|_| text.starts_with("HTTP/")) {
                self.buffer.drain(..end + 4);
                continue;
            }
            let text = if text.starts_with("HTTP/") { String::new() } else { text };
            let start = text.find("event: ").into_iter().chain(text.find("data:")).min();
            if let Some((start, end)) =
                start.and_then(|at| Some((at, at + text[at..].find("\n\n")?)))
            {
                self.buffer.drain(..end + 2);
                let field = |name: &str| {
                    let lines = text[start..end].lines();
                    let values = lines.filter_map(|line| line.strip_prefix(name));
                    values.map(str::trim_start).collect::<Vec<_>>().join("\n")
                };
                return Some((field("event:"), field("data:")));
            }
            if self.fill().await == 0 {
                return None;
            }
        }
    }
}
