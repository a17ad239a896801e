//! Who has signed in, and who is invited to, at rest.

use async_trait::async_trait;

use crate::{Error, Invitation, SecretHash, Session, Timestamp, User, UserName};

/// Which sessions to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhichSessions {
    /// This one.
    One(SecretHash),
    /// Those of a person, except perhaps one.
    Of(UserName, Option<SecretHash>),
    /// Those that began before one moment, or were not used since another.
    Older(Timestamp, Timestamp),
}

/// Where sessions and invitations are kept, as hashes.
///
/// 1. A method that changes something returns when the change is durable.
/// 2. No secret reaches the store.
/// 3. *Bounded.* A person has [`crate::limit::SESSIONS_PER_USER_MAX`] sessions at most, and so
///    have all the administrators without a name together; the one that was not used for longest
///    makes room for a new one.
/// 4. *Once.* `take_invitation` gives an invitation to one caller alone.
/// 5. A person has one invitation at most: a new one takes the place of the old.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Keeps a session.
    ///
    /// # Errors
    /// `NotFound` when it names a person who is not there.
    async fn create_session(&self, session: Session) -> Result<(), Error>;

    /// The session of that hash, live or not, and whose it is.
    async fn find_session(
        &self,
        hash: SecretHash,
    ) -> Result<Option<(Session, Option<User>)>, Error>;

    /// Writes down that a session was used.
    async fn touch_session(&self, hash: SecretHash, at: Timestamp) -> Result<(), Error>;

    /// Ends sessions; returns how many.
    async fn delete_sessions(&self, which: WhichSessions) -> Result<usize, Error>;

    /// Keeps an invitation.
    ///
    /// # Errors
    /// `NotFound` when there is no such person.
    async fn put_invitation(&self, invitation: Invitation) -> Result<(), Error>;

    /// The invitation of that hash, expired or not.
    async fn find_invitation(&self, hash: SecretHash) -> Result<Option<Invitation>, Error>;

    /// Takes an invitation away and returns it.
    async fn take_invitation(&self, hash: SecretHash) -> Result<Option<Invitation>, Error>;
}
