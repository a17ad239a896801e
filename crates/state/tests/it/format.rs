//! The file: a state of each version is read for ever, and what is not ours is left alone.

use std::path::{Path, PathBuf};

use axle_domain::port::{
    ApplicationStore, ClientSessionStore, CommandStore, ComponentRegistry, ConnectionFilter,
    ConnectionJournal, ConsumerRegistry, Counters, CredentialStore, DeviceFilter, DeviceRegistry,
    Projected, QueueFigures, ReportedState, ReviewFilter, SessionChanges, SessionStore, TokenStore,
    UploadReceipt, UserStore,
};
use axle_domain::{
    Application, ApplicationKind, Certificate, ClaimTerms, CommandStatus, Consumer, ConsumerName,
    FieldKey, Fingerprint, IdPattern, Invitation, Kind, LatestValue, Offset, OwnedValue, Passkey,
    QuarantineFilter, QuarantineId, QuarantineItem, QuarantineState, Reply, Scope, SecretHash,
    Session, Timestamp, Token, TokenHash, UploadId,
};
use axle_state::{STATE_VERSION, SqliteState, verify};
use axle_testkit::conformance::state::application_store::application;
use axle_testkit::conformance::state::client_session_store::{
    queued, received, retained, session as session_at_rest,
};
use axle_testkit::conformance::state::component_registry::{batch, component, installed, serial};
use axle_testkit::conformance::state::connection_journal::{ended, refused};
use axle_testkit::conformance::state::{at, command, device, device_id, step, user};
use rusqlite::Connection;

use crate::place::Folder;

fn fixture(version: u32) -> PathBuf {
    let name = format!("tests/it/fixtures/state-v{version}.db");
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn certificate() -> Certificate {
    Certificate {
        fingerprint: Fingerprint([7; 32]),
        device: device_id("b-1"),
        not_before: at(0),
        not_after: at(3600),
        revoked_at: None,
    }
}

fn token() -> Token {
    Token {
        id: "t-1".to_owned(),
        hash: TokenHash([9; 32]),
        scopes: vec![Scope::Upload(device_id("b-1")), Scope::Admin],
        created_at: at(0),
    }
}

fn projected() -> Projected {
    let latest = |field: &str, value| LatestValue {
        device: device_id("b-1"),
        field: FieldKey(field.to_owned()),
        value,
        time: at(1),
        received_at: at(2),
    };
    Projected {
        through: Offset(42),
        latest: vec![
            latest("energy.watts[s-1]", OwnedValue::Float(5.0)),
            latest("status.firmware", OwnedValue::Text("1.2.3".to_owned())),
            latest("status.locked", OwnedValue::Bool(true)),
        ],
        last_seen: vec![(device_id("b-1"), at(2))],
        quarantined: vec![QuarantineItem {
            id: QuarantineId { offset: Offset(41), index: 2 },
            device: "b-1".to_owned(),
            topic: "v1/d/b-1/t/ride".to_owned(),
            stream: "ride".to_owned(),
            content_type: String::new(),
            code: "time.past".to_owned(),
            detail: "before the year 2000".to_owned(),
            payload: b"{\"time\":0}".to_vec(),
            received_at: at(2),
            sent_at: None,
            state: QuarantineState::Waiting,
        }],
        replayed: vec![],
        receipts: vec![UploadReceipt {
            token: "t-1".to_owned(),
            key: "k".to_owned(),
            body_hash: "00ff".to_owned(),
            upload: UploadId::parse("u-1").unwrap(),
            answer: "{\"stored\":1}".to_owned(),
            received_at: at(2),
        }],
        replies: vec![Reply {
            command: command("k-1", "b-1").id,
            device: device_id("b-1"),
            status: CommandStatus::Succeeded,
            reason: Some("done".to_owned()),
            result: Some("{}".to_owned()),
            received_at: at(3),
            offset: Offset(40),
        }],
        counted: Counters { stored: 4, quarantined: 3, rejected: 2, shed: 1 },
    }
}

async fn fill(state: &SqliteState) {
    state.create_device(device("b-1")).await.unwrap();
    state.add_certificate(certificate()).await.unwrap();
    state.create_token(token()).await.unwrap();
    state.create_command(command("k-1", "b-1")).await.unwrap();
    state.create_command(command("k-2", "b-1")).await.unwrap();
    state.advance(&command("k-2", "b-1").id, step(CommandStatus::Waiting, 1)).await.unwrap();
    state.commit(projected()).await.unwrap();
}

async fn check(state: &SqliteState) {
    let (b, expected) = (device_id("b-1"), projected());
    let filter = DeviceFilter { search: "NAME".to_owned(), after: None, limit: 10 };
    assert_eq!(state.list_devices(filter).await.unwrap(), [device("b-1")]);
    assert_eq!(state.list_certificates(Some(&b)).await.unwrap(), [certificate()]);
    assert_eq!(state.find_token(token().hash).await.unwrap(), Some(token()));
    let mut answered = command("k-1", "b-1");
    assert!(answered.answer(&expected.replies[0]));
    let mut waiting = command("k-2", "b-1");
    assert!(waiting.advance(step(CommandStatus::Waiting, 1)));
    assert_eq!(state.open_commands(&b).await.unwrap(), std::slice::from_ref(&waiting));
    assert_eq!(state.list_commands(&b, 10).await.unwrap(), [waiting, answered]);
    assert_eq!(state.latest(&b).await.unwrap(), (expected.latest, Some(at(2))));
    let of_b =
        QuarantineFilter { device: Some(b.clone()), limit: 10, ..QuarantineFilter::default() };
    assert_eq!(state.list_quarantined(of_b).await.unwrap(), expected.quarantined);
    let receipt = state.find_receipt("t-1", "k").await.unwrap();
    assert_eq!(receipt.as_ref(), expected.receipts.first());
    assert_eq!(state.counters().await.unwrap(), expected.counted);
    assert_eq!(state.position().await.unwrap(), Offset(42));
}

fn passkey() -> Passkey {
    Passkey {
        id: vec![1, 2, 3],
        user: user("anna").name,
        public_key: vec![0xa0],
        sign_count: 7,
        label: "phone".to_owned(),
        created_at: at(1),
        last_used_at: Some(at(2)),
    }
}

fn session() -> Session {
    let user = Some(user("anna").name);
    Session { hash: SecretHash([3; 32]), user, created_at: at(1), last_used_at: at(2) }
}

fn invitation() -> Invitation {
    Invitation { hash: SecretHash([4; 32]), user: user("anna").name, expires_at: at(9) }
}

/// What came with version 2.
async fn fill_people(state: &SqliteState) {
    state.create_user(user("anna")).await.unwrap();
    state.put_password(&user("anna").name, Some("$argon2id$…".to_owned())).await.unwrap();
    state.add_passkey(passkey()).await.unwrap();
    state.create_session(session()).await.unwrap();
    state.put_invitation(invitation()).await.unwrap();
}

async fn check_people(state: &SqliteState) {
    let anna = user("anna");
    let entry = state.find_user(&anna.name).await.unwrap().unwrap();
    assert_eq!((entry.has_password, entry.passkey_count, &entry.user), (true, 1, &anna));
    let hash = state.find_password(&anna.name).await.unwrap();
    assert_eq!(hash.as_deref(), Some("$argon2id$…"));
    assert_eq!(state.list_passkeys(&anna.name).await.unwrap(), [passkey()]);
    let found = state.find_session(session().hash).await.unwrap();
    assert_eq!(found, Some((session(), Some(anna))));
    assert_eq!(state.find_invitation(invitation().hash).await.unwrap(), Some(invitation()));
}

/// What came with the versions up to 6: components with their past, and connection events.
async fn fill_parts(state: &SqliteState) {
    let parts = vec![component("S1", "battery"), installed("S1", "b-1", 0, None)];
    state.accept_batch(batch("beginning", parts)).await.unwrap();
    let conflict = batch("conflict", vec![installed("S1", "b-9", 500, None)]);
    state.accept_batch(conflict).await.unwrap();
    state.record(ended("b-1", 5));
    state.record(refused("tls.expired", 6));
    state.flush_connections().await.unwrap();
}

async fn check_parts(state: &SqliteState) {
    let battery = state.find_component(&serial("S1")).await.unwrap().unwrap();
    assert_eq!((battery.kind.as_str(), battery.model.as_str()), ("battery", "P500"));
    let spans = state.installations_of(&serial("S1")).await.unwrap();
    let spans: Vec<_> = spans.iter().map(|it| (it.device.as_str(), it.from, it.to)).collect();
    assert_eq!(spans, [("b-1", at(0), None)]);
    let filter = ReviewFilter { limit: 10, ..ReviewFilter::default() };
    assert_eq!(state.list_reviews(filter).await.unwrap().len(), 1);
    let filter = ConnectionFilter { limit: 10, ..ConnectionFilter::default() };
    let events = state.list_connections(filter).await.unwrap();
    assert_eq!(events, [refused("tls.expired", 6), ended("b-1", 5)]);
}

async fn fill_sessions(state: &SqliteState) {
    let changes = SessionChanges {
        through: Some(Offset(9)),
        put: vec![session_at_rest(1)],
        queued: vec![queued(1, 1), queued(1, 2)],
        ..SessionChanges::default()
    };
    state.commit_client_sessions(changes).await.unwrap();
}

async fn check_sessions(state: &SqliteState) {
    let stored = state.load_client_sessions().await.unwrap();
    assert_eq!(stored.through, Offset(9));
    let figures = QueueFigures { rows: 2, bytes: 20, last_sequence: 2 };
    assert_eq!(stored.sessions.first(), Some(&(session_at_rest(1), figures)));
    assert_eq!(state.list_queued(1, 0, 9).await.unwrap(), [queued(1, 1), queued(1, 2)]);
}

async fn fill_retained(state: &SqliteState) {
    let changes = SessionChanges {
        put: vec![session_at_rest(2)],
        received: vec![received(2, 7, 4)],
        retained: vec![retained("a", 3, b"1")],
        ..SessionChanges::default()
    };
    state.commit_client_sessions(changes).await.unwrap();
}

async fn check_retained(state: &SqliteState) {
    let stored = state.load_client_sessions().await.unwrap();
    assert_eq!(stored.sessions[1].0, session_at_rest(2), "with its will and what it is owed");
    assert_eq!(stored.received, [received(2, 7, 4)]);
    assert_eq!(stored.retained, [retained("a", 3, b"1")]);
}

fn consumer(name: &str, lost_at: Option<Timestamp>) -> Consumer {
    Consumer {
        name: ConsumerName::parse(name).unwrap(),
        position: Offset(7),
        created_at: at(0),
        moved_at: at(2),
        lost_at,
    }
}

async fn fill_consumers(state: &SqliteState) {
    state.create_consumer(consumer("billing", None)).await.unwrap();
    state.create_consumer(consumer("slow", Some(at(3)))).await.unwrap();
}

async fn check_consumers(state: &SqliteState) {
    let expected = [consumer("billing", None), consumer("slow", Some(at(3)))];
    assert_eq!(state.list_consumers().await.unwrap(), expected);
}

fn claim() -> Application {
    let terms = ClaimTerms {
        devices: IdPattern::parse("b-*").unwrap(),
        device_kind: "bike".to_owned(),
        left: 7,
    };
    Application { kind: ApplicationKind::Claim(terms), ..application("line-7", 7) }
}

async fn fill_claims(state: &SqliteState) {
    state.create_application(claim()).await.unwrap();
    state.create_application(application("erp", 8)).await.unwrap();
}

async fn check_claims(state: &SqliteState) {
    assert_eq!(state.list_applications().await.unwrap(), [application("erp", 8), claim()]);
}

/// With `AXLE_WRITE_FIXTURE=<file>` it also writes the file that becomes the fixture of a version.
#[tokio::test]
async fn reads_what_it_has_written() {
    let folder = Folder::new();
    fill(&folder.state()).await;
    fill_people(&folder.state()).await;
    fill_parts(&folder.state()).await;
    fill_sessions(&folder.state()).await;
    fill_consumers(&folder.state()).await;
    fill_retained(&folder.state()).await;
    fill_claims(&folder.state()).await;
    check_all(&folder.state(), STATE_VERSION).await;
    if let Some(target) = std::env::var_os("AXLE_WRITE_FIXTURE") {
        std::fs::copy(folder.path(), target).unwrap();
    }
}

/// Reads the file of a version, which has what came up to then.
async fn reads_state_of(version: u32) {
    let folder = Folder::new();
    std::fs::copy(fixture(version), folder.path()).unwrap();
    check_all(&folder.state(), version).await;
    verified(&folder);
}

async fn check_all(state: &SqliteState, version: u32) {
    check(state).await;
    if version >= 6 {
        check_people(state).await;
        check_parts(state).await;
    }
    if version >= 8 {
        check_sessions(state).await;
    }
    if version >= 9 {
        check_consumers(state).await;
    }
    if version >= 10 {
        check_retained(state).await;
    }
    if version >= 11 {
        check_claims(state).await;
    }
}

#[tokio::test]
async fn reads_state_v1() {
    reads_state_of(1).await;
}

#[tokio::test]
async fn reads_state_v6() {
    reads_state_of(6).await;
}

#[tokio::test]
async fn reads_state_v8() {
    reads_state_of(8).await;
}

#[tokio::test]
async fn reads_state_v9() {
    reads_state_of(9).await;
}

#[tokio::test]
async fn reads_state_v10() {
    reads_state_of(10).await;
}

#[tokio::test]
async fn reads_state_v11() {
    reads_state_of(11).await;
}

/// With `AXLE_WRITE_SUMS=<file>` it also writes the sums that become the fixture of a version.
#[tokio::test]
async fn reads_sums_v1() {
    let folder = Folder::new();
    let sums = folder.path().with_extension("sums");
    std::fs::copy(fixture(11), folder.path()).unwrap();
    if let Some(target) = std::env::var_os("AXLE_WRITE_SUMS") {
        drop(folder.state());
        std::fs::copy(&sums, target).unwrap();
        std::fs::copy(fixture(11), folder.path()).unwrap();
    }
    std::fs::copy(fixture(11).with_file_name("sums-v1.bin"), &sums).unwrap();
    let whole = std::fs::read(folder.path()).unwrap();
    for place in (0..whole.len()).step_by(4099) {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        std::fs::write(folder.path(), damaged).unwrap();
        let error = SqliteState::open(&folder.path()).err().unwrap();
        let words = format!("page {} ", place / 4096 + 1);
        assert!(error.message.contains(&words), "{}", error.chain());
    }
    std::fs::write(folder.path(), whole).unwrap();
    check(&folder.state()).await;
}

fn verified(folder: &Folder) {
    let verification = verify(&folder.path()).unwrap();
    assert_eq!(verification.findings, [""; 0]);
    assert_eq!((verification.version, verification.position), (STATE_VERSION, Offset(42)));
}

#[tokio::test]
async fn a_state_of_a_newer_axle_is_refused_untouched() {
    let folder = Folder::new();
    drop(folder.state());
    let newer = STATE_VERSION + 1;
    Connection::open(folder.path()).unwrap().pragma_update(None, "user_version", newer).unwrap();
    let before = std::fs::read(folder.path()).unwrap();
    let error = SqliteState::open(&folder.path()).err().unwrap();
    assert_eq!((error.kind, error.code), (Kind::Conflict, "state.version_newer"));
    assert_eq!(std::fs::read(folder.path()).unwrap(), before);
    let beside = std::fs::read_dir(folder.path().parent().unwrap()).unwrap().count();
    assert_eq!(beside, 2, "nothing was laid beside it but its sums");
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_refused_untouched() {
    let folder = Folder::new();
    let check = || {
        let before = std::fs::read(folder.path()).unwrap();
        let error = SqliteState::open(&folder.path()).err().unwrap();
        assert_eq!((error.kind, error.code), (Kind::Corrupt, "state.corrupt"), "{}", error.chain());
        assert_eq!(verify(&folder.path()).unwrap_err().code, "state.corrupt");
        assert_eq!(std::fs::read(folder.path()).unwrap(), before);
    };
    Connection::open(folder.path()).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    check();
    std::fs::write(folder.path(), vec![b'x'; 8192]).unwrap();
    check();
}

#[tokio::test]
async fn verify_finds_damage() {
    let folder = Folder::new();
    fill(&folder.state()).await;
    let connection = Connection::open(folder.path()).unwrap();
    connection.execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM device").unwrap();
    drop(connection);
    std::fs::remove_file(folder.path().with_extension("sums")).unwrap();
    let findings = verify(&folder.path()).unwrap().findings;
    assert_eq!(findings, ["a row of certificate refers to a row of device that is missing"]);
}
