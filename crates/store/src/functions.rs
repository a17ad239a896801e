//! The functions of SQL that are offered, and a bound on those whose text may grow.
//!
//! No limit of memory sees the text that an expression makes: doubling it forty times over in one
//! short question would end the process. Functions that lengthen text therefore look at what they
//! are given first. Functions on lists are not offered; no stream has lists.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::functions;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

/// Most bytes of text that one step makes of one batch of rows.
const TEXT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Functions whose answer may be far longer than all their arguments.
const REFUSED: [&str; 4] = ["repeat", "lpad", "rpad", "string_to_array"];
/// Functions whose answer is about as long as their arguments together.
const SUMS: [&str; 3] = ["concat", "concat_ws", "overlay"];
/// Functions that put their third argument into the first, perhaps everywhere.
const PRODUCTS: [&str; 2] = ["replace", "regexp_replace"];

/// The scalar functions that are offered.
pub(crate) fn scalar() -> Vec<Arc<ScalarUDF>> {
    let all = functions::all_default_functions().into_iter();
    all.filter(|function| !REFUSED.contains(&function.name()))
        .map(|function| match function.name() {
            name if SUMS.contains(&name) => bounded(function, Growth::Sum),
            name if PRODUCTS.contains(&name) => bounded(function, Growth::Product),
            _ => function,
        })
        .collect()
}

/// What plans the special forms of SQL.
pub(crate) fn planners() -> Vec<Arc<dyn ExprPlanner>> {
    vec![
        Arc::new(ConcatPlanner),
        Arc::new(functions::core::planner::CoreFunctionPlanner::default()),
        Arc::new(functions::datetime::planner::DatetimeFunctionPlanner),
        Arc::new(functions::unicode::planner::UnicodeFunctionPlanner),
        Arc::new(datafusion::functions_aggregate::planner::AggregateFunctionPlanner),
        Arc::new(datafusion::functions_window::planner::WindowFunctionPlanner),
    ]
}

fn bounded(inner: Arc<ScalarUDF>, growth: Growth) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Bounded { inner, growth }))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Growth {
    Sum,
    Product,
}

/// A function that looks at the length of its arguments first.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(
        &self,
        args: ReturnFieldArgs<'_>,
    ) -> Result<arrow::datatypes::FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows.max(1);
        let bytes = match self.growth {
            Growth::Sum => {
                args.args.iter().map(|arg| text_bytes(arg, rows)).fold(0, usize::saturating_add)
            }
            Growth::Product => {
                let text = args.args.first().map_or(0, |arg| text_bytes(arg, rows));
                let put_in = args.args.get(2).map_or(0, longest);
                text.saturating_add(rows).saturating_mul(put_in.saturating_add(1))
            }
        };
        check(bytes)?;
        self.inner.invoke_with_args(args)
    }
}

fn check(bytes: usize) -> Result<()> {
    if bytes <= TEXT_BYTES_MAX {
        return Ok(());
    }
    Err(DataFusionError::ResourcesExhausted(format!(
        "text of {bytes} bytes in one step, the limit is {TEXT_BYTES_MAX}"
    )))
}

/// The bytes of text in an argument, for so many rows.
fn text_bytes(value: &ColumnarValue, rows: usize) -> usize {
    match value {
        ColumnarValue::Array(array) => lengths(array).fold(0, usize::saturating_add),
        ColumnarValue::Scalar(scalar) => scalar_bytes(scalar).saturating_mul(rows),
    }
}

fn longest(value: &ColumnarValue) -> usize {
    match value {
        ColumnarValue::Array(array) => lengths(array).max().unwrap_or(0),
        ColumnarValue::Scalar(scalar) => scalar_bytes(scalar),
    }
}

fn scalar_bytes(scalar: &ScalarValue) -> usize {
    scalar.try_as_str().flatten().map_or(32, str::len)
}

/// The length of each text; what is no text is short.
fn lengths(array: &ArrayRef) -> Box<dyn Iterator<Item = usize> + '_> {
    if let Some(texts) = array.as_string_view_opt() {
        return Box::new(texts.lengths().map(|length| length as usize));
    }
    if let Some(texts) = array.as_string_opt::<i32>() {
        return Box::new(texts.iter().map(|text| text.map_or(0, str::len)));
    }
    if let Some(texts) = array.as_string_opt::<i64>() {
        return Box::new(texts.iter().map(|text| text.map_or(0, str::len)));
    }
    Box::new(std::iter::repeat_n(32, array.len()))
}

/// Makes `a || b` a function, so that it can be bounded.
#[derive(Debug)]
struct ConcatPlanner;

impl ExprPlanner for ConcatPlanner {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawBinaryExpr>> {
        if expr.op != BinaryOperator::StringConcat {
            return Ok(PlannerResult::Original(expr));
        }
        for side in [&expr.left, &expr.right] {
            if side.get_type(schema)?.is_nested() {
                let message = "`||` joins text; lists are not offered".to_owned();
                return Err(DataFusionError::Plan(message));
            }
        }
        let function = Arc::new(ScalarUDF::new_from_impl(TextConcat::new()));
        let args = vec![expr.left, expr.right];
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction::new_udf(function, args))))
    }
}

/// `a || b`: absent if either is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TextConcat {
    signature: Signature,
}

impl TextConcat {
    fn new() -> Self {
        Self { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for TextConcat {
    fn name(&self) -> &'static str {
        "||"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows.max(1);
        check(args.args.iter().map(|arg| text_bytes(arg, rows)).fold(0, usize::saturating_add))?;
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let sides = ColumnarValue::values_to_arrays(&args.args)?;
        let sides = sides.iter().map(|side| cast(side, &DataType::Utf8View));
        let sides = sides.collect::<Result<Vec<_>, _>>()?;
        let (Some(left), Some(right)) = (
            sides.first().and_then(|side| side.as_string_view_opt()),
            sides.get(1).and_then(|side| side.as_string_view_opt()),
        ) else {
            return Err(DataFusionError::Internal("`||` takes two texts".to_owned()));
        };
        let mut joined = StringViewBuilder::with_capacity(left.len());
        let mut buffer = String::new();
        for pair in left.iter().zip(right.iter()) {
            if let (Some(left), Some(right)) = pair {
                buffer.clear();
                buffer.push_str(left);
                buffer.push_str(right);
                joined.append_value(&buffer);
            } else {
                joined.append_null();
            }
        }
        let joined: ArrayRef = Arc::new(joined.finish());
        if is_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&joined, 0)?));
        }
        Ok(ColumnarValue::Array(joined))
    }
}
