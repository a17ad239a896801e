//! Content codings of uploads. Decoding stops at the limits, whatever a body claims to become.

use std::io::{self, Write};

use axle_domain::limit::UPLOAD_DECODED_BYTES_MAX;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_ENCODING, HeaderMap};
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use crate::problem::Problem;

/// So much may come out of anything before its ratio is looked at.
const FREE_BYTES: usize = 1024 * 1024;
/// So many bytes may come out of one beyond [`FREE_BYTES`]. Telemetry packs 5 to 30 times.
const RATIO_MAX: usize = 100;
/// Largest window of a Zstandard frame: 8 MiB, what every encoder level needs by default.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Output is taken over in steps of this size.
const STEP_BYTES: usize = 32 * 1024;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952, any number of members.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878, any number of frames.
    Zstd,
}

impl Coding {
    /// Reads `Content-Encoding`.
    ///
    /// # Errors
    /// 415 for what is unknown or stacked.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return match headers.contains_key(CONTENT_ENCODING) {
                true => Err(unsupported("several")),
                false => Ok(Self::Identity),
            };
        };
        let text = value.to_str().unwrap_or("?").trim().to_ascii_lowercase();
        match text.as_str() {
            "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "br" => Ok(Self::Brotli),
            "zstd" => Ok(Self::Zstd),
            other => Err(unsupported(&other.chars().take(64).collect::<String>())),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The most that a body of so many bytes may become.
    pub(crate) fn bound(self, encoded_bytes: usize) -> usize {
        match self {
            Self::Identity => encoded_bytes,
            Self::Gzip | Self::Brotli | Self::Zstd => {
                (FREE_BYTES + RATIO_MAX * encoded_bytes).min(UPLOAD_DECODED_BYTES_MAX)
            }
        }
    }

    /// Unpacks a body. Works for milliseconds: call it where blocking is allowed.
    ///
    /// # Errors
    /// 413 at the limits; 400 where the body is cut, damaged, followed by other bytes, or not
    /// packed so at all.
    pub(crate) fn decode(self, encoded: &Bytes) -> Result<Bytes, Problem> {
        if self == Self::Identity {
            return Ok(encoded.clone());
        }
        if self.is_mismatch(encoded) {
            return Err(Problem::bad_request(
                "upload.encoding_mismatch",
                format!("`Content-Encoding` says {}, but the body is not {0}", self.name()),
            ));
        }
        let mut sink = Sink { out: Vec::new(), bound: self.bound(encoded.len()), is_over: false };
        let result = match self {
            Self::Identity => Ok(()),
            Self::Gzip => gunzip(encoded, &mut sink),
            Self::Brotli => unbrotli(encoded, &mut sink),
            Self::Zstd => unzstd(encoded, &mut sink),
        };
        match result {
            Ok(()) => Ok(Bytes::from(sink.out)),
            Err(_) if sink.is_over => Err(too_large(&sink)),
            Err(error) => Err(Problem::bad_request(
                "upload.encoding_damaged",
                format!("the {} body is cut or damaged: {error}", self.name()),
            )),
        }
    }

    fn is_mismatch(self, encoded: &[u8]) -> bool {
        match self {
            Self::Identity => false,
            Self::Gzip => !encoded.starts_with(&[0x1f, 0x8b]),
            // Brotli has no magic number; tell what is surely something else.
            Self::Brotli => {
                encoded.starts_with(&[0x1f, 0x8b])
                    || encoded.starts_with(&ZSTD_MAGIC)
                    || serde_json::from_slice::<serde::de::IgnoredAny>(encoded).is_ok()
            }
            Self::Zstd => {
                let is_skippable = matches!(encoded, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
                !encoded.starts_with(&ZSTD_MAGIC) && !is_skippable
            }
        }
    }
}

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

fn unsupported(what: &str) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "upload.encoding_unsupported",
        format!("`Content-Encoding` may be one of gzip, br, zstd, identity, not {what:?}"),
    )
}

fn too_large(sink: &Sink) -> Problem {
    let detail = if sink.bound < UPLOAD_DECODED_BYTES_MAX {
        format!(
            "the body unpacks to more than {FREE_BYTES} bytes plus {RATIO_MAX} times its size: \
             stopped at {} bytes",
            sink.bound
        )
    } else {
        format!("the body unpacks to more than {} bytes: send smaller batches", sink.bound)
    };
    Problem::too_large("upload.decoded_too_large", detail, sink.bound, sink.bound as u64 + 1)
}

/// Takes decoded bytes up to a bound.
struct Sink {
    out: Vec<u8>,
    bound: usize,
    is_over: bool,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.out.len() + bytes.len() > self.bound {
            self.is_over = true;
            return Err(io::Error::other("over the limit"));
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn gunzip(encoded: &[u8], sink: &mut Sink) -> io::Result<()> {
    use std::io::Read;
    let mut decoder = flate2::bufread::MultiGzDecoder::new(encoded);
    let mut step = vec![0_u8; STEP_BYTES];
    loop {
        match decoder.read(&mut step)? {
            0 => return Ok(()),
            count => sink.write_all(step.get(..count).unwrap_or_default())?,
        }
    }
}

fn unbrotli(encoded: &[u8], sink: &mut Sink) -> io::Result<()> {
    let alloc = StandardAlloc::default;
    // `new_strict` refuses the large windows of the extended format.
    let mut state = BrotliState::new_strict(alloc(), alloc(), alloc());
    let mut step = vec![0_u8; STEP_BYTES];
    let (mut left, mut read, mut total) = (encoded.len(), 0, 0);
    loop {
        let (mut room, mut written) = (step.len(), 0);
        let result = BrotliDecompressStream(
            &mut left,
            &mut read,
            encoded,
            &mut room,
            &mut written,
            &mut step,
            &mut total,
            &mut state,
        );
        sink.write_all(step.get(..written).unwrap_or_default())?;
        match result {
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::NeedsMoreInput => return Err(io::ErrorKind::UnexpectedEof.into()),
            BrotliResult::ResultFailure => return Err(io::ErrorKind::InvalidData.into()),
            BrotliResult::ResultSuccess if left > 0 => {
                return Err(io::Error::other("bytes follow its end"));
            }
            BrotliResult::ResultSuccess => return Ok(()),
        }
    }
}

fn unzstd(encoded: &[u8], sink: &mut Sink) -> io::Result<()> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
    let mut input = InBuffer::around(encoded);
    let mut step = vec![0_u8; STEP_BYTES];
    loop {
        let mut output = OutBuffer::around(step.as_mut_slice());
        let hint = decoder.run(&mut input, &mut output)?;
        let written = output.as_slice();
        sink.write_all(written)?;
        let is_full = written.len() == STEP_BYTES;
        if input.pos() == encoded.len() && !is_full {
            // A frame that is whole leaves nothing to be asked for.
            return if hint == 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
    }
}

#[cfg(test)]
mod mutation;
