//! Public keys as authenticators give them: COSE_Key (RFC 9052, RFC 9053) of the three kinds that
//! we ask for.

use axle_domain::Error;
use minicbor::Decoder;
use minicbor::data::Type;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

use super::invalid;

/// What we ask authenticators for, the best liked first: COSE's numbers of ES256, EdDSA, RS256.
pub(crate) const ALGORITHMS: [i64; 3] = [-7, -8, -257];

/// Most parameters of a key.
const PARAMETERS_MAX: u64 = 16;

/// A key that signatures can be verified with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PublicKey<'a> {
    /// ECDSA over P-256 with SHA-256: the uncompressed point.
    Es256([u8; 65]),
    /// Ed25519.
    EdDsa(&'a [u8]),
    /// RSA with SHA-256: modulus and exponent.
    Rs256(&'a [u8], &'a [u8]),
}

/// The parameters of a key by their numbers; which ones mean what depends on its kind.
#[derive(Default)]
struct Parameters<'a> {
    kind: Option<i64>,
    algorithm: Option<i64>,
    /// -1 where it is a number: the curve.
    curve: Option<i64>,
    /// -1 where it is bytes: the modulus.
    modulus: Option<&'a [u8]>,
    /// -2: x, or the exponent.
    second: Option<&'a [u8]>,
    /// -3: y.
    third: Option<&'a [u8]>,
}

impl<'a> PublicKey<'a> {
    /// Reads a COSE_Key.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let it = Parameters::read(bytes).ok_or_else(|| invalid("its key is unreadable"))?;
        let key = match (it.kind, it.algorithm, it.curve) {
            (Some(2), Some(-7), Some(1)) => point(it.second, it.third).map(Self::Es256),
            (Some(1), Some(-8), Some(6)) => {
                it.second.filter(|key| key.len() == 32).map(Self::EdDsa)
            }
            (Some(3), Some(-257), None) => {
                it.modulus.zip(it.second).map(|(n, e)| Self::Rs256(n, e))
            }
            _ => return Err(invalid("its key is none of ES256, EdDSA and RS256")),
        };
        key.ok_or_else(|| invalid("its key lacks a part"))
    }

    /// Whether the signature of the message is of this key.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Es256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature)
            }
            Self::EdDsa(key) => UnparsedPublicKey::new(&ED25519, key).verify(message, signature),
            Self::Rs256(n, e) => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
        };
        verified.is_ok()
    }
}

impl<'a> Parameters<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let count = decoder.map().ok()?.filter(|count| *count <= PARAMETERS_MAX)?;
        let mut parameters = Self::default();
        let mut seen = Vec::new();
        for _ in 0..count {
            let label = decoder.i64().ok()?;
            if seen.contains(&label) {
                return None;
            }
            seen.push(label);
            match label {
                1 => parameters.kind = Some(decoder.i64().ok()?),
                3 => parameters.algorithm = Some(decoder.i64().ok()?),
                -1 if decoder.datatype().ok()? == Type::Bytes => {
                    parameters.modulus = Some(decoder.bytes().ok()?);
                }
                -1 => parameters.curve = Some(decoder.i64().ok()?),
                -2 => parameters.second = Some(decoder.bytes().ok()?),
                -3 => parameters.third = Some(decoder.bytes().ok()?),
                _ => decoder.skip().ok()?,
            }
        }
        (decoder.position() == bytes.len()).then_some(parameters)
    }
}

fn point(x: Option<&[u8]>, y: Option<&[u8]>) -> Option<[u8; 65]> {
    let (x, y): (&[u8; 32], &[u8; 32]) = (x?.try_into().ok()?, y?.try_into().ok()?);
    let mut point = [4; 65];
    let (_, coordinates) = point.split_first_mut()?;
    coordinates.iter_mut().zip(x.iter().chain(y)).for_each(|(to, from)| *to = *from);
    Some(point)
}
