//! Bearer tokens.

use async_trait::async_trait;
use axle_domain::port::TokenStore;
use axle_domain::{Error, Kind, Scope, Timestamp, Token, TokenHash};
use rusqlite::{Row, params};

use crate::SqliteState;
use crate::failure::{Failure, corrupt};

const TOKEN: &str = "SELECT id, hash, scopes, created_at FROM token";

#[async_trait]
impl TokenStore for SqliteState {
    async fn create_token(&self, token: Token) -> Result<(), Error> {
        self.write(move |writing| {
            let scopes: Vec<String> = token.scopes.iter().map(Scope::to_string).collect();
            let mut statement = writing.connection.prepare_cached(
                "INSERT INTO token (id, hash, scopes, created_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO NOTHING",
            )?;
            let scopes = serde_json::Value::from(scopes).to_string();
            let count =
                statement.execute(params![token.id, token.hash.0, scopes, token.created_at.0])?;
            if count == 0 {
                let message = format!("token `{}` exists already: choose another id", token.id);
                return Err(Error::new(Kind::Conflict, "token.exists", message).into());
            }
            Ok(())
        })
        .await
    }

    async fn find_token(&self, hash: TokenHash) -> Result<Option<Token>, Error> {
        self.read(move |connection| {
            let mut statement = connection.prepare_cached(&format!("{TOKEN} WHERE hash = ?1"))?;
            let mut rows = statement.query([hash.0])?;
            rows.next()?.map(token).transpose()
        })
        .await
    }

    async fn list_tokens(&self) -> Result<Vec<Token>, Error> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!("{TOKEN} ORDER BY id"))?;
            statement.query_and_then([], token)?.collect()
        })
        .await
    }

    async fn delete_token(&self, id: &str) -> Result<bool, Error> {
        let id = id.to_owned();
        self.write(move |writing| {
            let mut statement =
                writing.connection.prepare_cached("DELETE FROM token WHERE id = ?1")?;
            Ok(statement.execute([id])? > 0)
        })
        .await
    }
}

fn token(row: &Row<'_>) -> Result<Token, Failure> {
    let id: String = row.get(0)?;
    let scopes: String = row.get(2)?;
    let broken = || corrupt(format!("the scopes of token `{id}` cannot be read"));
    let scopes: Vec<String> = serde_json::from_str(&scopes).map_err(|_error| broken())?;
    let scopes = scopes.iter().map(|scope| Scope::parse(scope).map_err(|_error| broken()));
    Ok(Token {
        scopes: scopes.collect::<Result<_, _>>()?,
        hash: TokenHash(row.get(1)?),
        created_at: Timestamp(row.get(3)?),
        id,
    })
}
