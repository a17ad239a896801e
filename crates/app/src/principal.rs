//! Who asks, and what that allows.

use axle_domain::port::Visibility;
use axle_domain::{Access, DeviceId, Error, Kind, Role, Scope, Token, User};

/// Who asks.
#[derive(Clone, Debug)]
pub enum Principal {
    /// A program, by a token that was recognised.
    Token(Token),
    /// A person who has signed in.
    User(User),
    /// The administrator without a name who came by a one-time link.
    Link,
}

impl Principal {
    /// A short name that tells this principal from every other, for counts and receipts.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Token(token) => token.id.clone(),
            Self::User(user) => format!("user:{}", user.name),
            Self::Link => "link".to_owned(),
        }
    }

    /// The role of a person; `None` for a program.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::Token(_) => None,
            Self::User(user) => Some(user.role),
            Self::Link => Some(Role::Admin),
        }
    }

    /// Whether the access is allowed.
    #[must_use]
    pub fn allows(&self, access: Access<'_>) -> bool {
        match self {
            Self::Token(token) => token.allows(access),
            Self::User(user) => user.allows(access),
            Self::Link => true,
        }
    }

    /// Lets an access pass or not. What someone may not do to a device that they may not see
    /// looks exactly like a device that does not exist.
    ///
    /// # Errors
    /// `NotFound` for a device, `Denied` for the instance as a whole.
    pub fn require(&self, access: Access<'_>) -> Result<(), Error> {
        if self.allows(access) {
            return Ok(());
        }
        if let Some(device) = access.device() {
            return Err(device_not_found(device));
        }
        let (code, message) = match self {
            Self::Token(_) if access == Access::Query => (
                "token.scope_missing",
                "a query needs a token with the scope `admin` or `read:DEVICE`",
            ),
            Self::Token(_) if matches!(access, Access::Feed(_)) => (
                "token.scope_missing",
                "this needs a token with the scope `feed:PLANT` of that plant, or `admin`",
            ),
            Self::Token(_) if access == Access::ReadLog => {
                ("token.scope_missing", "this needs a token with the scope `log:read` or `admin`")
            }
            Self::Token(_) if access == Access::PublishLog => {
                ("token.scope_missing", "this needs a token with the scope `log:write` or `admin`")
            }
            Self::Token(_) => ("token.scope_missing", "this needs a token with the scope `admin`"),
            Self::User(_) | Self::Link => ("role.denied", who_may(access)),
        };
        Err(Error::new(Kind::Denied, code, message))
    }

    /// Whose rows, messages and positions the principal may read: every list, map, search and
    /// stream of events must hold to it.
    #[must_use]
    pub fn reads(&self) -> Visibility {
        if self.allows(Access::ReadAll) {
            return Visibility::All;
        }
        let mut devices: Vec<DeviceId> = match self {
            Self::Token(token) => token.scopes.iter().filter_map(readable).cloned().collect(),
            Self::User(user) => user.devices.clone(),
            Self::Link => Vec::new(),
        };
        devices.retain(|device| self.allows(Access::Read(device)));
        devices.sort();
        devices.dedup();
        Visibility::Devices(devices)
    }

    /// As [`Principal::reads`], for what makes no sense to a program that may read nothing.
    ///
    /// # Errors
    /// `Denied` for a token without any scope to read.
    pub fn require_reading(&self) -> Result<Visibility, Error> {
        let reads = self.reads();
        if matches!(self, Self::Token(_)) && reads == Visibility::Devices(Vec::new()) {
            let message = "this needs a token with the scope `admin` or `read:DEVICE`";
            return Err(Error::new(Kind::Denied, "token.scope_missing", message));
        }
        Ok(reads)
    }

    /// Whether the principal may read a device that is named by text.
    #[must_use]
    pub fn may_read(&self, device: &str) -> bool {
        match DeviceId::parse(device) {
            Ok(device) => self.allows(Access::Read(&device)),
            // What came in under no name of a device is for those who see everything.
            Err(_) => self.allows(Access::ReadAll),
        }
    }
}

fn readable(scope: &Scope) -> Option<&DeviceId> {
    scope.device().filter(|device| scope.allows(Access::Read(device)))
}

fn who_may(access: Access<'_>) -> &'static str {
    match access {
        Access::Query => {
            "SQL is for the roles admin and operator, since it reads across devices: ask one of \
             them, or use the pages of the devices"
        }
        Access::Administer | Access::PublishLog => "this is for the role admin",
        Access::ReadAll => "this is for the roles admin, operator and support",
        Access::Operate
        | Access::ReadLog
        | Access::Feed(_)
        | Access::Upload(_)
        | Access::Read(_)
        | Access::Command(_) => "this is for the roles admin and operator",
    }
}

/// The one answer for a device that is not there or not yours.
pub(crate) fn device_not_found(device: &DeviceId) -> Error {
    Error::not_found("device.not_found", format!("device `{device}` not found"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axle_domain::{Timestamp, TokenHash, UserHandle, UserName};

    fn device(id: &str) -> DeviceId {
        DeviceId::parse(id).unwrap()
    }

    fn user(role: Role, devices: &[&str]) -> Principal {
        Principal::User(User {
            name: UserName::parse("anna").unwrap(),
            display_name: String::new(),
            role,
            devices: devices.iter().map(|id| device(id)).collect(),
            handle: UserHandle([0; 16]),
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
            disabled_at: None,
            version: 1,
        })
    }

    fn token(scopes: &[&str]) -> Principal {
        Principal::Token(Token {
            id: "t".to_owned(),
            hash: TokenHash([0; 32]),
            scopes: scopes.iter().map(|scope| Scope::parse(scope).unwrap()).collect(),
            created_at: Timestamp(0),
        })
    }

    #[test]
    fn everyone_reads_what_is_theirs() {
        let own = |ids: &[&str]| Visibility::Devices(ids.iter().map(|id| device(id)).collect());
        for (principal, expected) in [
            (user(Role::Household, &["m-2", "m-1"]), own(&["m-1", "m-2"])),
            (user(Role::Household, &[]), own(&[])),
            (user(Role::Support, &[]), Visibility::All),
            (user(Role::Operator, &[]), Visibility::All),
            (Principal::Link, Visibility::All),
            (token(&["admin"]), Visibility::All),
            (token(&["upload:a"]), own(&[])),
            (token(&["read:b", "command:a", "read:a"]), own(&["a", "b"])),
        ] {
            assert_eq!(principal.reads(), expected, "{principal:?}");
        }
        assert!(!user(Role::Household, &["m-1"]).may_read("m-2"));
        assert!(!user(Role::Household, &["m-1"]).may_read("no device"));
        assert!(token(&["admin"]).may_read("no device"));
    }

    #[test]
    fn a_refusal_says_no_more_than_it_may() {
        let household = user(Role::Household, &["m-1"]);
        let other = device("m-2");
        let seen = household.require(Access::Command(&other)).unwrap_err();
        assert_eq!((seen.kind, seen.code), (Kind::NotFound, "device.not_found"));
        let seen = household.require(Access::Query).unwrap_err();
        assert_eq!((seen.kind, seen.code), (Kind::Denied, "role.denied"));
        assert!(user(Role::Support, &[]).require(Access::Query).is_err());
        assert!(user(Role::Operator, &[]).require(Access::Query).is_ok());
        assert!(user(Role::Operator, &[]).require(Access::Administer).is_err());
    }
}
