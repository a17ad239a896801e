//! Base types: how a number is written, and which number means that there is none.

/// The order of the bytes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Least first.
    Little,
    /// Greatest first.
    Big,
}

/// The number in a field; `None` for what is marked invalid, for lists, text and bytes.
pub(super) fn number(kind: u8, bytes: &[u8], order: Order) -> Option<f64> {
    // Bit 7 says that the order of bytes matters, which the width says too.
    match kind & 0x1F {
        // enum, uint8, and a single byte of bytes
        0 | 2 | 13 => unsigned(bytes, 1, order).filter(|it| *it != 0xFF).map(float),
        1 => signed(bytes, 1, order, 0x7F),
        3 => signed(bytes, 2, order, 0x7FFF),
        4 => unsigned(bytes, 2, order).filter(|it| *it != 0xFFFF).map(float),
        5 => signed(bytes, 4, order, 0x7FFF_FFFF),
        6 => unsigned(bytes, 4, order).filter(|it| *it != 0xFFFF_FFFF).map(float),
        8 => {
            let bits = u32::try_from(unsigned(bytes, 4, order)?).ok()?;
            Some(f64::from(f32::from_bits(bits))).filter(|number| number.is_finite())
        }
        9 => Some(f64::from_bits(unsigned(bytes, 8, order)?)).filter(|number| number.is_finite()),
        // The unsigned numbers of which 0 is invalid.
        10 => unsigned(bytes, 1, order).filter(|it| *it != 0).map(float),
        11 => unsigned(bytes, 2, order).filter(|it| *it != 0).map(float),
        12 => unsigned(bytes, 4, order).filter(|it| *it != 0).map(float),
        14 => signed(bytes, 8, order, i64::MAX),
        15 => unsigned(bytes, 8, order).filter(|it| *it != u64::MAX).map(float),
        16 => unsigned(bytes, 8, order).filter(|it| *it != 0).map(float),
        _ => None,
    }
}

/// Text up to its first zero; `None` where there is none.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.split(|byte| *byte == 0).next()?;
    let text = std::str::from_utf8(bytes).ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn unsigned(bytes: &[u8], width: usize, order: Order) -> Option<u64> {
    if bytes.len() != width {
        return None;
    }
    let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    Some(match order {
        Order::Big => bytes.iter().fold(0, add),
        Order::Little => bytes.iter().rev().fold(0, add),
    })
}

fn signed(bytes: &[u8], width: u32, order: Order, invalid: i64) -> Option<f64> {
    let number = unsigned(bytes, usize::try_from(width).ok()?, order)?;
    // Moved to the top and back, the sign spreads.
    let empty = 64 - 8 * width;
    let number = (number << empty).cast_signed() >> empty;
    (number != invalid).then_some(number as f64)
}

/// Beyond 2^53 the last digits go; no measured value has so many.
fn float(number: u64) -> f64 {
    number as f64
}
