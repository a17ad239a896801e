//! Sessions of people: opening them, recognising them, ending them.

use std::sync::Arc;

use axle_domain::port::{Clock, SessionStore, WhichSessions};
use axle_domain::{Error, Kind, SecretHash, Session, UserName, limit};
use sha2::{Digest, Sha256};

use crate::app::Ports;
use crate::principal::Principal;
use crate::random::random_text;

/// A session that was recognised.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who.
    pub principal: Principal,
    /// Which session.
    pub session: Session,
}

/// The desk of sessions.
pub struct Sessions {
    store: Arc<dyn SessionStore>,
    clock: Arc<dyn Clock>,
}

impl Sessions {
    pub(crate) fn new(ports: &Ports) -> Self {
        Self { store: Arc::clone(&ports.sessions), clock: Arc::clone(&ports.clock) }
    }

    /// Opens a session for a person, or for the administrator without a name; returns its
    /// secret, of which axle keeps the hash alone.
    ///
    /// # Errors
    /// `NotFound` for a person who is not there; `Internal` without randomness.
    pub async fn open(&self, user: Option<UserName>) -> Result<String, Error> {
        let now = self.clock.now();
        let longest = limit::SESSION_TIME_MAX.max(limit::LINK_SESSION_TIME_MAX);
        let old = WhichSessions::Older(now.before(longest), now.before(limit::SESSION_IDLE_MAX));
        self.store.delete_sessions(old).await?;
        let secret = random_text("", 40)?;
        let hash = secret_hash(&secret);
        self.store
            .create_session(Session { hash, user, created_at: now, last_used_at: now })
            .await?;
        Ok(secret)
    }

    /// Recognises a secret.
    ///
    /// # Errors
    /// `Unauthenticated` for a session that is not known, too old, or of a person who may not
    /// sign in any more.
    pub async fn authenticate(&self, secret: &str) -> Result<SignedIn, Error> {
        let now = self.clock.now();
        let found = self.store.find_session(secret_hash(secret)).await?;
        let (session, user) = found.filter(|(session, _)| session.is_live(now)).ok_or_else(over)?;
        let principal = match (&session.user, user) {
            (None, _) => Principal::Link,
            (Some(_), Some(user)) if user.disabled_at.is_none() => Principal::User(user),
            (Some(_), _) => return Err(over()),
        };
        if now >= session.last_used_at.after(limit::SESSION_TOUCH_INTERVAL) {
            self.store.touch_session(session.hash, now).await?;
        }
        Ok(SignedIn { principal, session })
    }

    /// Ends sessions; returns how many.
    ///
    /// # Errors
    /// As the session store.
    pub async fn end(&self, which: WhichSessions) -> Result<usize, Error> {
        self.store.delete_sessions(which).await
    }
}

/// What is kept of a secret.
pub(crate) fn secret_hash(secret: &str) -> SecretHash {
    SecretHash(Sha256::digest(secret.as_bytes()).into())
}

fn over() -> Error {
    Error::new(Kind::Unauthenticated, "session.over", "the session is over: sign in again")
}
