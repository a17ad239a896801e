//! One device authority gives way to the next, with an overlap.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axle_domain::Kind;
use axle_domain::port::Clock;
use axle_mqtt::{DeviceAuthority, finish_replacement, replace_authority};
use axle_testkit::clock::ManualClock;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;

use crate::certificates::try_connect;
use crate::world::{Credential, World, now};

fn authority(data_dir: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(data_dir.join("ca.crt")).unwrap()
}

/// A client that knows one authority alone.
fn knowing(root: &CertificateDer<'static>, credential: &Credential) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(credential.chain.clone(), credential.key.clone_key())
        .unwrap();
    Arc::new(config)
}

async fn eventually(world: &World, config: &Arc<ClientConfig>, id: &str, expected: Option<u8>) {
    let wait = async {
        while try_connect(world, config, id).await != expected {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(10), wait).await;
    assert!(done.is_ok(), "{id} {expected:?} in time");
}

#[tokio::test]
async fn old_and_new_overlap_until_it_is_finished() {
    let world = World::new().await;
    let old_root = authority(world.data_dir());
    let old = world.add_with_certificate("b-1").await;
    let knows_old = knowing(&old_root, &old);
    let mut open = world.tls_client(&knows_old, true).await.unwrap();
    assert_eq!(open.connect("b-1").await, 0);
    replace_authority(world.data_dir(), now()).unwrap();
    let again = replace_authority(world.data_dir(), now()).unwrap_err();
    assert_eq!((again.kind, again.code), (Kind::Conflict, "authority.replacing"));
    let new_root = authority(world.data_dir());
    assert_ne!(old_root, new_root);
    // The server follows; then what it signs is the new one's.
    let wait = async {
        while world.authority.root() != new_root {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("in time");
    let new = world.add_with_certificate("b-2").await;
    for (root, credential, id) in [
        (&old_root, &old, "b-1/again"),
        (&old_root, &new, "b-2"),
        (&new_root, &old, "b-1/again"),
        (&new_root, &new, "b-2"),
    ] {
        let config = knowing(root, credential);
        assert_eq!(try_connect(&world, &config, id).await, Some(0), "{id}");
    }
    open.ping().await;
    // After a restart as before it.
    let clock = world.clock.clone() as Arc<dyn Clock>;
    DeviceAuthority::open(world.data_dir(), &[], clock).unwrap();
    assert_eq!(try_connect(&world, &knows_old, "b-1/again").await, Some(0));

    finish_replacement(world.data_dir(), now()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), open.disconnected()).await;
    assert_eq!(ended.expect("in time"), Some(0x87), "what the old one has signed is over");
    eventually(&world, &knowing(&new_root, &old), "b-1", None).await;
    eventually(&world, &knowing(&new_root, &new), "b-2", Some(0)).await;
    assert_eq!(try_connect(&world, &knowing(&old_root, &new), "b-2").await, None, "unknown to it");
    let again = finish_replacement(world.data_dir(), now()).unwrap_err();
    assert_eq!((again.kind, again.code), (Kind::Conflict, "authority.not_replacing"));
    let left = std::fs::read_dir(world.data_dir()).unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.starts_with("ca.").then_some(name)
    });
    let mut left: Vec<_> = left.collect();
    left.sort();
    assert_eq!(left, ["ca.crt", "ca.key"], "no old key stays behind");
}

#[test]
fn a_replacement_that_was_cut_short_is_gone_on_with_or_forgotten() {
    let dir = TempDir::new().unwrap();
    let clock = Arc::new(ManualClock::new(now()));
    let open = || DeviceAuthority::open(dir.path(), &[], clock.clone()).unwrap();
    let first = open().root();
    let file = |name: &str| dir.path().join(name);
    let before: Vec<_> =
        ["ca.key", "ca.crt"].map(|name| (name, std::fs::read(file(name)).unwrap())).into();
    replace_authority(dir.path(), now()).unwrap();
    let second = open().root();
    let after: Vec<_> = ["key", "crt"]
        .map(|end| (format!("ca.next.{end}"), std::fs::read(file(&format!("ca.{end}"))).unwrap()))
        .into();
    // Cut short before anything of the old one was moved: the next one has never been.
    let rewind = |with_previous: bool| {
        before.iter().for_each(|(name, bytes)| std::fs::write(file(name), bytes).unwrap());
        after.iter().for_each(|(name, bytes)| std::fs::write(file(name), bytes).unwrap());
        if !with_previous {
            std::fs::remove_file(file("ca.previous.crt")).unwrap();
        }
    };
    rewind(true);
    assert_eq!(open().root(), second, "between the copy of the old one and the first rename");
    rewind(true);
    std::fs::rename(file("ca.next.key"), file("ca.key")).unwrap();
    assert_eq!(open().root(), second, "between the two renames");
    rewind(false);
    assert_eq!(open().root(), first, "before the copy of the old one");
    assert!(!file("ca.next.key").exists() && !file("ca.previous.key").exists());
}
