//! People, what they sign in with, and their sessions, in ordered maps.

use std::collections::BTreeMap;

use async_trait::async_trait;
use axle_domain::port::{
    CredentialStore, SessionStore, UserEntry, UserFilter, UserStore, WhichSessions,
};
use axle_domain::{
    Error, Invitation, Kind, Passkey, SecretHash, Session, Timestamp, User, UserName, limit,
};

use super::{MemoryState, conflict};

#[derive(Clone, Debug, Default)]
pub(super) struct People {
    users: BTreeMap<UserName, User>,
    passwords: BTreeMap<UserName, String>,
    /// In the order of registration.
    passkeys: Vec<Passkey>,
    sessions: BTreeMap<SecretHash, Session>,
    invitations: BTreeMap<UserName, Invitation>,
}

impl People {
    pub(super) fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    fn entry(&self, user: &User) -> UserEntry {
        UserEntry {
            user: user.clone(),
            has_password: self.passwords.contains_key(&user.name),
            passkey_count: self.passkeys.iter().filter(|key| key.user == user.name).count(),
        }
    }

    fn check(&self, name: &UserName) -> Result<(), Error> {
        if self.users.contains_key(name) {
            return Ok(());
        }
        Err(Error::not_found("user.not_found", format!("user `{name}` not found")))
    }
}

#[async_trait]
impl UserStore for MemoryState {
    async fn create_user(&self, user: User) -> Result<(), Error> {
        let people = &mut self.contents().people;
        if people.users.contains_key(&user.name) {
            return Err(conflict("user.exists", format!("user `{}` exists already", user.name)));
        }
        if people.users.len() >= limit::USERS_MAX {
            return Err(Error::new(Kind::TooLarge, "user.too_many", "there are too many people"));
        }
        people.users.insert(user.name.clone(), user);
        Ok(())
    }

    async fn update_user(&self, user: User) -> Result<(), Error> {
        let people = &mut self.contents().people;
        people.check(&user.name)?;
        let stored = people.users.get(&user.name).map_or(0, |stored| stored.version);
        if stored + 1 != user.version {
            let message = format!("user `{}` has version {stored}", user.name);
            return Err(conflict("user.version_conflict", message));
        }
        people.users.insert(user.name.clone(), user);
        Ok(())
    }

    async fn find_user(&self, name: &UserName) -> Result<Option<UserEntry>, Error> {
        let people = &self.contents().people;
        Ok(people.users.get(name).map(|user| people.entry(user)))
    }

    async fn list_users(&self, filter: UserFilter) -> Result<Vec<UserEntry>, Error> {
        let search = filter.search.to_lowercase();
        let people = &self.contents().people;
        let wanted = people.users.values().filter(|user| {
            filter.after.as_ref().is_none_or(|after| user.name > *after)
                && (user.name.as_str().contains(&search)
                    || user.display_name.to_lowercase().contains(&search))
        });
        Ok(wanted.take(filter.limit).map(|user| people.entry(user)).collect())
    }

    async fn delete_user(&self, name: &UserName) -> Result<bool, Error> {
        let people = &mut self.contents().people;
        people.passwords.remove(name);
        people.passkeys.retain(|key| key.user != *name);
        people.sessions.retain(|_, session| session.user.as_ref() != Some(name));
        people.invitations.remove(name);
        Ok(people.users.remove(name).is_some())
    }
}

#[async_trait]
impl CredentialStore for MemoryState {
    async fn put_password(&self, user: &UserName, hash: Option<String>) -> Result<(), Error> {
        let people = &mut self.contents().people;
        people.check(user)?;
        match hash {
            Some(hash) => people.passwords.insert(user.clone(), hash),
            None => people.passwords.remove(user),
        };
        Ok(())
    }

    async fn find_password(&self, user: &UserName) -> Result<Option<String>, Error> {
        Ok(self.contents().people.passwords.get(user).cloned())
    }

    async fn add_passkey(&self, passkey: Passkey) -> Result<(), Error> {
        let people = &mut self.contents().people;
        people.check(&passkey.user)?;
        if people.passkeys.iter().any(|other| other.id == passkey.id) {
            return Err(conflict("passkey.exists", "the passkey is registered already".to_owned()));
        }
        let own = people.passkeys.iter().filter(|other| other.user == passkey.user).count();
        if own >= limit::PASSKEYS_PER_USER_MAX {
            return Err(Error::new(Kind::TooLarge, "passkey.too_many", "too many passkeys"));
        }
        people.passkeys.push(passkey);
        Ok(())
    }

    async fn find_passkey(&self, id: &[u8]) -> Result<Option<Passkey>, Error> {
        Ok(self.contents().people.passkeys.iter().find(|key| key.id == id).cloned())
    }

    async fn list_passkeys(&self, user: &UserName) -> Result<Vec<Passkey>, Error> {
        let contents = self.contents();
        let mut own: Vec<_> =
            contents.people.passkeys.iter().filter(|key| key.user == *user).cloned().collect();
        own.sort_by_key(|key| key.created_at);
        Ok(own)
    }

    async fn advance_passkey(
        &self,
        id: &[u8],
        sign_count: u32,
        at: Timestamp,
    ) -> Result<bool, Error> {
        let mut contents = self.contents();
        let Some(key) = contents.people.passkeys.iter_mut().find(|key| key.id == id) else {
            return Ok(false);
        };
        let is_forward = sign_count > key.sign_count || (sign_count == 0 && key.sign_count == 0);
        if is_forward {
            (key.sign_count, key.last_used_at) = (sign_count, Some(at));
        }
        Ok(is_forward)
    }

    async fn delete_passkey(&self, user: &UserName, id: &[u8]) -> Result<bool, Error> {
        let passkeys = &mut self.contents().people.passkeys;
        let before = passkeys.len();
        passkeys.retain(|key| key.user != *user || key.id != id);
        Ok(passkeys.len() < before)
    }
}

#[async_trait]
impl SessionStore for MemoryState {
    async fn create_session(&self, session: Session) -> Result<(), Error> {
        let people = &mut self.contents().people;
        if let Some(user) = &session.user {
            people.check(user)?;
        }
        let own = people.sessions.values().filter(|other| other.user == session.user);
        let mut own: Vec<_> = own.map(|other| (other.last_used_at, other.hash)).collect();
        own.sort();
        let excess = (own.len() + 1).saturating_sub(limit::SESSIONS_PER_USER_MAX);
        for (_, hash) in own.into_iter().take(excess) {
            people.sessions.remove(&hash);
        }
        people.sessions.insert(session.hash, session);
        Ok(())
    }

    async fn find_session(
        &self,
        hash: SecretHash,
    ) -> Result<Option<(Session, Option<User>)>, Error> {
        let people = &self.contents().people;
        Ok(people.sessions.get(&hash).map(|session| {
            let user = session.user.as_ref().and_then(|name| people.users.get(name));
            (session.clone(), user.cloned())
        }))
    }

    async fn touch_session(&self, hash: SecretHash, at: Timestamp) -> Result<(), Error> {
        if let Some(session) = self.contents().people.sessions.get_mut(&hash) {
            session.last_used_at = session.last_used_at.max(at);
        }
        Ok(())
    }

    async fn delete_sessions(&self, which: WhichSessions) -> Result<usize, Error> {
        let sessions = &mut self.contents().people.sessions;
        let before = sessions.len();
        sessions.retain(|hash, session| match &which {
            WhichSessions::One(one) => hash != one,
            WhichSessions::Of(user, except) => {
                session.user.as_ref() != Some(user) || Some(*hash) == *except
            }
            WhichSessions::Older(begun, used) => {
                session.created_at >= *begun && session.last_used_at >= *used
            }
        });
        Ok(before - sessions.len())
    }

    async fn put_invitation(&self, invitation: Invitation) -> Result<(), Error> {
        let people = &mut self.contents().people;
        people.check(&invitation.user)?;
        people.invitations.insert(invitation.user.clone(), invitation);
        Ok(())
    }

    async fn find_invitation(&self, hash: SecretHash) -> Result<Option<Invitation>, Error> {
        let contents = self.contents();
        Ok(contents.people.invitations.values().find(|it| it.hash == hash).cloned())
    }

    async fn take_invitation(&self, hash: SecretHash) -> Result<Option<Invitation>, Error> {
        let invitations = &mut self.contents().people.invitations;
        let user = invitations.values().find(|it| it.hash == hash).map(|it| it.user.clone());
        Ok(user.and_then(|user| invitations.remove(&user)))
    }
}
