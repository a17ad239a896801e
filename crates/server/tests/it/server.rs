//! A server in a process of its own, on ports that nobody else has; and what it does at start
//! and stop.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{axle, text};

/// A running server. Dropping it kills it.
pub(crate) struct TestServer {
    child: Child,
    data: Arc<TempDir>,
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    /// From starting the process until it said that it is ready.
    pub(crate) started_in: Duration,
}

impl TestServer {
    pub(crate) fn start() -> Self {
        Self::start_on(Arc::new(tempfile::tempdir().unwrap()), &[])
    }

    pub(crate) fn start_on(data: Arc<TempDir>, variables: &[(&str, &str)]) -> Self {
        let begin = Instant::now();
        let mut command = axle();
        command.args(["serve", "--data-dir"]).arg(data.path().join("data"));
        for listener in ["HTTP", "OPS", "MQTT", "DEVICE_HTTPS"] {
            command.env(format!("AXLE_{listener}__LISTEN"), "127.0.0.1:0");
        }
        command.envs(variables.iter().copied());
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        while !said.contains("open once") {
            let mut line = String::new();
            assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it ended: {said}");
            said.push_str(&line);
        }
        let said = Arc::new(Mutex::new(said));
        let reader = Some(listen(stderr, Arc::clone(&said)));
        Self { child, data, said, reader, started_in: begin.elapsed() }
    }

    pub(crate) fn data_dir(&self) -> std::path::PathBuf {
        self.data.path().join("data")
    }

    pub(crate) fn folder(&self) -> Arc<TempDir> {
        Arc::clone(&self.data)
    }

    pub(crate) fn address(&self, name: &str) -> String {
        let text = fs::read_to_string(self.data_dir().join("addresses.json")).unwrap();
        let addresses: Value = serde_json::from_str(&text).unwrap();
        addresses[name].as_str().unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
    }

    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Runs a client command on this server's data directory.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let mut command = axle();
        command.args(arguments).env("AXLE_DATA_DIR", self.data_dir());
        command.current_dir(self.data.path()).output().unwrap()
    }

    /// What a command that must succeed prints.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(arguments)).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status
    }

    /// Asks it to stop; it must do so in time and without complaint.
    pub(crate) fn stop(mut self) -> Arc<TempDir> {
        let begin = Instant::now();
        self.signal(Signal::TERM);
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.said());
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
        assert!(!self.data_dir().join("addresses.json").exists());
        self.folder()
    }

    /// Ends it as a power cut would end the process.
    pub(crate) fn kill(mut self) -> Arc<TempDir> {
        self.signal(Signal::KILL);
        self.wait();
        self.folder()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let _ended = self.child.kill().is_err() || self.child.wait().is_err();
    }
}

/// Collects what the server says, so that its pipe never fills up.
fn listen(mut stderr: BufReader<ChildStderr>, said: Arc<Mutex<String>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut bytes = [0_u8; 1024];
        while let Ok(count @ 1..) = stderr.read(&mut bytes) {
            said.lock().unwrap().push_str(&text(&bytes[..count]));
        }
    })
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn starts_with_nothing_and_tells_where_it_is() {
    let server = TestServer::start();
    let data = server.data_dir();
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join("admin.token")), 0o600);
    assert_eq!(mode(&data.join("ca.key")), 0o600);
    assert!(fs::read_to_string(data.join("ca.crt")).unwrap().contains("BEGIN CERTIFICATE"));
    let said = server.said();
    for name in ["http", "mqtts", "ops"] {
        assert!(said.contains(&server.address(name)), "{said}");
    }
    assert!(said.contains("/login?code="), "{said}");
    let secret = fs::read_to_string(data.join("admin.token")).unwrap();
    assert!(!said.contains(secret.trim()), "the token is nobody's to read");
    println!("ready in {:?}", server.started_in);
    assert_eq!(server.ok(&["login"]).matches("/login?code=").count(), 1);
    server.stop();
}

#[test]
fn a_second_server_is_refused_and_told_the_first_ones_process() {
    let server = TestServer::start();
    let output = server.run(&["serve"]);
    assert_eq!(output.status.code(), Some(4));
    let (said, pid) = (text(&output.stderr), server.child.id().to_string());
    assert!(said.contains(&format!("in use by process {pid} serve")), "{said}");
    server.stop();
}

#[test]
fn a_taken_port_is_named_at_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for variable in ["AXLE_HTTP__LISTEN", "AXLE_MQTT__LISTEN", "AXLE_DEVICE_HTTPS__LISTEN"] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = axle();
        for listener in ["HTTP", "OPS", "MQTT", "DEVICE_HTTPS"] {
            command.env(format!("AXLE_{listener}__LISTEN"), "127.0.0.1:0");
        }
        command.args(["serve", "--data-dir"]).arg(folder.path()).env(variable, &address);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(&address), "{}", text(&output.stderr));
        assert!(!folder.path().join("addresses.json").exists());
    }
}

#[test]
fn a_newer_data_directory_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("format"), "999\n").unwrap();
    let output = axle().args(["serve", "--data-dir"]).arg(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    assert!(!folder.path().join("log").exists());
}

#[test]
fn stops_in_time_while_someone_listens_to_live_events() {
    let server = TestServer::start();
    let mut tail = axle();
    tail.args(["tail", "--data-dir"]).arg(server.data_dir()).stderr(Stdio::piped());
    let mut tail = tail.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(tail.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("live events"), "{line}");
    server.stop();
    assert_eq!(tail.wait().unwrap().code(), Some(6), "it is told that the server has gone");
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = TestServer::start();
    server.signal(Signal::TERM);
    server.signal(Signal::INT);
    let begin = Instant::now();
    // Whether the first was done already when the second came is the scheduler's choice.
    assert!(matches!(server.wait().code(), Some(0 | 1)), "{}", server.said());
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_is_served_without_tls_to_others_is_said() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let variables = [("AXLE_OPS__LISTEN", "[::]:0"), ("AXLE_OPS__ALLOW_INSECURE", "true")];
    let server = TestServer::start_on(folder, &variables);
    assert!(server.said().contains("`ops.listen` is on :: without TLS"), "{}", server.said());
    assert!(server.address("ops").starts_with("127.0.0.1:"), "an address that can be used here");
    server.stop();
}
