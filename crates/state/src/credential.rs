//! What people sign in with: password hashes and passkeys.

use async_trait::async_trait;
use axle_domain::port::CredentialStore;
use axle_domain::{Error, Kind, Passkey, Timestamp, UserName, limit};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::SqliteState;
use crate::failure::Failure;
use crate::user::{check_user, user_name};

const PASSKEY: &str =
    "SELECT id, user, public_key, sign_count, label, created_at, last_used_at FROM passkey";

#[async_trait]
impl CredentialStore for SqliteState {
    async fn put_password(&self, user: &UserName, hash: Option<String>) -> Result<(), Error> {
        let user = user.clone();
        self.write(move |writing| {
            check_user(writing.connection, &user)?;
            let mut statement = writing
                .connection
                .prepare_cached("UPDATE user SET password = ?2 WHERE name = ?1")?;
            statement.execute(params![user.as_str(), hash])?;
            Ok(())
        })
        .await
    }

    async fn find_password(&self, user: &UserName) -> Result<Option<String>, Error> {
        let user = user.clone();
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT password FROM user WHERE name = ?1")?;
            let found = statement.query_row([user.as_str()], |row| row.get(0)).optional()?;
            Ok(found.flatten())
        })
        .await
    }

    async fn add_passkey(&self, passkey: Passkey) -> Result<(), Error> {
        self.write(move |writing| add(writing.connection, &passkey)).await
    }

    async fn find_passkey(&self, id: &[u8]) -> Result<Option<Passkey>, Error> {
        let id = id.to_vec();
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!("{PASSKEY} WHERE id = ?1"))?;
            let mut rows = statement.query([id])?;
            rows.next()?.map(passkey).transpose()
        })
        .await
    }

    async fn list_passkeys(&self, user: &UserName) -> Result<Vec<Passkey>, Error> {
        let user = user.clone();
        self.read(move |connection| {
            let mut statement = connection
                .prepare_cached(&format!("{PASSKEY} WHERE user = ?1 ORDER BY created_at, id"))?;
            statement.query_and_then([user.as_str()], passkey)?.collect()
        })
        .await
    }

    async fn advance_passkey(
        &self,
        id: &[u8],
        sign_count: u32,
        at: Timestamp,
    ) -> Result<bool, Error> {
        let id = id.to_vec();
        self.write(move |writing| {
            let mut statement = writing.connection.prepare_cached(
                "UPDATE passkey SET sign_count = ?2, last_used_at = ?3 WHERE id = ?1
                 AND (sign_count < ?2 OR (sign_count = 0 AND ?2 = 0))",
            )?;
            Ok(statement.execute(params![id, sign_count, at.0])? > 0)
        })
        .await
    }

    async fn delete_passkey(&self, user: &UserName, id: &[u8]) -> Result<bool, Error> {
        let (user, id) = (user.clone(), id.to_vec());
        self.write(move |writing| {
            let mut statement = writing
                .connection
                .prepare_cached("DELETE FROM passkey WHERE user = ?1 AND id = ?2")?;
            Ok(statement.execute(params![user.as_str(), id])? > 0)
        })
        .await
    }
}

fn add(connection: &Connection, passkey: &Passkey) -> Result<(), Failure> {
    check_user(connection, &passkey.user)?;
    let own: u32 = connection
        .prepare_cached("SELECT count(*) FROM passkey WHERE user = ?1")?
        .query_row([passkey.user.as_str()], |row| row.get(0))?;
    if u64::from(own) >= limit::PASSKEYS_PER_USER_MAX as u64 {
        let most = limit::PASSKEYS_PER_USER_MAX;
        let message = format!("a person has at most {most} passkeys: remove one first");
        let error = Error::new(Kind::TooLarge, "passkey.too_many", message);
        return Err(error.with_limit(most as u64, u64::from(own)).into());
    }
    let mut statement = connection.prepare_cached(
        "INSERT INTO passkey (id, user, public_key, sign_count, label, created_at, last_used_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
    )?;
    let count = statement.execute(params![
        passkey.id,
        passkey.user.as_str(),
        passkey.public_key,
        passkey.sign_count,
        passkey.label,
        passkey.created_at.0,
        passkey.last_used_at.map(|time| time.0),
    ])?;
    if count == 0 {
        let message = "the passkey is registered already: sign in with it";
        return Err(Error::new(Kind::Conflict, "passkey.exists", message).into());
    }
    Ok(())
}

fn passkey(row: &Row<'_>) -> Result<Passkey, Failure> {
    let last_used_at: Option<i64> = row.get(6)?;
    Ok(Passkey {
        id: row.get(0)?,
        user: user_name(row, 1)?,
        public_key: row.get(2)?,
        sign_count: row.get(3)?,
        label: row.get(4)?,
        created_at: Timestamp(row.get(5)?),
        last_used_at: last_used_at.map(Timestamp),
    })
}
