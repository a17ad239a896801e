//! A key of one's own and the certificate that the server signs for it.

use std::fs;
use std::path::{Path, PathBuf};

use axle_domain::DeviceId;
use serde_json::{Value, json};

use crate::client::{Client, encode_segment};
use crate::data_dir;
use crate::failure::{Exit, Failure};

/// The files of a device's credentials.
pub(super) struct Files {
    pub(super) key: PathBuf,
    pub(super) certificate: PathBuf,
    authority: PathBuf,
}

impl Files {
    pub(super) fn of(device: &DeviceId, folder: &Path) -> Self {
        Self {
            key: folder.join(format!("{device}.key")),
            certificate: folder.join(format!("{device}.crt")),
            authority: folder.join("ca.crt"),
        }
    }
}

/// Has a certificate signed for a new key and writes both; the certificate comes last, so that it
/// says that all is there. Returns the answer.
pub(super) async fn issue(
    client: &Client,
    device: &DeviceId,
    folder: &Path,
) -> Result<Value, Failure> {
    let files = Files::of(device, folder);
    let (key_pem, request_pem) = axle_mqtt::new_key_and_request(device)?;
    // A folder that cannot be written is found before a certificate is signed that nobody gets.
    fs::create_dir_all(folder).map_err(|error| Failure::file("create", folder, &error))?;
    let path = format!("/api/v1/devices/{}/certificates", encode_segment(device.as_str()));
    let issued = client.post(&path, &json!({"csr": request_pem})).await?;
    let authority = text(&issued, "ca")?;
    if fs::read_to_string(&files.authority).ok().as_deref() != Some(authority) {
        data_dir::put(&files.authority, authority.as_bytes(), 0o644)?;
    }
    data_dir::put(&files.key, key_pem.as_bytes(), 0o600)?;
    data_dir::put(&files.certificate, text(&issued, "certificate")?.as_bytes(), 0o644)?;
    Ok(issued)
}

pub(super) fn text<'a>(answer: &'a Value, field: &str) -> Result<&'a str, Failure> {
    answer.get(field).and_then(Value::as_str).ok_or_else(|| {
        Failure::new(Exit::Internal, format!("the server answered without `{field}`"))
    })
}
