//! The certificate that the device listeners present, signed by the device authority.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use axle_domain::{Error, Timestamp};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

use super::{DAY, check_pair, files, issue, new_key, parse_certificate, parse_key, parsed};

/// How long a server certificate is valid; some TLS clients refuse more than 825 days.
const LIFE: Duration = Duration::from_secs(397 * 24 * 3600);
/// One that ends sooner is renewed at start.
const RENEW_BEFORE: Duration = Duration::from_secs(30 * DAY.as_secs());

/// Makes the server certificate where there is none that will do. One of another authority's is
/// its owner's to renew.
pub(super) fn ensure(
    data_dir: &Path,
    names: &[String],
    issuer: &Issuer<'static, KeyPair>,
    now: Timestamp,
) -> Result<(), Error> {
    let (key_path, path) = (data_dir.join("server.key"), data_dir.join("server.crt"));
    let names = all_names(names)?;
    let key = match files::find(&key_path)? {
        Some(key) => parse_key(&key_path, &key)?,
        None => new_key(&key_path)?,
    };
    if let Some(pem) = files::find(&path)? {
        let certificate = parse_certificate(&path, &pem)?;
        if !is_ours(&path, &certificate, data_dir)? || is_good(&path, &certificate, &names, now)? {
            return check_pair(&path, &certificate, &key);
        }
    }
    let certificate = sign(&names, &key, issuer, now)?;
    files::write(&path, certificate.pem().as_bytes(), files::Access::Everyone)
}

/// Signs a new one of the names that ours has; one of another authority's stays.
pub(super) fn renew(
    data_dir: &Path,
    issuer: &Issuer<'static, KeyPair>,
    now: Timestamp,
) -> Result<(), Error> {
    let (key_path, path) = (data_dir.join("server.key"), data_dir.join("server.crt"));
    let (Some(key), Some(pem)) = (files::find(&key_path)?, files::find(&path)?) else {
        return Ok(());
    };
    let key = parse_key(&key_path, &key)?;
    let certificate = parse_certificate(&path, &pem)?;
    if !is_ours(&path, &certificate, data_dir)? {
        return Ok(());
    }
    let certificate = sign(&names_of(&path, &certificate)?, &key, issuer, now)?;
    files::write(&path, certificate.pem().as_bytes(), files::Access::Everyone)
}

/// Whether our authority has signed a certificate, or the one before.
fn is_ours(path: &Path, certificate: &CertificateDer<'_>, data_dir: &Path) -> Result<bool, Error> {
    let certificate = parsed(path, certificate)?;
    for name in ["ca.crt", "ca.previous.crt"] {
        let own_path = data_dir.join(name);
        let Some(pem) = files::find(&own_path)? else { continue };
        let own = parse_certificate(&own_path, &pem)?;
        let own = parsed(&own_path, &own)?;
        if certificate.verify_signature(Some(own.public_key())).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn all_names(more: &[String]) -> Result<BTreeSet<String>, Error> {
    let local = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let mut names: BTreeSet<String> = local.iter().map(IpAddr::to_string).collect();
    names.insert("localhost".to_owned());
    for name in more {
        san(name)?;
        names.insert(name.parse::<IpAddr>().map_or_else(|_dns| name.clone(), |ip| ip.to_string()));
    }
    Ok(names)
}

fn san(name: &str) -> Result<SanType, Error> {
    if let Ok(address) = name.parse() {
        return Ok(SanType::IpAddress(address));
    }
    let is_dns = (1..=253).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'*'));
    match name.try_into() {
        Ok(dns) if is_dns => Ok(SanType::DnsName(dns)),
        _ => Err(Error::invalid(
            "authority.server_name_invalid",
            format!("`{}` is no DNS name and no address: mend server.names", name.escape_debug()),
        )),
    }
}

fn sign(
    names: &BTreeSet<String>,
    key: &KeyPair,
    issuer: &Issuer<'static, KeyPair>,
    now: Timestamp,
) -> Result<rcgen::Certificate, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "axle");
    params.subject_alt_names = names.iter().map(|name| san(name)).collect::<Result<_, _>>()?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(issue::serial()?);
    issue::set_validity(&mut params, now.shifted(-issue::HOUR), now.after(LIFE));
    params.signed_by(key, issuer).map_err(issue::our_mistake)
}

/// Whether a certificate names exactly these names and lasts a while.
fn is_good(
    path: &Path,
    certificate: &CertificateDer<'_>,
    names: &BTreeSet<String>,
    now: Timestamp,
) -> Result<bool, Error> {
    let ends = issue::timestamp(parsed(path, certificate)?.validity().not_after);
    Ok(ends > now.after(RENEW_BEFORE) && names_of(path, certificate)? == *names)
}

fn names_of(path: &Path, certificate: &CertificateDer<'_>) -> Result<BTreeSet<String>, Error> {
    let certificate = parsed(path, certificate)?;
    let named = certificate.subject_alternative_name().ok().flatten();
    let named = named.iter().flat_map(|extension| &extension.value.general_names);
    Ok(named.filter_map(name_text).collect())
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "we write no other names")]
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}
