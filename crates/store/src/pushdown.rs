//! Reads devices and times out of filters. What is not understood is left to the filter itself,
//! so a mistake here may only ever keep too many rows.

#![expect(clippy::wildcard_enum_match_arm, reason = "what is not understood is left to the filter")]

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, Operator};

use crate::constraint::Constraint;

/// Narrows the constraint by a filter that every wanted row meets.
pub(crate) fn narrow(constraint: &mut Constraint, filter: &Expr) {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            narrow(constraint, left);
            narrow(constraint, right);
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if let (Some(column), Expr::Literal(value, _)) = (column(left), &**right) {
                compare(constraint, column, *op, value);
            } else if let (Expr::Literal(value, _), Some(column)) = (&**left, column(right))
                && let Some(op) = op.swap()
            {
                compare(constraint, column, op, value);
            }
        }
        Expr::Between(Between { expr, negated: false, low, high }) => {
            if let (Some(column), Expr::Literal(low, _), Expr::Literal(high, _)) =
                (column(expr), &**low, &**high)
            {
                compare(constraint, column, Operator::GtEq, low);
                compare(constraint, column, Operator::LtEq, high);
            }
        }
        Expr::InList(list) if !list.negated && column(&list.expr) == Some("device") => {
            let devices: Option<Vec<Arc<str>>> = list.list.iter().map(literal_text).collect();
            if let Some(devices) = devices {
                constraint.keep_devices(devices.into_iter());
            }
        }
        // `device = 'a' OR device = 'b'`, as short lists are written.
        _ => {}
    }
}

fn column(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(column.name.as_str()),
        _ => None,
    }
}

fn literal_text(expr: &Expr) -> Option<Arc<str>> {
    match expr {
        Expr::Literal(value, _) => text(value),
        _ => None,
    }
}

fn text(value: &ScalarValue) -> Option<Arc<str>> {
    match value {
        ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text) => {
            text.as_deref().map(Arc::from)
        }
        _ => None,
    }
}

fn compare(constraint: &mut Constraint, column: &str, op: Operator, value: &ScalarValue) {
    if column == "device" {
        if let (Operator::Eq, Some(device)) = (op, text(value)) {
            constraint.keep_devices(std::iter::once(device));
        }
        return;
    }
    if column != "time" && column != "time_claimed" {
        return;
    }
    let Some((floor, ceiling)) = micros(value) else { return };
    let range = match op {
        Operator::Eq => (ceiling, floor),
        Operator::Gt | Operator::GtEq => (ceiling, i64::MAX),
        Operator::Lt | Operator::LtEq => (i64::MIN, floor),
        _ => return,
    };
    if column == "time" { constraint.keep_time(range) } else { constraint.keep_claimed(range) }
}

/// A moment in microseconds, rounded down and rounded up.
fn micros(value: &ScalarValue) -> Option<(i64, i64)> {
    match value {
        ScalarValue::TimestampMicrosecond(Some(at), _) => Some((*at, *at)),
        ScalarValue::TimestampMillisecond(Some(at), _) => at.checked_mul(1000).map(|at| (at, at)),
        ScalarValue::TimestampSecond(Some(at), _) => at.checked_mul(1_000_000).map(|at| (at, at)),
        ScalarValue::TimestampNanosecond(Some(at), _) => {
            let floor = at.div_euclid(1000);
            Some((floor, floor + i64::from(at.rem_euclid(1000) != 0)))
        }
        _ => None,
    }
}
