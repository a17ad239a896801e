//! Numbers as decimals of nine digits, where that loses nothing.
//!
//! A number is stored as a decimal only if dividing the integer by the power of ten gives back the
//! same 64 bits. Everything else is stored beside it, unrounded.

use arrow::array::{Array, Decimal32Array, Float64Array};
use arrow::buffer::{BooleanBuffer, NullBuffer, ScalarBuffer};
use axle_domain::Error;

use crate::failure::internal;
use crate::layout::DECIMAL_DIGITS;

/// Greatest integer of nine digits.
const UNITS_MAX: f64 = 999_999_999.0;
/// Adding and taking away 1.5 · 2^52 rounds a small number to the nearest whole one.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

fn power(scale: u8) -> f64 {
    10_f64.powi(i32::from(scale))
}

/// The decimal's integer, if the number is exactly that decimal.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "checked to have nine digits at most")]
fn units(value: f64, power: f64) -> Option<i32> {
    let units = (value * power + ROUNDER) - ROUNDER;
    let fits = units.abs() <= UNITS_MAX && (units / power).to_bits() == value.to_bits();
    fits.then_some(units as i32)
}

/// Numbers as decimals, and the numbers that are none.
pub(crate) fn encode(
    numbers: &Float64Array,
    scale: u8,
) -> Result<(Decimal32Array, Float64Array), Error> {
    let power = power(scale);
    let rows = numbers.len();
    let mut is_exact = true;
    let mut integers = Vec::with_capacity(rows);
    for value in numbers.values() {
        let units = units(*value, power);
        is_exact &= units.is_some();
        integers.push(units.unwrap_or(0));
    }
    let (decimal_nulls, exact) = if is_exact {
        (numbers.nulls().cloned(), Float64Array::new_null(rows))
    } else {
        let fits = |row: usize| {
            numbers.values().get(row).is_some_and(|value| units(*value, power).is_some())
        };
        let fits = BooleanBuffer::collect_bool(rows, fits);
        let exact = NullBuffer::union(Some(&NullBuffer::new(!&fits)), numbers.nulls());
        let decimal = NullBuffer::union(Some(&NullBuffer::new(fits)), numbers.nulls());
        (decimal, Float64Array::new(numbers.values().clone(), exact))
    };
    let decimals = Decimal32Array::try_new(ScalarBuffer::from(integers), decimal_nulls)
        .and_then(|array| {
            array.with_precision_and_scale(DECIMAL_DIGITS, i8::try_from(scale).unwrap_or(0))
        })
        .map_err(|error| internal("store.encode", error))?;
    Ok((decimals, exact))
}

/// The numbers again.
pub(crate) fn decode(
    decimals: &Decimal32Array,
    exact: Option<&Float64Array>,
    scale: u8,
) -> Float64Array {
    let power = power(scale);
    let numbers: Vec<f64> =
        decimals.values().iter().map(|units| f64::from(*units) / power).collect();
    let Some(exact) = exact.filter(|exact| exact.null_count() < exact.len()) else {
        return Float64Array::new(ScalarBuffer::from(numbers), decimals.nulls().cloned());
    };
    let merged = (0..decimals.len()).map(|row| {
        if exact.is_valid(row) {
            Some(exact.value(row))
        } else {
            decimals.is_valid(row).then(|| numbers.get(row).copied()).flatten()
        }
    });
    merged.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(values: Vec<Option<f64>>, scale: u8) -> usize {
        let numbers: Float64Array = values.iter().copied().collect();
        let (decimals, exact) = encode(&numbers, scale).unwrap();
        let back = decode(&decimals, Some(&exact), scale);
        for (row, value) in values.iter().enumerate() {
            let read = back.is_valid(row).then(|| back.value(row).to_bits());
            assert_eq!(read, value.map(f64::to_bits), "{value:?} at scale {scale}");
            assert!(!(decimals.is_valid(row) && exact.is_valid(row)), "one of the two, never both");
        }
        exact.len() - exact.null_count()
    }

    #[test]
    fn sensor_values_are_decimals() {
        let values = vec![Some(0.1), Some(230.4), None, Some(-17.5), Some(0.0), Some(99_999_999.9)];
        assert_eq!(check(values, 1), 0);
        assert_eq!(check(vec![Some(52.520_008), Some(-179.999_999)], 6), 0);
    }

    #[test]
    fn what_does_not_fit_is_stored_beside_it_unrounded() {
        let values = vec![Some(0.12), Some(1e300), None, Some(100_000_000.0), Some(0.1 + 0.2)];
        assert_eq!(check(values, 1), 4);
        assert_eq!(check(vec![Some(f64::MIN_POSITIVE), Some(5e-324), Some(0.3)], 1), 2);
    }

    proptest! {
        #[test]
        fn prop_every_number_comes_back_bit_by_bit(
            bits in proptest::collection::vec(any::<u64>(), 1..64),
            small in proptest::collection::vec(-1_000_000_i64..1_000_000, 1..64),
            scale in 0_u8..=9,
        ) {
            let wild = bits.iter().map(|bits| Some(f64::from_bits(*bits)).filter(|v| v.is_finite()));
            // Stored numbers have the canonical zero.
            let wild = wild.map(|value| value.map(|value| value + 0.0));
            let tame = small.iter().map(|value| Some(*value as f64 / 10_f64.powi(i32::from(scale))));
            check(wild.chain(tame).collect(), scale);
        }
    }
}
