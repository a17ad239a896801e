//! Sessions and invitations.

use async_trait::async_trait;
use axle_domain::port::{SessionStore, WhichSessions};
use axle_domain::{Error, Invitation, SecretHash, Session, Timestamp, User, UserName, limit};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};

use crate::SqliteState;
use crate::failure::Failure;
use crate::user::{USER_COLUMNS, check_user, user, user_name};

const INVITATION: &str = "SELECT user, hash, expires_at FROM invitation WHERE hash = ?1";

#[async_trait]
impl SessionStore for SqliteState {
    async fn create_session(&self, session: Session) -> Result<(), Error> {
        self.write(move |writing| create(writing.connection, &session)).await
    }

    async fn find_session(
        &self,
        hash: SecretHash,
    ) -> Result<Option<(Session, Option<User>)>, Error> {
        self.read(move |connection| find(connection, hash)).await
    }

    async fn touch_session(&self, hash: SecretHash, at: Timestamp) -> Result<(), Error> {
        self.write(move |writing| {
            let mut statement = writing.connection.prepare_cached(
                "UPDATE session SET last_used_at = max(last_used_at, ?2) WHERE hash = ?1",
            )?;
            statement.execute(params![hash.0, at.0])?;
            Ok(())
        })
        .await
    }

    async fn delete_sessions(&self, which: WhichSessions) -> Result<usize, Error> {
        self.write(move |writing| {
            let run = |sql, values: &[&dyn rusqlite::ToSql]| {
                writing.connection.prepare_cached(sql)?.execute(values)
            };
            Ok(match which {
                WhichSessions::One(hash) => run("DELETE FROM session WHERE hash = ?1", &[&hash.0])?,
                WhichSessions::Of(user, except) => run(
                    "DELETE FROM session WHERE user = ?1 AND hash IS NOT ?2",
                    &[&user.as_str(), &except.map(|hash| hash.0)],
                )?,
                WhichSessions::Older(begun, used) => run(
                    "DELETE FROM session WHERE created_at < ?1 OR last_used_at < ?2",
                    &[&begun.0, &used.0],
                )?,
            })
        })
        .await
    }

    async fn put_invitation(&self, invitation: Invitation) -> Result<(), Error> {
        self.write(move |writing| {
            check_user(writing.connection, &invitation.user)?;
            let mut statement = writing.connection.prepare_cached(
                "INSERT INTO invitation (user, hash, expires_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (user) DO UPDATE SET hash = ?2, expires_at = ?3",
            )?;
            let Invitation { hash, user, expires_at } = invitation;
            statement.execute(params![user.as_str(), hash.0, expires_at.0])?;
            Ok(())
        })
        .await
    }

    async fn find_invitation(&self, hash: SecretHash) -> Result<Option<Invitation>, Error> {
        self.read(move |connection| find_invitation(connection, hash)).await
    }

    async fn take_invitation(&self, hash: SecretHash) -> Result<Option<Invitation>, Error> {
        self.write(move |writing| {
            let found = find_invitation(writing.connection, hash)?;
            writing
                .connection
                .prepare_cached("DELETE FROM invitation WHERE hash = ?1")?
                .execute([hash.0])?;
            Ok(found)
        })
        .await
    }
}

fn create(connection: &Connection, session: &Session) -> Result<(), Failure> {
    if let Some(user) = &session.user {
        check_user(connection, user)?;
    }
    let user = session.user.as_ref().map(UserName::as_str);
    // The new one is one of those that stay.
    let others = i64::try_from(limit::SESSIONS_PER_USER_MAX - 1).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "DELETE FROM session WHERE user IS ?1 AND hash NOT IN (SELECT hash FROM session
             WHERE user IS ?1 ORDER BY last_used_at DESC, hash DESC LIMIT ?2)",
        )?
        .execute(params![user, others])?;
    connection
        .prepare_cached(
            "INSERT INTO session (hash, user, created_at, last_used_at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![session.hash.0, user, session.created_at.0, session.last_used_at.0])?;
    Ok(())
}

fn find(
    connection: &Connection,
    hash: SecretHash,
) -> Result<Option<(Session, Option<User>)>, Failure> {
    let mut statement = connection
        .prepare_cached("SELECT user, created_at, last_used_at FROM session WHERE hash = ?1")?;
    let mut rows = statement.query([hash.0])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let has_name = row.get_ref(0)? != ValueRef::Null;
    let name = if has_name { Some(user_name(row, 0)?) } else { None };
    let session = Session {
        hash,
        user: name,
        created_at: Timestamp(row.get(1)?),
        last_used_at: Timestamp(row.get(2)?),
    };
    let Some(name) = &session.user else { return Ok(Some((session, None))) };
    let mut statement =
        connection.prepare_cached(&format!("SELECT {USER_COLUMNS} FROM user WHERE name = ?1"))?;
    let mut rows = statement.query([name.as_str()])?;
    let whose = rows.next()?.map(user).transpose()?;
    Ok(Some((session, whose)))
}

fn find_invitation(
    connection: &Connection,
    hash: SecretHash,
) -> Result<Option<Invitation>, Failure> {
    let mut statement = connection.prepare_cached(INVITATION)?;
    let mut rows = statement.query([hash.0])?;
    rows.next()?.map(invitation).transpose()
}

fn invitation(row: &Row<'_>) -> Result<Invitation, Failure> {
    Ok(Invitation {
        user: user_name(row, 0)?,
        hash: SecretHash(row.get(1)?),
        expires_at: Timestamp(row.get(2)?),
    })
}
