//! A stream as a SQL table of DataFusion. Visibility is part of the table itself, so that nothing
//! above the scan ever sees a row that is not visible.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{
    Boundedness, EmissionType, ReplaceChildrenOptions,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};

use crate::constraint::Constraint;
use crate::layout::Layout;
use crate::merge::Batches;
use crate::plan::{Snapshot, Unit};
use crate::pushdown;

/// A stream at one moment, as someone may see it.
#[derive(Debug)]
pub(crate) struct StreamTable {
    snapshot: Snapshot,
    visible: Constraint,
}

impl StreamTable {
    pub(crate) fn new(snapshot: Snapshot, visible: Constraint) -> Self {
        Self { snapshot, visible }
    }
}

#[async_trait]
impl TableProvider for StreamTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.snapshot.layout.sql)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// The scan leaves out what cannot be wanted, and the filter above decides.
    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut constraint = self.visible.clone();
        filters.iter().for_each(|filter| pushdown::narrow(&mut constraint, filter));
        let units = self.snapshot.units(&constraint);
        let partitions = share_out(units, state.config().target_partitions());
        let layout = Arc::clone(&self.snapshot.layout);
        Ok(Arc::new(StreamScan::new(layout, projection.cloned(), partitions)?))
    }
}

/// Shares units out over partitions, the largest first. There are always as many partitions, so
/// that a plan looks the same whatever is stored.
fn share_out(mut units: Vec<Unit>, partitions: usize) -> Vec<Vec<Unit>> {
    units.sort_by_key(|unit| std::cmp::Reverse(unit.rows_max()));
    let mut shares: Vec<(u64, Vec<Unit>)> = vec![(0, Vec::new()); partitions.max(1)];
    for unit in units {
        if let Some((rows, share)) = shares.iter_mut().min_by_key(|(rows, _)| *rows) {
            *rows += unit.rows_max();
            share.push(unit);
        }
    }
    shares.into_iter().map(|(_, share)| share).collect()
}

/// Reads units.
#[derive(Debug)]
struct StreamScan {
    layout: Arc<Layout>,
    /// Wanted columns in the order of the answer.
    wanted: Vec<usize>,
    partitions: Vec<Vec<Unit>>,
    properties: Arc<PlanProperties>,
}

impl StreamScan {
    fn new(
        layout: Arc<Layout>,
        projection: Option<Vec<usize>>,
        partitions: Vec<Vec<Unit>>,
    ) -> Result<Self> {
        let wanted = projection.unwrap_or_else(|| (0..layout.width()).collect());
        let schema = Arc::new(layout.sql.project(&wanted)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self { layout, wanted, partitions, properties: Arc::new(properties) })
    }
}

impl DisplayAs for StreamScan {
    /// Says nothing of files or rows: a plan must not tell of what its reader may not see.
    fn fmt_as(&self, _form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamScan: stream={}", self.layout.name())
    }
}

impl ExecutionPlan for StreamScan {
    fn name(&self) -> &'static str {
        "StreamScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let units = self.partitions.get(partition).cloned().unwrap_or_default();
        let schema = self.schema();
        let rows = Rows {
            layout: Arc::clone(&self.layout),
            wanted: self.wanted.clone(),
            schema: Arc::clone(&schema),
            units: units.into_iter(),
            current: None,
        };
        let stream = futures_util::stream::iter(rows);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }
}

/// The rows of units, in the types of SQL.
struct Rows {
    layout: Arc<Layout>,
    wanted: Vec<usize>,
    schema: SchemaRef,
    units: std::vec::IntoIter<Unit>,
    current: Option<Batches>,
}

impl Rows {
    fn read(&mut self) -> Result<Option<RecordBatch>, axle_domain::Error> {
        loop {
            if let Some(batch) = self.current.as_mut().and_then(Iterator::next) {
                return batch.map(Some);
            }
            let Some(unit) = self.units.next() else { return Ok(None) };
            let mut ascending = self.wanted.clone();
            ascending.sort_unstable();
            ascending.dedup();
            self.current = Some(unit.read(&self.layout, &ascending)?);
        }
    }

    /// From ascending columns in the types of memory to the wanted order in the types of SQL.
    fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut ascending = self.wanted.clone();
        ascending.sort_unstable();
        ascending.dedup();
        let mut arrays = Vec::with_capacity(self.wanted.len());
        for (column, field) in self.wanted.iter().zip(self.schema.fields()) {
            let place = ascending.binary_search(column).unwrap_or(0);
            let array = batch.column(place);
            arrays.push(cast(array, field.data_type())?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)?)
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.read() {
            Ok(Some(batch)) => Some(self.convert(&batch)),
            Ok(None) => None,
            Err(error) => {
                self.units = Vec::new().into_iter();
                self.current = None;
                Some(Err(DataFusionError::External(Box::new(error))))
            }
        }
    }
}
