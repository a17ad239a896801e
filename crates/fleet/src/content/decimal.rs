//! Decimal numbers as text, without the detour over binary fractions.

/// Writes `value / 10^places`.
pub(crate) fn write_decimal(value: i64, places: u32, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let mut digits = [b'0'; 20];
    let mut rest = value.unsigned_abs();
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        if rest == 0 {
            break;
        }
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        used += 1;
    }
    let places = (places as usize).min(19);
    let used = used.max(places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    out.extend_from_slice(whole.get(digits.len() - used..).unwrap_or_default());
    if places > 0 {
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_the_point_where_it_belongs() {
        for (value, places, text) in [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (5, 1, "0.5"),
            (-5, 3, "-0.005"),
            (52_520_008, 6, "52.520008"),
            (1234, 0, "1234"),
            (i64::MIN, 1, "-922337203685477580.8"),
            (i64::MAX, 19, "0.9223372036854775807"),
        ] {
            let mut out = Vec::new();
            write_decimal(value, places, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }
}
