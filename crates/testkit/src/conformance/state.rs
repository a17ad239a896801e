//! The contracts of the ports of the state, clause by clause: [`device_registry`],
//! [`component_registry`], [`token_store`],
//! [`application_store`], [`user_store`], [`credential_store`],
//! [`session_store`], [`command_store`], [`reported_state`], [`connection_journal`],
//! [`search_index`], [`consumer_registry`].

#![expect(clippy::panic, reason = "a suite panics where the contract is broken")]

pub mod application_store;
pub mod client_session_store;
pub mod command_store;
pub mod component_registry;
pub mod connection_journal;
pub mod consumer_registry;
pub mod credential_store;
pub mod device_registry;
pub mod reported_state;
pub mod search_index;
pub mod session_store;
pub mod token_store;
pub mod user_store;

use async_trait::async_trait;
use axle_domain::port::{
    ApplicationStore, ClientSessionStore, CommandStore, ComponentRegistry, ConnectionJournal,
    ConsumerRegistry, CredentialStore, DeviceRegistry, ReportedState, SearchIndex, SessionStore,
    TokenStore, UserStore,
};
use axle_domain::{
    Command, CommandId, CommandStatus, Device, DeviceId, DeviceStatus, Error, Kind, Role,
    Timestamp, Transition, User, UserHandle, UserName,
};

/// The ports about people.
pub trait People: UserStore + CredentialStore + SessionStore {}

impl<T: UserStore + CredentialStore + SessionStore> People for T {}

/// The ports about devices and what they consist of.
pub trait Master: DeviceRegistry + ComponentRegistry + SearchIndex {}

impl<T: DeviceRegistry + ComponentRegistry + SearchIndex> Master for T {}

/// The ports about programs.
pub trait Programs: TokenStore + ApplicationStore {}

impl<T: TokenStore + ApplicationStore> Programs for T {}

/// The ports about who follows the log.
pub trait Followers: ClientSessionStore + ConsumerRegistry {}

impl<T: ClientSessionStore + ConsumerRegistry> Followers for T {}

/// An implementation of all these ports.
pub trait State:
    Master + Programs + People + CommandStore + ReportedState + ConnectionJournal + Followers
{
}

impl<T> State for T where
    T: Master + Programs + People + CommandStore + ReportedState + ConnectionJournal + Followers
{
}

/// Where a state outlives the one who opened it.
#[async_trait]
pub trait Place: Send + Sync {
    /// Opens the state that stands here; the one that was opened before has been dropped.
    async fn open(&self) -> Box<dyn State>;
}

/// A moment of the tests: so many seconds after a fixed one.
#[must_use]
pub fn at(seconds: i64) -> Timestamp {
    Timestamp(1_790_000_000_000_000).shifted(seconds * 1_000_000)
}

/// A device id.
#[must_use]
pub fn device_id(text: &str) -> DeviceId {
    DeviceId::parse(text).expect("a test gives valid ids")
}

/// A device as it is first registered.
#[must_use]
pub fn device(id: &str) -> Device {
    Device {
        id: device_id(id),
        status: DeviceStatus::Active,
        name: format!("Name of {id}"),
        kind: "bike".to_owned(),
        model: String::new(),
        created_at: at(0),
        updated_at: at(0),
        version: 1,
    }
}

/// A user name.
#[must_use]
pub fn user_name(text: &str) -> UserName {
    UserName::parse(text).expect("a test gives valid names")
}

/// A person of a household as first added. The handle is made of the name.
#[must_use]
pub fn user(name: &str) -> User {
    let mut handle = [0; 16];
    handle.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    User {
        name: user_name(name),
        display_name: format!("Name of {name}"),
        role: Role::Household,
        devices: vec![device_id("m-1"), device_id("m-2")],
        handle: UserHandle(handle),
        created_at: at(0),
        updated_at: at(0),
        disabled_at: None,
        version: 1,
    }
}

/// A command as it is first stored, with a deadline of a minute.
#[must_use]
pub fn command(id: &str, device: &str) -> Command {
    Command {
        id: CommandId::parse(id).expect("a test gives valid ids"),
        device: device_id(device),
        name: "unlock".to_owned(),
        payload: r#"{"for_s":5}"#.to_owned(),
        is_dry_run: false,
        deadline: at(60),
        history: vec![step(CommandStatus::Accepted, 0)],
        result: None,
    }
}

/// A step of a command.
#[must_use]
pub fn step(status: CommandStatus, seconds: i64) -> Transition {
    Transition { status, time: at(seconds), evidence: format!("\"{status}\" after {seconds} s") }
}

/// Demands an error of this kind and code.
fn assert_refused<T>(outcome: Result<T, Error>, kind: Kind, code: &str) {
    match outcome {
        Ok(_) => panic!("was not refused with {code}"),
        Err(error) => assert_eq!((error.kind, error.code), (kind, code), "{}", error.chain()),
    }
}
