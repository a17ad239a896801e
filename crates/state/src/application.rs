//! Backend applications.

use std::sync::Arc;

use async_trait::async_trait;
use axle_domain::port::ApplicationStore;
use axle_domain::{
    Application, ApplicationKind, ApplicationName, ClaimTerms, Error, Fingerprint, Grants,
    IdPattern, Kind, Timestamp, TokenHash, TopicFilter,
};
use rusqlite::{Row, params};

use crate::SqliteState;
use crate::failure::{Failure, corrupt};

#[async_trait]
impl ApplicationStore for SqliteState {
    async fn create_application(&self, application: Application) -> Result<(), Error> {
        self.write(move |writing| {
            let mut statement = writing.connection.prepare_cached(
                "INSERT INTO application (name, kind, publish, subscribe, token, certificates,
                 created_at, claim) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
            )?;
            let count = statement.execute(params![
                application.name.as_str(),
                application.kind.as_str(),
                filters(&application.grants.publish),
                filters(&application.grants.subscribe),
                application.token.map(|token| token.0),
                certificates(&application.certificates),
                application.created_at.0,
                claim(&application.kind),
            ])?;
            if count == 0 {
                let message = format!(
                    "application `{}` exists already: choose another name",
                    application.name
                );
                return Err(Error::new(Kind::Conflict, "application.exists", message).into());
            }
            Ok(())
        })
        .await
    }

    async fn update_application(&self, application: Application) -> Result<(), Error> {
        self.write(move |writing| {
            let mut statement = writing.connection.prepare_cached(
                "UPDATE application SET publish = ?2, subscribe = ?3, token = ?4,
                 certificates = ?5, claim = ?6 WHERE name = ?1",
            )?;
            let count = statement.execute(params![
                application.name.as_str(),
                filters(&application.grants.publish),
                filters(&application.grants.subscribe),
                application.token.map(|token| token.0),
                certificates(&application.certificates),
                claim(&application.kind),
            ])?;
            if count == 0 {
                let message = format!("application `{}` not found", application.name);
                return Err(Error::not_found("application.not_found", message).into());
            }
            Ok(())
        })
        .await
    }

    async fn list_applications(&self) -> Result<Vec<Application>, Error> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name, kind, publish, subscribe, token, certificates, created_at, claim
                 FROM application ORDER BY name",
            )?;
            statement.query_and_then([], application)?.collect()
        })
        .await
    }

    async fn delete_application(&self, name: &ApplicationName) -> Result<bool, Error> {
        let name = name.clone();
        self.write(move |writing| {
            let mut statement =
                writing.connection.prepare_cached("DELETE FROM application WHERE name = ?1")?;
            Ok(statement.execute([name.as_str()])? > 0)
        })
        .await
    }
}

fn filters(filters: &[TopicFilter]) -> String {
    let texts: Vec<_> = filters.iter().map(TopicFilter::as_str).collect();
    serde_json::Value::from(texts).to_string()
}

/// What a claim may ask for, as JSON; nothing for others.
fn claim(kind: &ApplicationKind) -> Option<String> {
    let ApplicationKind::Claim(terms) = kind else { return None };
    let ClaimTerms { devices, device_kind, left } = terms;
    let json = serde_json::json!({"devices": devices.as_str(), "kind": device_kind, "left": left});
    Some(json.to_string())
}

fn terms(text: &str) -> Option<ClaimTerms> {
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    Some(ClaimTerms {
        devices: IdPattern::parse(json.get("devices")?.as_str()?).ok()?,
        device_kind: json.get("kind")?.as_str()?.to_owned(),
        left: u32::try_from(json.get("left")?.as_u64()?).ok()?,
    })
}

fn certificates(certificates: &[Fingerprint]) -> String {
    let texts: Vec<_> = certificates.iter().map(Fingerprint::to_string).collect();
    serde_json::Value::from(texts).to_string()
}

fn application(row: &Row<'_>) -> Result<Application, Failure> {
    let name: String = row.get(0)?;
    let broken = || corrupt(format!("the entry of application `{name}` cannot be read"));
    let texts = |column| -> Result<Vec<String>, Failure> {
        let text: String = row.get(column)?;
        serde_json::from_str(&text).map_err(|_error| broken())
    };
    let parse = |column| -> Result<Vec<TopicFilter>, Failure> {
        let filters = texts(column)?;
        filters.iter().map(|it| TopicFilter::parse(it).map_err(|_error| broken())).collect()
    };
    let (kind, claim): (String, Option<String>) = (row.get(1)?, row.get(7)?);
    let kind = match (kind.as_str(), claim) {
        ("backend", None) => ApplicationKind::Backend,
        ("claim", Some(claim)) => ApplicationKind::Claim(terms(&claim).ok_or_else(broken)?),
        _ => return Err(broken()),
    };
    let token: Option<[u8; 32]> = row.get(4)?;
    let certificates = texts(5)?;
    let certificates =
        certificates.iter().map(|it| Fingerprint::parse(it).map_err(|_error| broken()));
    Ok(Application {
        name: ApplicationName::parse(&name).map_err(|_error| broken())?,
        kind,
        grants: Arc::new(Grants { publish: parse(2)?, subscribe: parse(3)? }),
        token: token.map(TokenHash),
        certificates: certificates.collect::<Result<_, _>>()?,
        created_at: Timestamp(row.get(6)?),
    })
}
