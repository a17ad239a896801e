//! Registered consumers of the log.

use async_trait::async_trait;
use axle_domain::port::ConsumerRegistry;
use axle_domain::{Consumer, ConsumerName, Error, Kind, Offset, Timestamp, limit};
use rusqlite::{Row, params};

use crate::SqliteState;
use crate::device::signed;
use crate::failure::{Failure, corrupt};

const CONSUMER: &str = "SELECT name, position, created_at, moved_at, lost_at FROM consumer";

#[async_trait]
impl ConsumerRegistry for SqliteState {
    async fn create_consumer(&self, consumer: Consumer) -> Result<(), Error> {
        self.write(move |writing| {
            let count: u64 = writing
                .connection
                .prepare_cached("SELECT count(*) FROM consumer")?
                .query_row([], |row| row.get::<_, i64>(0))?
                .unsigned_abs();
            let known = writing
                .connection
                .prepare_cached("SELECT 1 FROM consumer WHERE name = ?1")?
                .exists([consumer.name.as_str()])?;
            if known {
                let message = format!("consumer `{}` exists already", consumer.name);
                return Err(Error::new(Kind::Conflict, "consumer.exists", message).into());
            }
            if count >= limit::CONSUMERS_MAX as u64 {
                let message = format!("there are {count} consumers already: delete one first");
                return Err(Error::new(Kind::Conflict, "consumer.too_many", message)
                    .with_limit(limit::CONSUMERS_MAX as u64, count)
                    .into());
            }
            writing
                .connection
                .prepare_cached(
                    "INSERT INTO consumer (name, position, created_at, moved_at, lost_at)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    consumer.name.as_str(),
                    signed(consumer.position.0),
                    consumer.created_at.0,
                    consumer.moved_at.0,
                    consumer.lost_at.map(|at| at.0),
                ])?;
            Ok(())
        })
        .await
    }

    async fn find_consumer(&self, name: &ConsumerName) -> Result<Option<Consumer>, Error> {
        let name = name.clone();
        self.read(move |connection| {
            let mut statement =
                connection.prepare_cached(&format!("{CONSUMER} WHERE name = ?1"))?;
            let mut rows = statement.query([name.as_str()])?;
            rows.next()?.map(consumer).transpose()
        })
        .await
    }

    async fn list_consumers(&self) -> Result<Vec<Consumer>, Error> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!("{CONSUMER} ORDER BY name"))?;
            statement.query_and_then([], consumer)?.collect()
        })
        .await
    }

    async fn move_consumer(
        &self,
        name: &ConsumerName,
        position: Offset,
        at: Timestamp,
    ) -> Result<bool, Error> {
        let name = name.clone();
        self.write(move |writing| {
            let mut statement = writing.connection.prepare_cached(
                "UPDATE consumer SET position = ?2, moved_at = ?3, lost_at = NULL WHERE name = ?1",
            )?;
            Ok(statement.execute(params![name.as_str(), signed(position.0), at.0])? > 0)
        })
        .await
    }

    async fn lose_consumer(&self, name: &ConsumerName, at: Timestamp) -> Result<bool, Error> {
        let name = name.clone();
        self.write(move |writing| {
            let mut statement = writing
                .connection
                .prepare_cached("UPDATE consumer SET lost_at = ?2 WHERE name = ?1")?;
            Ok(statement.execute(params![name.as_str(), at.0])? > 0)
        })
        .await
    }

    async fn delete_consumer(&self, name: &ConsumerName) -> Result<bool, Error> {
        let name = name.clone();
        self.write(move |writing| {
            let mut statement =
                writing.connection.prepare_cached("DELETE FROM consumer WHERE name = ?1")?;
            Ok(statement.execute([name.as_str()])? > 0)
        })
        .await
    }
}

fn consumer(row: &Row<'_>) -> Result<Consumer, Failure> {
    let name: String = row.get(0)?;
    let position: i64 = row.get(1)?;
    let position = u64::try_from(position)
        .map_err(|_error| corrupt(format!("the position of consumer `{name}` is no offset")))?;
    Ok(Consumer {
        name: ConsumerName::parse(&name).map_err(|error| corrupt(error.message))?,
        position: Offset(position),
        created_at: Timestamp(row.get(2)?),
        moved_at: Timestamp(row.get(3)?),
        lost_at: row.get::<_, Option<i64>>(4)?.map(Timestamp),
    })
}
