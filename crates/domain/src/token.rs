//! Bearer tokens and what they allow.

use std::fmt;

use crate::{Access, DeviceId, Error, PlantName, Timestamp};

/// The SHA-256 of a token: all that is ever stored of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(***)")
    }
}

/// What a token allows. A scope for one device allows nothing on any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Admin,
    /// Upload for one device.
    Upload(DeviceId),
    /// Read one device.
    Read(DeviceId),
    /// Send commands to one device, and read it.
    Command(DeviceId),
    /// Feed master data as one plant, and see what waits of it.
    Feed(PlantName),
    /// Read every message of the log, and have positions in it.
    LogRead,
    /// Publish to the log on any topic, for any device.
    LogWrite,
}

impl Scope {
    /// Reads `admin`, `upload:DEVICE`, `read:DEVICE`, `command:DEVICE`, `feed:PLANT`, `log:read` or
    /// `log:write`.
    ///
    /// # Errors
    /// `Invalid`, naming the forms.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text == "admin" {
            return Ok(Self::Admin);
        }
        let Some((verb, device)) = text.split_once(':') else { return Err(unknown(text)) };
        if verb == "feed" {
            return Ok(Self::Feed(PlantName::parse(device)?));
        }
        match text {
            "log:read" => return Ok(Self::LogRead),
            "log:write" => return Ok(Self::LogWrite),
            _ => {}
        }
        let device = DeviceId::parse(device)?;
        match verb {
            "upload" => Ok(Self::Upload(device)),
            "read" => Ok(Self::Read(device)),
            "command" => Ok(Self::Command(device)),
            _ => Err(unknown(text)),
        }
    }

    /// The device that the scope is about.
    #[must_use]
    pub fn device(&self) -> Option<&DeviceId> {
        match self {
            Self::Admin | Self::Feed(_) | Self::LogRead | Self::LogWrite => None,
            Self::Upload(device) | Self::Read(device) | Self::Command(device) => Some(device),
        }
    }

    /// Whether the scope allows the access.
    #[must_use]
    pub fn allows(&self, access: Access<'_>) -> bool {
        match (self, access) {
            (Self::Admin, _) => true,
            (Self::Upload(mine), Access::Upload(wanted))
            | (Self::Read(mine), Access::Read(wanted))
            | (Self::Command(mine), Access::Command(wanted) | Access::Read(wanted)) => {
                mine == wanted
            }
            // The answer holds rows of that device alone.
            (Self::Read(_) | Self::Command(_), Access::Query) => true,
            (Self::Feed(mine), Access::Feed(wanted)) => mine == wanted,
            (Self::LogRead, Access::ReadLog) | (Self::LogWrite, Access::PublishLog) => true,
            _ => false,
        }
    }
}

fn unknown(text: &str) -> Error {
    let shown: String = text.chars().take(64).collect();
    Error::invalid(
        "token.scope_invalid",
        format!(
            "`{}` is no scope: use admin, upload:DEVICE, read:DEVICE, command:DEVICE, \
             feed:PLANT, log:read or log:write",
            shown.escape_debug()
        ),
    )
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin => f.write_str("admin"),
            Self::Upload(device) => write!(f, "upload:{device}"),
            Self::Read(device) => write!(f, "read:{device}"),
            Self::Command(device) => write!(f, "command:{device}"),
            Self::Feed(plant) => write!(f, "feed:{plant}"),
            Self::LogRead => f.write_str("log:read"),
            Self::LogWrite => f.write_str("log:write"),
        }
    }
}

/// A token as the state keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// A public name of the token, for lists and for revoking it.
    pub id: String,
    /// Recognises the secret.
    pub hash: TokenHash,
    /// What it allows, one scope at least.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Token {
    /// Whether any scope allows the access.
    #[must_use]
    pub fn allows(&self, access: Access<'_>) -> bool {
        self.scopes.iter().any(|scope| scope.allows(access))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_for_one_device_allows_nothing_on_another() {
        let (mine, other) = (DeviceId::parse("b-1").unwrap(), DeviceId::parse("b-2").unwrap());
        let scope = Scope::parse("upload:b-1").unwrap();
        assert!(scope.allows(Access::Upload(&mine)));
        assert!(!scope.allows(Access::Upload(&other)));
        assert!(!scope.allows(Access::Read(&mine)));
        for instance in [Access::ReadAll, Access::Query, Access::Operate, Access::Administer] {
            assert!(!scope.allows(instance));
            assert!(Scope::Admin.allows(instance));
        }
        assert!(Scope::Command(mine.clone()).allows(Access::Read(&mine)));
        assert!(Scope::Admin.allows(Access::Command(&other)));
    }

    #[test]
    fn prints_what_it_reads_and_refuses_the_rest() {
        for good in
            ["admin", "upload:b-1", "read:x:y", "command:b", "feed:graz-2", "log:read", "log:write"]
        {
            assert_eq!(Scope::parse(good).unwrap().to_string(), good);
        }
        for bad in ["", "log:all", "root", "upload:", "upload:a b", "write:b-1", "feed:a.b"] {
            assert!(Scope::parse(bad).is_err(), "{bad}");
        }
    }
}
