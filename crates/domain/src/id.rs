//! Names of things. Each is checked once, where it enters, and carries its proof in its type.

use std::fmt;
use std::sync::Arc;

use crate::Error;
use crate::limit;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $code:literal, $noun:literal, $check:expr, $form:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the form and takes the name.
            ///
            /// # Errors
            /// `Invalid`, when the name is not of the form that the type documents.
            pub fn parse(text: &str) -> Result<Self, Error> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    return Ok(Self(Arc::from(text)));
                }
                let shown: String = text.chars().take(64).collect();
                Err(Error::invalid(
                    $code,
                    format!(concat!("`{}` is no ", $noun, ": it must match ", $form), shown.escape_debug()),
                ))
            }

            /// The name itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

id!(
    /// A device: `[A-Za-z0-9._:-]{1,128}`, compared byte by byte.
    DeviceId, "device.id_invalid", "device id", is_device_id, "[A-Za-z0-9._:-]{{1,128}}"
);
id!(
    /// A telemetry stream, and the SQL table of that name: `[a-z][a-z0-9_]{0,47}`.
    StreamName, "stream.name_invalid", "stream name", is_stream_name, "[a-z][a-z0-9_]{{0,47}}"
);
id!(
    /// A command, unique over all devices: `[A-Za-z0-9_-]{1,64}`.
    CommandId, "command.id_invalid", "command id", is_token, "[A-Za-z0-9_-]{{1,64}}"
);
id!(
    /// An upload of an app: `[A-Za-z0-9_-]{1,64}`.
    UploadId, "upload.id_invalid", "upload id", is_token, "[A-Za-z0-9_-]{{1,64}}"
);

id!(
    /// A person who signs in: `[a-z0-9._@-]{1,64}`.
    UserName, "user.name_invalid", "user name", is_user_name, "[a-z0-9._@-]{{1,64}}"
);
id!(
    /// The serial number of a component: `[A-Za-z0-9._:-]{1,128}`, compared byte by byte.
    Serial, "serial.invalid", "serial", is_device_id, "[A-Za-z0-9._:-]{{1,128}}"
);
id!(
    /// What a device or a component is, as plants name it: `[a-z][a-z0-9_-]{0,31}`.
    KindName, "kind.invalid", "kind", is_kind_name, "[a-z][a-z0-9_-]{{0,31}}"
);
id!(
    /// A plant, or any other system that feeds master data: `[A-Za-z0-9_-]{1,64}`.
    PlantName, "plant.name_invalid", "plant name", is_token, "[A-Za-z0-9_-]{{1,64}}"
);
id!(
    /// A batch of a plant: `[A-Za-z0-9_-]{1,64}`.
    BatchId, "batch.id_invalid", "batch id", is_token, "[A-Za-z0-9_-]{{1,64}}"
);
id!(
    /// A backend application: `[a-z][a-z0-9_-]{0,47}`.
    ApplicationName, "application.name_invalid", "application name", is_application_name,
    "[a-z][a-z0-9_-]{{0,47}}"
);
id!(
    /// A program that follows the log with a position of its own: `[A-Za-z0-9_-]{1,64}`.
    ConsumerName, "consumer.name_invalid", "consumer name", is_token, "[A-Za-z0-9_-]{{1,64}}"
);

fn is_application_name(text: &str) -> bool {
    (1..=48).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
}

fn is_device_id(text: &str) -> bool {
    (1..=limit::DEVICE_ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

fn is_stream_name(text: &str) -> bool {
    (1..=48).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn is_user_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'@' | b'-')
        })
}

fn is_kind_name(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
}

fn is_token(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_device_ids_of_the_documented_form_alone() {
        for good in ["b-1", "VIN:WVW.ZZ_1", &"x".repeat(128)] {
            assert!(DeviceId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a/b", "ü", "a\0", &"x".repeat(129), "+", "#"] {
            assert_eq!(DeviceId::parse(bad).unwrap_err().code, "device.id_invalid", "{bad:?}");
        }
    }

    #[test]
    fn user_names_are_in_lower_case() {
        for (name, good) in [
            ("anna", true),
            ("a.b_c-d@example.com", true),
            ("Anna", false),
            ("a b", false),
            ("", false),
            ("ä", false),
            ("../x", false),
        ] {
            assert_eq!(UserName::parse(name).is_ok(), good, "{name:?}");
        }
    }

    #[test]
    fn stream_names_are_sql_identifiers() {
        for (name, good) in
            [("ride", true), ("r2_d2", true), ("2x", false), ("Ride", false), ("", false)]
        {
            assert_eq!(StreamName::parse(name).is_ok(), good, "{name:?}");
        }
    }
}
