//! People: who they are, what they may do, and what they sign in with.

use std::fmt;

use crate::{Access, DeviceId, Timestamp, UserName, limit};

/// What a person is to the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// May do everything.
    Admin,
    /// May do everything but decide on people and tokens.
    Operator,
    /// Reads every device and commands it; changes no registry and asks no SQL.
    Support,
    /// Reads and commands its own devices, and knows of no other.
    Household,
}

impl Role {
    /// Every role, the most powerful first.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Operator, Self::Support, Self::Household];

    /// The word in JSON, on the command line and in the state.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Support => "support",
            Self::Household => "household",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// Whether the role allows an access, where `own` says which devices are the person's.
    #[must_use]
    pub fn allows(self, own: &[DeviceId], access: Access<'_>) -> bool {
        match self {
            Self::Admin => true,
            Self::Operator => !matches!(access, Access::Administer | Access::PublishLog),
            Self::Support => {
                matches!(access, Access::Read(_) | Access::Command(_) | Access::ReadAll)
            }
            Self::Household => match access {
                Access::Read(device) | Access::Command(device) => own.contains(device),
                Access::Upload(_)
                | Access::Feed(_)
                | Access::ReadAll
                | Access::ReadLog
                | Access::PublishLog
                | Access::Query
                | Access::Operate
                | Access::Administer => false,
            },
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an authenticator knows a person by: random, so that it tells nobody who it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserHandle(pub [u8; 16]);

impl fmt::Debug for UserHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A person who may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name to sign in with.
    pub name: UserName,
    /// What the person is called; may be empty.
    pub display_name: String,
    /// What the person may do.
    pub role: Role,
    /// The devices of a household, by id, at most [`limit::DEVICES_PER_USER_MAX`]; empty for the
    /// other roles.
    pub devices: Vec<DeviceId>,
    /// What authenticators know the person by.
    pub handle: UserHandle,
    /// When the person was added.
    pub created_at: Timestamp,
    /// When the entry changed last.
    pub updated_at: Timestamp,
    /// Since when the person may not sign in, if so.
    pub disabled_at: Option<Timestamp>,
    /// Counts the changes of the entry, from 1.
    pub version: u64,
}

impl User {
    /// Whether the person may do that now.
    #[must_use]
    pub fn allows(&self, access: Access<'_>) -> bool {
        self.disabled_at.is_none() && self.role.allows(&self.devices, access)
    }
}

/// What a browser or a security key signs in with instead of a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passkey {
    /// The authenticator's name for it, at most [`limit::CREDENTIAL_ID_BYTES_MAX`].
    pub id: Vec<u8>,
    /// Whom it signs in.
    pub user: UserName,
    /// The public key, a COSE_Key (RFC 9052) in CBOR.
    pub public_key: Vec<u8>,
    /// How often it has signed, as far as it counts; 0 where it does not.
    pub sign_count: u32,
    /// What the person calls it.
    pub label: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it signed somebody in last.
    pub last_used_at: Option<Timestamp>,
}

/// The SHA-256 of a secret that somebody else keeps: of a session's cookie, of an invitation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretHash(pub [u8; 32]);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(***)")
    }
}

/// Somebody who has signed in with a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Recognises the cookie.
    pub hash: SecretHash,
    /// Who; `None` for the administrator without a name who came by a one-time link.
    pub user: Option<UserName>,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was used last, give or take [`limit::SESSION_TOUCH_INTERVAL`].
    pub last_used_at: Timestamp,
}

impl Session {
    /// Whether it still opens anything: neither too old nor unused for too long.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        let last = match self.user {
            Some(_) => limit::SESSION_TIME_MAX,
            None => limit::LINK_SESSION_TIME_MAX,
        };
        now < self.created_at.after(last) && now < self.last_used_at.after(limit::SESSION_IDLE_MAX)
    }
}

/// A one-time link with which a person says how to sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Recognises the link.
    pub hash: SecretHash,
    /// Whom it is for.
    pub user: UserName,
    /// Until when it works.
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn roles_allow_what_their_words_promise() {
        let (own, other) = (DeviceId::parse("m-1").unwrap(), DeviceId::parse("m-2").unwrap());
        let accesses = [
            Access::Read(&own),
            Access::Command(&own),
            Access::Upload(&own),
            Access::Read(&other),
            Access::Command(&other),
            Access::Upload(&other),
            Access::ReadAll,
            Access::Query,
            Access::Operate,
            Access::Administer,
        ];
        for (role, expected) in [
            (Role::Admin, "yyyyyyyyyy"),
            (Role::Operator, "yyyyyyyyyn"),
            (Role::Support, "yynyynynnn"),
            (Role::Household, "yynnnnnnnn"),
        ] {
            let seen: String = accesses
                .iter()
                .map(|access| role.allows(std::slice::from_ref(&own), *access))
                .map(|allowed| if allowed { 'y' } else { 'n' })
                .collect();
            assert_eq!(seen, expected, "{role}");
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
    }

    #[test]
    fn a_session_ends_by_age_and_by_rest() {
        let start = Timestamp(0);
        let session = |user: Option<&str>, last_used_at| Session {
            hash: SecretHash([0; 32]),
            user: user.map(|name| UserName::parse(name).unwrap()),
            created_at: start,
            last_used_at,
        };
        let second = Duration::from_secs(1);
        let rested = start.after(limit::SESSION_IDLE_MAX);
        assert!(session(Some("a"), start).is_live(rested.shifted(-1)));
        assert!(!session(Some("a"), start).is_live(rested));
        let old = start.after(limit::SESSION_TIME_MAX);
        assert!(session(Some("a"), old).is_live(old.shifted(-1)));
        assert!(!session(Some("a"), old.after(second)).is_live(old.after(second)));
        let old = start.after(limit::LINK_SESSION_TIME_MAX);
        assert!(!session(None, old).is_live(old));
    }
}
