//! Whom a device listener believes, and what it shows, as the files say now.
//!
//! ```text
//! <data>/server.{key,crt}    what it shows; a chain, if another authority has signed it
//! <data>/ca.crt              our authority
//! <data>/ca.previous.crt     the one before, while the two overlap
//! <data>/trust/NAME.crt      an authority of somebody else, with its intermediates
//! <data>/trust/NAME.toml     for which devices it speaks; without it for bound certificates only
//! <data>/trust/*.crl         revocation lists of any of them
//! ```

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axle_domain::port::{IdentityEnd, IdentityPart};
use axle_domain::{Error, IdPattern, Timestamp};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::Deserialize;
use x509_parser::certificate::X509Certificate;

use super::revoked::Revoked;
use super::{check_pair, files, issue, parse_key, parsed};

/// Most authorities that are trusted beside our own.
const AUTHORITIES_MAX: usize = 64;
/// Most files of the folder that are looked at.
const FILES_MAX: usize = 256;

/// What a listener shows, and whom it believes.
pub(crate) struct Material {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// Our own first.
    pub(crate) anchors: Vec<Anchor>,
    pub(crate) revoked: Revoked,
    /// What ends when: authorities, lists, the listeners' certificate.
    pub(crate) ends: Vec<IdentityEnd>,
}

/// An authority that a client's certificate may lead to.
pub(crate) struct Anchor {
    pub(crate) certificate: CertificateDer<'static>,
    /// What it may say; `None` for our own, which may say anything.
    pub(crate) mandate: Option<Arc<Mandate>>,
}

/// What an authority of somebody else may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mandate {
    /// The name of its file.
    pub(crate) name: String,
    pub(crate) policy: Policy,
}

/// What `trust/NAME.toml` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Policy {
    /// Ids of the devices that its certificates may name; without it they name nobody, and only
    /// those are let in that the registry has bound to a device.
    #[serde(deserialize_with = "pattern")]
    pub(crate) devices: Option<IdPattern>,
    /// Whether such a device is registered when it connects for the first time.
    pub(crate) register: bool,
    /// What it is then: `bike`, `car`, …
    pub(crate) kind: String,
}

fn pattern<'de, D: serde::Deserializer<'de>>(text: D) -> Result<Option<IdPattern>, D::Error> {
    let text = String::deserialize(text)?;
    IdPattern::parse(&text).map(Some).map_err(|error| serde::de::Error::custom(error.message))
}

/// Tells whether any of the files has changed: which file it is, and when it changed last.
pub(crate) type Stamp = BTreeMap<PathBuf, (u64, i64, i64, u64)>;

/// A certificate of an authority and the file that it stands in.
struct Known {
    path: PathBuf,
    der: CertificateDer<'static>,
}

/// Reads all of it.
///
/// # Errors
/// `Corrupt`, naming the file and what is wrong with it.
pub(super) fn read(data_dir: &Path) -> Result<Material, Error> {
    let own_path = data_dir.join("ca.crt");
    let mut known = certificates(&own_path)?;
    let previous = data_dir.join("ca.previous.crt");
    if previous.exists() {
        known.extend(certificates(&previous)?);
    }
    let own_count = known.len();
    let (mut lists, mut policies) = (Vec::new(), BTreeMap::new());
    for path in trust_files(data_dir)? {
        match path.extension().and_then(OsStr::to_str) {
            Some("crt") => known.extend(authorities(&path)?),
            Some("crl") => lists.push(path),
            _ => {
                policies.insert(path.with_extension("crt"), policy(&path)?);
            }
        }
    }
    if let Some(path) = policies.keys().find(|path| known.iter().all(|it| it.path != **path)) {
        let reason = "there is no such authority: its .toml says what it may, itself is missing";
        return Err(files::corrupt(path, reason));
    }
    let signers = parse_all(&known)?;
    refuse_namesakes(&known, &signers)?;
    let mut material = Material {
        anchors: anchors(&known, &signers, own_count, &policies),
        ends: ends(&known, own_count),
        revoked: Revoked::default(),
        ..shown(data_dir, &own_path)?
    };
    if material.anchors.len() > AUTHORITIES_MAX {
        let reason = format!("there are more than {AUTHORITIES_MAX} authorities");
        return Err(files::corrupt(&data_dir.join("trust"), &reason));
    }
    for path in lists {
        let next = material.revoked.add(&path, &signers)?;
        material.ends.extend(next.map(|ends| {
            let name = format!("revocation list {}", name(&path));
            IdentityEnd { part: IdentityPart::List, name, ends }
        }));
    }
    let server = material.chain.first().and_then(end_of);
    material.ends.splice(
        0..0,
        server.map(|ends| {
            let name = "device listeners".to_owned();
            IdentityEnd { part: IdentityPart::Listener, name, ends }
        }),
    );
    Ok(material)
}

/// What the listeners show. Where our authority has signed it, that goes along.
fn shown(data_dir: &Path, own_path: &Path) -> Result<Material, Error> {
    let (key_path, path) = (data_dir.join("server.key"), data_dir.join("server.crt"));
    let key = files::find(&key_path)?.ok_or_else(|| files::corrupt(&key_path, "it is missing"))?;
    let key = parse_key(&key_path, &key)?;
    let mut chain: Vec<_> = certificates(&path)?.into_iter().map(|it| it.der).collect();
    if let Some(first) = chain.first() {
        check_pair(&path, first, &key)?;
    }
    // While the one before signs it, the next one vouches for that: each way leads to a root.
    let cross = data_dir.join("ca.cross.crt");
    let above = if cross.exists() { cross } else { own_path.to_owned() };
    for it in certificates(&above)? {
        let issuer = match chain.as_slice() {
            [only] => parsed(&path, only)?.issuer().as_raw().to_vec(),
            _ => break,
        };
        if parsed(&it.path, &it.der)?.subject().as_raw() == issuer {
            chain.push(it.der);
        }
    }
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let (anchors, revoked, ends) = (Vec::new(), Revoked::default(), Vec::new());
    Ok(Material { chain, key, anchors, revoked, ends })
}

/// How the files are now. One that cannot be looked at counts as one that is not there.
pub(super) fn stamp(data_dir: &Path) -> Stamp {
    let own = ["server.key", "server.crt", "ca.key", "ca.crt", "ca.previous.crt", "ca.cross.crt"];
    let mut paths = trust_files(data_dir).unwrap_or_default();
    paths.extend(own.map(|name| data_dir.join(name)));
    let look = |path: PathBuf| {
        let it = fs::metadata(&path).ok()?;
        let changed = it.ctime().saturating_mul(1_000_000_000).saturating_add(it.ctime_nsec());
        let written = it.mtime().saturating_mul(1_000_000_000).saturating_add(it.mtime_nsec());
        Some((path, (it.ino(), changed, written, it.len())))
    };
    paths.into_iter().filter_map(look).collect()
}

fn trust_files(data_dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let folder = data_dir.join("trust");
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(files::corrupt(&folder, &error.to_string())),
    };
    let is_ours = |path: &PathBuf| {
        matches!(path.extension().and_then(OsStr::to_str), Some("crt" | "crl" | "toml"))
    };
    let mut paths: Vec<_> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_ours).collect();
    if paths.len() > FILES_MAX {
        let reason = format!("there are more than {FILES_MAX} files");
        return Err(files::corrupt(&folder, &reason));
    }
    paths.sort();
    Ok(paths)
}

fn policy(path: &Path) -> Result<Policy, Error> {
    let text = files::find(path)?.ok_or_else(|| files::corrupt(path, "it is missing"))?;
    toml::from_str(&text).map_err(|error| files::corrupt(path, error.message()))
}

fn certificates(path: &Path) -> Result<Vec<Known>, Error> {
    let pem = files::find(path)?.ok_or_else(|| files::corrupt(path, "it is missing"))?;
    let mut found = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let der = der.map_err(|error| files::corrupt(path, &error.to_string()))?;
        parsed(path, &der)?;
        found.push(Known { path: path.to_owned(), der });
    }
    if found.is_empty() {
        return Err(files::corrupt(path, "it holds no certificate"));
    }
    Ok(found)
}

/// The authorities of a file; a certificate that is none would let nobody in, and one of a device
/// would let in whom it signs.
fn authorities(path: &Path) -> Result<Vec<Known>, Error> {
    let found = certificates(path)?;
    for it in &found {
        let certificate = parsed(path, &it.der)?;
        let is_authority =
            certificate.basic_constraints().ok().flatten().is_some_and(|it| it.value.ca);
        if !is_authority {
            return Err(files::corrupt(path, "it holds a certificate that is of no authority"));
        }
    }
    Ok(found)
}

fn parse_all(known: &[Known]) -> Result<Vec<X509Certificate<'_>>, Error> {
    known.iter().map(|it| parsed(&it.path, &it.der)).collect()
}

/// Lists and mandates go by the name of an authority, so no two may share one.
fn refuse_namesakes(known: &[Known], signers: &[X509Certificate<'_>]) -> Result<(), Error> {
    let mut keys = BTreeMap::new();
    for (it, certificate) in known.iter().zip(signers) {
        let key = certificate.public_key().raw;
        if *keys.entry(certificate.subject().as_raw()).or_insert(key) != key {
            let reason = format!("another authority has the name `{}` too", certificate.subject());
            return Err(files::corrupt(&it.path, &reason));
        }
    }
    Ok(())
}

/// Who is trusted by itself: our own, and of the others those that none of the others has signed.
/// An intermediate beside its root is there for its lists alone.
fn anchors(
    known: &[Known],
    signers: &[X509Certificate<'_>],
    own_count: usize,
    policies: &BTreeMap<PathBuf, Policy>,
) -> Vec<Anchor> {
    let is_signed = |it: &X509Certificate<'_>| {
        it.subject().as_raw() != it.issuer().as_raw()
            && signers.iter().any(|other| {
                other.subject().as_raw() == it.issuer().as_raw()
                    && it.verify_signature(Some(other.public_key())).is_ok()
            })
    };
    let mut anchors = Vec::new();
    for (index, (it, certificate)) in known.iter().zip(signers).enumerate() {
        let mandate = (index >= own_count).then(|| {
            let policy = policies.get(&it.path).cloned().unwrap_or_default();
            Arc::new(Mandate { name: name(&it.path), policy })
        });
        if mandate.is_none() || !is_signed(certificate) {
            anchors.push(Anchor { certificate: it.der.clone(), mandate });
        }
    }
    anchors
}

fn ends(known: &[Known], own_count: usize) -> Vec<IdentityEnd> {
    let named = |(index, it): (usize, &Known)| {
        let name = match index {
            0 => "device certificate authority".to_owned(),
            index if index < own_count => "previous device certificate authority".to_owned(),
            _ => format!("authority {}", name(&it.path)),
        };
        Some(IdentityEnd { part: IdentityPart::Authority, name, ends: end_of(&it.der)? })
    };
    known.iter().enumerate().filter_map(named).collect()
}

fn end_of(der: &CertificateDer<'static>) -> Option<Timestamp> {
    let (_, parsed) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(issue::timestamp(parsed.validity().not_after))
}

fn name(path: &Path) -> String {
    path.file_stem().and_then(OsStr::to_str).unwrap_or_default().escape_debug().to_string()
}
