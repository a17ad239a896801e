//! Finds the server: in its data directory on the same machine, else where `AXLE_URL` points.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::Client;
use crate::cli::Target;
use crate::data_dir::{self, Addresses};
use crate::failure::{Exit, Failure};

impl Target {
    /// The data directory that is meant, whether or not a server runs on it.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| PathBuf::from("./data"))
    }

    /// Whether `AXLE_URL` says where the server is.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        self.data_dir.is_none() && variable("AXLE_URL").is_some()
    }
}

impl Client {
    /// The client of the server that a target means.
    ///
    /// # Errors
    /// `Unreachable` where no server is to be found.
    pub fn find(target: &Target) -> Result<Self, Failure> {
        if let (true, Some(url)) = (target.is_remote(), variable("AXLE_URL")) {
            return Self::remote(&url);
        }
        let data_dir = target.data_dir();
        let Some(addresses) = data_dir::find_addresses(&data_dir)? else {
            let message = format!("no server is ready on {}", data_dir.display());
            return Err(Failure::new(Exit::Unreachable, message).with_hint(
                "`axle serve` starts one; `--data-dir` names another directory; elsewhere set \
                 AXLE_URL and AXLE_TOKEN",
            ));
        };
        Self::local(&data_dir, &addresses)
    }

    /// The client of the server that is ready on a data directory.
    ///
    /// # Errors
    /// `Unreachable` where the API is off, `Refused` where the token cannot be read.
    pub fn local(data_dir: &Path, addresses: &Addresses) -> Result<Self, Failure> {
        let Some(address) = addresses.get("http") else {
            let message = format!("the server on {} has no API listener", data_dir.display());
            return Err(Failure::new(Exit::Unreachable, message)
                .with_hint("a server with `http.listen` that is not \"off\""));
        };
        let token = data_dir::find_admin_token(data_dir)
            .map_err(|failure| Failure { exit: Exit::Refused, ..failure })?
            .ok_or_else(|| {
                let path = data_dir.join("admin.token");
                Failure::new(Exit::Refused, format!("{} is missing", path.display()))
                    .with_hint("restart the server: it makes a new one")
            })?;
        let source = data_dir.join("addresses.json").display().to_string();
        Ok(Self { authority: reachable(address), token, source })
    }

    fn remote(url: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            Failure::usage(format!("AXLE_URL is `{url}`: {why}"))
                .with_hint("AXLE_URL=http://host:port")
        };
        let Some(rest) = url.strip_prefix("http://") else {
            return Err(wrong("expected it to begin with http://"));
        };
        let authority = rest.trim_end_matches('/');
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) {
            return Err(wrong("expected host and port and nothing else"));
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| {
            !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
        });
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        let token = variable("AXLE_TOKEN").ok_or_else(|| {
            Failure::usage("AXLE_URL is set, and AXLE_TOKEN is not")
                .with_hint("AXLE_TOKEN with what `axle token create` printed on that server")
        })?;
        Ok(Self { authority, token, source: "AXLE_URL".to_owned() })
    }
}

/// An address that a client on this machine can connect to. Listeners on all addresses take
/// connections over IPv4 too.
#[must_use]
pub fn reachable(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())).to_string()
        }
        _ => address.to_owned(),
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}
