//! What an agent is told: data only. [`Settings`] opens nothing.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::time::Duration;

use axle_domain::{DeviceId, Error, StreamName, limit};

/// Shortest pause between two sendings; below it a battery and a bill suffer.
const SEND_EVERY_MIN: Duration = Duration::from_millis(10);
/// Smallest queue: a few batches.
const QUEUE_BYTES_MIN: u64 = 64 * 1024;

/// Where values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nowhere: the agent only executes commands.
    None,
    /// A command line for the shell, run again and again; its lines are values.
    Command {
        /// The command line.
        line: String,
        /// How often.
        every: Duration,
    },
    /// A file that grows, or a named pipe.
    File(PathBuf),
}

/// What the agent shows to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The device's certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The certificate of the authority that signed the server's, PEM.
    pub ca: PathBuf,
}

/// What an agent does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which device it speaks for.
    pub device: DeviceId,
    /// The server, `host:port`.
    pub server: String,
    /// How it proves who it is; without it the connection is plain, which loopback alone may be.
    pub credential: Option<Credential>,
    /// Where it keeps what must not be lost.
    pub data_dir: PathBuf,
    /// The stream of its values.
    pub stream: StreamName,
    /// Where they come from.
    pub source: Source,
    /// Which program executes which command, as a command line for the shell.
    pub commands: BTreeMap<String, String>,
    /// How often values are sent.
    pub send_every: Duration,
    /// Most bytes of values that wait.
    pub queue_bytes_max: u64,
    /// First and longest pause before connecting again.
    pub retry_pause: (Duration, Duration),
}

impl Settings {
    /// Checks what cannot be seen from one field alone.
    ///
    /// # Errors
    /// `Invalid`, naming the setting and what is right.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |message: String| Err(Error::invalid("agent.settings_invalid", message));
        if self.source == Source::None && self.commands.is_empty() {
            return wrong("nothing to do: give read-command, read-file or on-command".to_owned());
        }
        if self.server.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            return wrong(format!("server `{}` must be HOST:PORT", self.server.escape_debug()));
        }
        if self.credential.is_none() && !self.is_loopback() {
            let server = self.server.escape_debug();
            return wrong(format!("`{server}` is not this machine: without TLS loopback alone"));
        }
        if self.send_every < SEND_EVERY_MIN {
            return wrong("send-every must be at least 10ms".to_owned());
        }
        if self.queue_bytes_max < QUEUE_BYTES_MIN {
            return wrong("queue-bytes-max must be at least 64KiB".to_owned());
        }
        let is_good = |name: &&String| {
            name.is_empty() || name.as_str() == "r" || name.contains(['/', '+', '#', '\0'])
        };
        if let Some(name) = self.commands.keys().find(is_good) {
            return wrong(format!("`{}` cannot be a command's name", name.escape_debug()));
        }
        let topic = self.topic("t", self.stream.as_str());
        if topic.len() > limit::TOPIC_BYTES_MAX {
            return wrong(format!("`{topic}` is longer than a topic may be"));
        }
        Ok(())
    }

    /// A topic of the device's own tree.
    pub(crate) fn topic(&self, branch: &str, rest: &str) -> String {
        format!("v1/d/{}/{branch}/{rest}", self.device)
    }

    fn is_loopback(&self) -> bool {
        self.server
            .to_socket_addrs()
            .is_ok_and(|mut found| found.all(|address| address.ip().is_loopback()))
    }
}
