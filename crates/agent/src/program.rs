//! Running somebody's program: with an end, and with bounded ears.

use std::collections::BTreeMap;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// What is kept of stderr.
const STDERR_BYTES_MAX: usize = 4096;
/// How long the pipes of a program that has ended are listened to: a child of its own may hold
/// them open for ever.
const LINGER: Duration = Duration::from_millis(200);

/// A command line for the shell.
pub(crate) struct Program<'a> {
    pub(crate) line: &'a str,
    pub(crate) environment: BTreeMap<&'a str, &'a str>,
    pub(crate) stdin: &'a [u8],
    /// How long it may run.
    pub(crate) time_max: Duration,
    /// What is kept of stdout; the rest is read and thrown away.
    pub(crate) stdout_bytes_max: usize,
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// `None`: it was still running when its time was over, and was ended.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) is_truncated: bool,
    pub(crate) stderr: Vec<u8>,
}

/// Ends the program and its children when dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself; that is what we want.
            let _gone = kill_process_group(group, Signal::KILL).is_err();
        }
    }
}

impl Program<'_> {
    /// Runs it to its end, or ends it. Dropped midway, it is ended too.
    pub(crate) async fn run(&self) -> io::Result<Outcome> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", self.line])
            .envs(&self.environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let mut group = Group(pid);
        let (mut stdout, mut stderr) =
            (Ear::new(self.stdout_bytes_max), Ear::new(STDERR_BYTES_MAX));
        let status = self.attend(&mut child, &mut stdout, &mut stderr).await?;
        if status.is_some() {
            group.0 = None;
        }
        drop(group);
        if status.is_none() {
            child.wait().await?;
        }
        Ok(Outcome {
            status,
            stdout: stdout.kept,
            is_truncated: stdout.is_truncated,
            stderr: stderr.kept,
        })
    }

    async fn attend(
        &self,
        child: &mut Child,
        stdout: &mut Ear,
        stderr: &mut Ear,
    ) -> io::Result<Option<ExitStatus>> {
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let errors = child.stderr.take();
        let feed = async {
            if let Some(mut input) = input {
                // Who does not read its input may do so.
                let _unread = input.write_all(self.stdin).await.is_err();
            }
        };
        let listen = async { tokio::join!(feed, stdout.listen(output), stderr.listen(errors)) };
        tokio::pin!(listen);
        let end = tokio::time::sleep(self.time_max);
        tokio::pin!(end);
        let mut is_heard = false;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status?,
                _heard = &mut listen, if !is_heard => is_heard = true,
                () = &mut end => return Ok(None),
            }
        };
        if !is_heard {
            let _open = tokio::time::timeout(LINGER, listen).await.is_err();
        }
        Ok(Some(status))
    }
}

/// Reads all and keeps the first of it.
struct Ear {
    kept: Vec<u8>,
    bytes_max: usize,
    is_truncated: bool,
}

impl Ear {
    fn new(bytes_max: usize) -> Self {
        Self { kept: Vec::new(), bytes_max, is_truncated: false }
    }

    async fn listen(&mut self, pipe: Option<impl AsyncRead + Unpin>) {
        let Some(mut pipe) = pipe else { return };
        let mut buffer = vec![0; 8192];
        while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
            let room = self.bytes_max - self.kept.len();
            self.kept.extend(buffer.iter().take(count.min(room)));
            self.is_truncated |= count > room;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(line: &str, time_max: Duration) -> Outcome {
        let environment = BTreeMap::from([("AXLE_WORD", "hello")]);
        let program =
            Program { line, environment, stdin: b"input", time_max, stdout_bytes_max: 16 };
        program.run().await.unwrap()
    }

    #[tokio::test]
    async fn a_program_has_stdin_environment_and_bounded_output() {
        let minute = Duration::from_secs(60);
        let outcome = run("cat; echo \" $AXLE_WORD\"; echo oops >&2; exit 3", minute).await;
        assert_eq!(outcome.status.unwrap().code(), Some(3));
        assert_eq!(
            (outcome.stdout.as_slice(), outcome.is_truncated),
            (&b"input hello\n"[..], false)
        );
        assert_eq!(outcome.stderr, b"oops\n");
        let outcome = run("head -c 1000000 /dev/zero", minute).await;
        assert_eq!((outcome.stdout.len(), outcome.is_truncated), (16, true));
    }

    #[tokio::test]
    async fn a_program_and_its_children_end_with_their_time() {
        let outcome = run("sleep 1000 & sleep 1000", Duration::from_millis(50)).await;
        assert!(outcome.status.is_none());
        let outcome = run("sleep 1000 & echo done", Duration::from_secs(60)).await;
        assert_eq!(outcome.stdout, b"done\n", "who leaves a child behind is not waited for");
    }
}
