//! One authority gives way to the next, while both are believed.
//!
//! ```text
//! ca.next.{key,crt}       the next one, until it has taken its place
//! ca.previous.{key,crt}   the one before: believed, and signs what the listeners show
//! ca.cross.crt            the one before, signed by the next: who knows the next alone finds the
//!                         way to what the listeners show
//! ```
//!
//! `ca.previous.crt` makes the change: with it a change that was cut short is gone on with,
//! without it what is there of the next one is thrown away.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use axle_domain::{Error, Kind, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::{
    Signer, files, issue, new_key, parse_certificate, parse_issuer, parse_key, parsed, self_signed,
    server,
};

/// A new authority signs from now on. The one before is believed until [`finish`].
///
/// # Errors
/// `Conflict` while an earlier change is not finished; else as
/// [`DeviceAuthority::open`](super::DeviceAuthority::open).
pub fn replace(data_dir: &Path, now: Timestamp) -> Result<(), Error> {
    complete(data_dir)?;
    if data_dir.join("ca.previous.crt").exists() {
        let message = "an authority is being replaced already: finish that first";
        return Err(Error::new(Kind::Conflict, "authority.replacing", message));
    }
    let old = Signer::read(data_dir)?;
    let old_key = files::find(&data_dir.join("ca.key"))?.unwrap_or_default();
    let next_path = data_dir.join("ca.next.key");
    let next_key = new_key(&next_path)?;
    // One that is one's own, so that lists and chains are not taken for another's.
    let name = format!("axle device authority {}", issue::short_name(&next_key));
    let pem = self_signed(&next_key, &name, now)?;
    let next = data_dir.join("ca.next.crt");
    files::write(&next, pem.as_bytes(), files::Access::Everyone)?;
    let certificate = parse_certificate(&next, &pem)?;
    let issuer = Issuer::from_ca_cert_der(&certificate, next_key).map_err(issue::our_mistake)?;
    let cross = cross_signed(data_dir, &old, &issuer, now)?;
    let write = |name: &str, text: &str, access| {
        files::write(&data_dir.join(name), text.as_bytes(), access)
    };
    write("ca.cross.crt", &cross, files::Access::Everyone)?;
    write("ca.previous.key", &old_key, files::Access::Owner)?;
    write("ca.previous.crt", &old.pem, files::Access::Everyone)?;
    complete(data_dir)
}

/// The authority before is believed no more, and the listeners show what the new one signs.
///
/// # Errors
/// `Conflict` when none is being replaced; else as
/// [`DeviceAuthority::open`](super::DeviceAuthority::open).
pub fn finish(data_dir: &Path, now: Timestamp) -> Result<(), Error> {
    complete(data_dir)?;
    if !data_dir.join("ca.previous.crt").exists() {
        let message = "no authority is being replaced: there is nothing to finish";
        return Err(Error::new(Kind::Conflict, "authority.not_replacing", message));
    }
    let signer = Signer::read(data_dir)?;
    server::renew(data_dir, &signer.issuer, now)?;
    // The certificate last: while it is there, this can be done again.
    for name in ["ca.cross.crt", "ca.previous.key", "ca.previous.crt"] {
        remove(&data_dir.join(name))?;
    }
    Ok(())
}

/// Goes on with a change that was cut short.
pub(super) fn complete(data_dir: &Path) -> Result<(), Error> {
    let of = |name: &str| data_dir.join(name);
    if !of("ca.previous.crt").exists() {
        for name in ["ca.next.key", "ca.next.crt", "ca.cross.crt", "ca.previous.key"] {
            remove(&of(name))?;
        }
        return Ok(());
    }
    for (from, to) in [("ca.next.key", "ca.key"), ("ca.next.crt", "ca.crt")] {
        match fs::rename(of(from), of(to)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(files::unavailable(&of(from), "rename", error));
            }
            _done => {}
        }
    }
    files::sync_folder(data_dir)
}

/// Who signs what the listeners show: the one before, as long as there is one.
pub(super) fn listener_issuer(data_dir: &Path) -> Result<Option<Issuer<'static, KeyPair>>, Error> {
    let (key_path, path) = (data_dir.join("ca.previous.key"), data_dir.join("ca.previous.crt"));
    let (Some(key), Some(pem)) = (files::find(&key_path)?, files::find(&path)?) else {
        return Ok(None);
    };
    let (issuer, _) = parse_issuer((&key_path, &key), (&path, &pem))?;
    Ok(Some(issuer))
}

/// The old authority's name and key, signed by the next one.
fn cross_signed(
    data_dir: &Path,
    old: &Signer,
    issuer: &Issuer<'static, KeyPair>,
    now: Timestamp,
) -> Result<String, Error> {
    let path = data_dir.join("ca.key");
    let key = parse_key(&path, &files::find(&path)?.unwrap_or_default())?;
    let before = parsed(&path, &old.der)?;
    let name = before.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name.unwrap_or_default());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(issue::serial()?);
    params.use_authority_key_identifier_extension = true;
    let ends = issue::timestamp(before.validity().not_after);
    issue::set_validity(&mut params, now.shifted(-issue::HOUR), ends);
    let cross = params.signed_by(&key, issuer).map_err(issue::our_mistake)?;
    if parsed(&path, cross.der())?.subject().as_raw() == before.subject().as_raw() {
        return Ok(cross.pem());
    }
    let message = format!(
        "the authority `{}` was made elsewhere, and the next one cannot vouch for its name: it \
         cannot be replaced with an overlap",
        before.subject()
    );
    Err(Error::new(Kind::Conflict, "authority.made_elsewhere", message))
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(files::unavailable(path, "remove", error))
        }
        _gone => Ok(()),
    }
}
