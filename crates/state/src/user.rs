//! People.

use async_trait::async_trait;
use axle_domain::port::{UserEntry, UserFilter, UserStore};
use axle_domain::{
    DeviceId, Error, Kind, Role, SearchEntry, SearchKind, Timestamp, User, UserHandle, UserName,
    limit,
};
use rusqlite::{Connection, Row, params};

use crate::device::signed;
use crate::failure::{Failure, corrupt};
use crate::{SqliteState, search};

/// The columns of a person, which stand first in every row that [`user`] reads.
pub(crate) const USER_COLUMNS: &str = "user.name, user.display_name, user.role, user.devices, \
    user.handle, user.created_at, user.updated_at, user.disabled_at, user.version";
const CREDENTIALS: &str = "user.password IS NOT NULL, \
    (SELECT count(*) FROM passkey WHERE passkey.user = user.name)";

#[async_trait]
impl UserStore for SqliteState {
    async fn create_user(&self, user: User) -> Result<(), Error> {
        self.write(move |writing| create(writing.connection, &user)).await
    }

    async fn update_user(&self, user: User) -> Result<(), Error> {
        self.write(move |writing| update(writing.connection, &user)).await
    }

    async fn find_user(&self, name: &UserName) -> Result<Option<UserEntry>, Error> {
        let name = name.clone();
        self.read(move |connection| find(connection, &name)).await
    }

    async fn list_users(&self, filter: UserFilter) -> Result<Vec<UserEntry>, Error> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!(
                "SELECT {USER_COLUMNS}, {CREDENTIALS} FROM user WHERE name > ?1
                 AND (?2 = '' OR instr(name, ?2) > 0 OR instr(display_name_folded, ?2) > 0)
                 ORDER BY name LIMIT ?3"
            ))?;
            let after = filter.after.as_ref().map_or("", UserName::as_str);
            let search = filter.search.to_lowercase();
            let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
            statement.query_and_then(params![after, search, limit], entry)?.collect()
        })
        .await
    }

    async fn delete_user(&self, name: &UserName) -> Result<bool, Error> {
        let name = name.clone();
        self.write(move |writing| {
            // What belongs to the person goes by the foreign keys.
            let mut statement =
                writing.connection.prepare_cached("DELETE FROM user WHERE name = ?1")?;
            let was_there = statement.execute([name.as_str()])? > 0;
            search::delete(writing.connection, SearchKind::User, name.as_str())?;
            Ok(was_there)
        })
        .await
    }
}

fn create(connection: &Connection, user: &User) -> Result<(), Failure> {
    let count: i64 =
        connection.prepare_cached("SELECT count(*) FROM user")?.query_row([], |row| row.get(0))?;
    let count = u64::try_from(count).unwrap_or(0);
    if count >= limit::USERS_MAX as u64 {
        let message = format!("an instance knows at most {} people", limit::USERS_MAX);
        let error = Error::new(Kind::TooLarge, "user.too_many", message);
        return Err(error.with_limit(limit::USERS_MAX as u64, count).into());
    }
    let mut statement = connection.prepare_cached(
        "INSERT INTO user (name, display_name, display_name_folded, role, devices, handle,
         created_at, updated_at, disabled_at, version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
    )?;
    let inserted = statement.execute(params![
        user.name.as_str(),
        user.display_name,
        user.display_name.to_lowercase(),
        user.role.as_str(),
        devices(user),
        user.handle.0,
        user.created_at.0,
        user.updated_at.0,
        user.disabled_at.map(|time| time.0),
        signed(user.version),
    ])?;
    if inserted == 0 {
        let message = format!("user `{}` exists already: choose another name", user.name);
        return Err(Error::new(Kind::Conflict, "user.exists", message).into());
    }
    search::put(connection, &search_entry(user))
}

fn search_entry(user: &User) -> SearchEntry {
    SearchEntry {
        kind: SearchKind::User,
        id: user.name.to_string(),
        name: user.display_name.clone(),
        model: String::new(),
        what: user.role.to_string(),
    }
}

fn update(connection: &Connection, user: &User) -> Result<(), Failure> {
    let mut statement = connection.prepare_cached(
        "UPDATE user SET display_name = ?2, display_name_folded = ?3, role = ?4, devices = ?5,
         updated_at = ?6, disabled_at = ?7, version = ?8 WHERE name = ?1 AND version = ?8 - 1",
    )?;
    let count = statement.execute(params![
        user.name.as_str(),
        user.display_name,
        user.display_name.to_lowercase(),
        user.role.as_str(),
        devices(user),
        user.updated_at.0,
        user.disabled_at.map(|time| time.0),
        signed(user.version),
    ])?;
    if count > 0 {
        return search::put(connection, &search_entry(user));
    }
    let stored = find(connection, &user.name)?.ok_or_else(|| unknown(&user.name))?.user;
    let message = format!(
        "user `{}` has version {} and not {}: read it again, then decide",
        user.name,
        stored.version,
        user.version.saturating_sub(1)
    );
    Err(Error::new(Kind::Conflict, "user.version_conflict", message).into())
}

fn find(connection: &Connection, name: &UserName) -> Result<Option<UserEntry>, Failure> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {USER_COLUMNS}, {CREDENTIALS} FROM user WHERE name = ?1"
    ))?;
    let mut rows = statement.query([name.as_str()])?;
    rows.next()?.map(entry).transpose()
}

fn devices(user: &User) -> String {
    let ids: Vec<_> = user.devices.iter().map(DeviceId::as_str).collect();
    serde_json::Value::from(ids).to_string()
}

fn entry(row: &Row<'_>) -> Result<UserEntry, Failure> {
    let passkey_count: u32 = row.get(10)?;
    Ok(UserEntry {
        user: user(row)?,
        has_password: row.get(9)?,
        passkey_count: usize::try_from(passkey_count).unwrap_or(usize::MAX),
    })
}

/// The person in a row that begins with [`USER_COLUMNS`].
pub(crate) fn user(row: &Row<'_>) -> Result<User, Failure> {
    let name = user_name(row, 0)?;
    let broken = |what: &str| corrupt(format!("{what} of user `{name}` cannot be read"));
    let (role, devices): (String, String) = (row.get(2)?, row.get(3)?);
    let devices: Vec<String> =
        serde_json::from_str(&devices).map_err(|_error| broken("the devices"))?;
    let devices = devices.iter().map(|id| DeviceId::parse(id));
    let (version, disabled_at): (i64, Option<i64>) = (row.get(8)?, row.get(7)?);
    Ok(User {
        display_name: row.get(1)?,
        role: Role::parse(&role).ok_or_else(|| broken("the role"))?,
        devices: devices.collect::<Result<_, _>>().map_err(|_error| broken("the devices"))?,
        handle: UserHandle(row.get(4)?),
        created_at: Timestamp(row.get(5)?),
        updated_at: Timestamp(row.get(6)?),
        disabled_at: disabled_at.map(Timestamp),
        version: u64::try_from(version).map_err(|_error| broken("the version"))?,
        name,
    })
}

/// The user name in a column.
pub(crate) fn user_name(row: &Row<'_>, column: usize) -> Result<UserName, Failure> {
    let text = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    UserName::parse(text).map_err(|error| corrupt(error.message))
}

/// Refuses what belongs to a person who is not there.
pub(crate) fn check_user(connection: &Connection, name: &UserName) -> Result<(), Failure> {
    match connection
        .prepare_cached("SELECT 1 FROM user WHERE name = ?1")?
        .exists([name.as_str()])?
    {
        true => Ok(()),
        false => Err(unknown(name).into()),
    }
}

fn unknown(name: &UserName) -> Error {
    Error::not_found("user.not_found", format!("user `{name}` not found: see `axle user list`"))
}
