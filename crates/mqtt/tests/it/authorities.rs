//! Authorities of somebody else, as a test needs them: they sign whatever they are told.

use std::path::Path;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::world::Credential;

/// An authority, or an intermediate of one.
pub(crate) struct Authority {
    pub(crate) certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
    /// What its clients send beside their own certificate.
    chain: Vec<CertificateDer<'static>>,
}

/// What a certificate says.
pub(crate) struct Says<'a> {
    /// The SAN URI behind `axle:device:`.
    pub(crate) device: &'a str,
    pub(crate) serial: u64,
    pub(crate) years: (i32, i32),
    pub(crate) usage: ExtendedKeyUsagePurpose,
}

impl<'a> Says<'a> {
    /// A good certificate of a device.
    pub(crate) fn device(device: &'a str, serial: u64) -> Self {
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        Self { device, serial, years: (2020, 4000), usage }
    }
}

fn authority_params(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(SerialNumber::from(serial));
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(4000, 1, 1));
    params
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority_params(name, 1);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key), chain: Vec::new() }
    }

    /// An intermediate below it.
    pub(crate) fn intermediate(&self, name: &str, serial: u64) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority_params(name, serial);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![certificate.der().clone()];
        chain.extend(self.chain.iter().cloned());
        Self { certificate, issuer: Issuer::new(params, key), chain }
    }

    /// A client's certificate, with the intermediates that lead here.
    pub(crate) fn sign(&self, says: &Says<'_>) -> Credential {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let uri = format!("axle:device:{}", says.device);
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = vec![says.usage.clone()];
        params.serial_number = Some(SerialNumber::from(says.serial));
        params.not_before = date_time_ymd(says.years.0, 1, 1);
        params.not_after = date_time_ymd(says.years.1, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![certificate.der().clone()];
        chain.extend(self.chain.iter().cloned());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Credential { chain, key }
    }

    /// Its list of what it has taken back, PEM.
    pub(crate) fn list(&self, serials: &[u64]) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(3000, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// Writes a file of the trust folder, whole.
pub(crate) fn put(data_dir: &Path, name: &str, text: &str) {
    let folder = data_dir.join("trust");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("new"), text).unwrap();
    std::fs::rename(folder.join("new"), folder.join(name)).unwrap();
}
