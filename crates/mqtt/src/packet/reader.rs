//! Reads the pieces that packets are made of.

use super::refusal::Refusal;

/// What is left of a packet to be read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// All that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), Refusal> {
        if self.rest.is_empty() { Ok(()) } else { Err(Refusal::TRAILING) }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Refusal::TRAILING)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Refusal> {
        let (first, rest) = self.rest.split_first().ok_or(Refusal::TRAILING)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Refusal> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Refusal::TRAILING)?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*bytes))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Refusal> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Refusal::TRAILING)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    /// A packet id: never 0 [MQTT-2.2.1-3].
    pub(crate) fn packet_id(&mut self) -> Result<u16, Refusal> {
        match self.u16()? {
            0 => Err(Refusal::PACKET_ID),
            id => Ok(id),
        }
    }

    /// A variable byte integer, in as few bytes as it needs [MQTT-1.5.5-1].
    pub(crate) fn var_int(&mut self) -> Result<u32, Refusal> {
        match var_int(self.rest)? {
            Some((value, length)) => {
                self.take(length)?;
                Ok(value)
            }
            None => Err(Refusal::TRAILING),
        }
    }

    /// Binary data after its length.
    pub(crate) fn binary(&mut self) -> Result<&'a [u8], Refusal> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }

    /// Text after its length: UTF-8 [MQTT-1.5.4-1] without U+0000 [MQTT-1.5.4-2].
    pub(crate) fn text(&mut self) -> Result<&'a str, Refusal> {
        let bytes = self.binary()?;
        match std::str::from_utf8(bytes) {
            Ok(text) if !bytes.contains(&0) => Ok(text),
            _ => Err(Refusal::TEXT),
        }
    }
}

/// A variable byte integer at the start of these bytes and its length; `None` where they end
/// within it.
pub(crate) fn var_int(bytes: &[u8]) -> Result<Option<(u32, usize)>, Refusal> {
    let mut value = 0_u32;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let is_minimal = index == 0 || *byte != 0;
            return if is_minimal { Ok(Some((value, index + 1))) } else { Err(Refusal::LENGTH) };
        }
    }
    if bytes.len() >= 4 { Err(Refusal::LENGTH) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variable_integers_have_no_byte_to_spare() {
        for (bytes, expected) in [
            (&[0x00][..], Ok(Some((0, 1)))),
            (&[0x7f], Ok(Some((127, 1)))),
            (&[0x80, 0x01], Ok(Some((128, 2)))),
            (&[0xff, 0xff, 0xff, 0x7f], Ok(Some((268_435_455, 4)))),
            (&[0x80], Ok(None)),
            (&[0xff, 0xff, 0xff], Ok(None)),
            (&[0x80, 0x00], Err(Refusal::LENGTH)),
            (&[0x81, 0x80, 0x00], Err(Refusal::LENGTH)),
            (&[0xff, 0xff, 0xff, 0xff], Err(Refusal::LENGTH)),
            (&[], Ok(None)),
        ] {
            assert_eq!(var_int(bytes), expected, "{bytes:x?}");
        }
    }

    #[test]
    fn text_is_utf8_without_nul() {
        for (bytes, good) in [
            (&b"\x00\x02ok"[..], true),
            (b"\x00\x03a\x00b", false),
            (b"\x00\x02\xc0\x80", false),
            (b"\x00\x03\xed\xa0\x80", false),
            (b"\x00\x05ab", false),
        ] {
            assert_eq!(Reader::new(bytes).text().is_ok(), good, "{bytes:x?}");
        }
    }
}
