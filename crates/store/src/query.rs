//! Answers questions: SQL through DataFusion, on threads of its own, within limits of rows,
//! bytes, time and memory.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axle_domain::port::{Answer, AnswerFormat, History, Query, Table};
use axle_domain::{Error, Kind, limit};
use datafusion::catalog::{
    CatalogProvider, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider,
    SchemaProvider,
};
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement;
use futures_util::StreamExt;
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::answer::{ArrowBytes, Cells, Collect};
use crate::constraint::Constraint;
use crate::failure::internal;
use crate::provider::StreamTable;
use crate::store::Shared;
use crate::{accounted, functions, guard, history};

/// Stack of a thread that plans: a question of 2,000 words may nest as deep as it is long.
const STACK_BYTES: usize = 256 * 1024 * 1024;
/// Answers questions about a store.
pub(crate) struct Queries {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
    running: Arc<Semaphore>,
    base: SessionState,
}

impl Queries {
    pub(crate) fn new(shared: &Arc<Shared>) -> Result<Self, Error> {
        let parallelism = shared.settings.parallelism.max(1);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(parallelism)
            .max_blocking_threads(limit::QUERIES_RUNNING_MAX)
            .thread_name("axle-query")
            .thread_stack_size(STACK_BYTES)
            .enable_time()
            .build()
            .map_err(|error| crate::failure::io("start the threads of queries", error))?;
        let running = Arc::new(Semaphore::new(limit::QUERIES_RUNNING_MAX));
        let base = base_state(parallelism)?;
        Ok(Self { shared: Arc::clone(shared), runtime: Some(runtime), running, base })
    }

    /// Answers SQL.
    pub(crate) async fn answer(&self, query: Query) -> Result<Answer, Error> {
        let time = query.limits.time;
        let state = self.session(&query)?;
        self.run(time, async move { answer(&state, &query).await }).await
    }

    /// Answers the history of a device.
    pub(crate) async fn history(&self, history: History) -> Result<(Table, bool), Error> {
        let Some(snapshot) = self.shared.snapshot(history.stream.as_str()) else {
            let known: Vec<&str> = self.shared.layouts.keys().map(String::as_str).collect();
            let message =
                format!("there is no stream `{}`: there are {}", history.stream, known.join(", "));
            return Err(Error::not_found("telemetry.stream_unknown", message));
        };
        let question = history::Question::new(&snapshot, &history)?;
        self.run(limit::QUERY_TIME_MAX, async move { question.answer().await }).await
    }

    /// Runs a question on the threads of queries. Its place is free again only when it really has
    /// ended, not when its asker has gone.
    async fn run<T: Send + 'static>(
        &self,
        time: Duration,
        question: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let place = Arc::clone(&self.running).try_acquire_owned().map_err(|_full| busy())?;
        let Some(runtime) = &self.runtime else { return Err(busy()) };
        let task = runtime.spawn(async move {
            let answer = question.await;
            drop(place);
            answer
        });
        let stop = StopOnDrop(task.abort_handle());
        let answer = tokio::time::timeout(time, task).await;
        drop(stop);
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(failed)) => Err(internal("store.query", failed)),
            Err(_elapsed) => Err(Error::new(
                Kind::TooLarge,
                "query.time",
                format!(
                    "the question took longer than {} ms: ask for less time, fewer devices or fewer columns",
                    time.as_millis()
                ),
            )),
        }
    }

    /// A session that has one table per stream, each as the asker may see it.
    fn session(&self, query: &Query) -> Result<SessionState, Error> {
        let failed = |error: DataFusionError| internal("store.query", error);
        let visible = Constraint::visible(&query.visibility);
        let schema = MemorySchemaProvider::new();
        for name in self.shared.layouts.keys() {
            if let Some(snapshot) = self.shared.snapshot(name) {
                let table = StreamTable::new(snapshot, visible.clone());
                schema.register_table(name.clone(), Arc::new(table)).map_err(failed)?;
            }
        }
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema("public", Arc::new(schema)).map_err(failed)?;
        let catalogs = MemoryCatalogProviderList::new();
        use datafusion::catalog::CatalogProviderList as _;
        catalogs.register_catalog("axle".to_owned(), Arc::new(catalog));
        let pool = Arc::new(GreedyMemoryPool::new(limit::QUERY_MEMORY_BYTES_MAX));
        let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(pool)
            .with_disk_manager_builder(disk)
            .build_arc()
            .map_err(failed)?;
        let mut state = SessionStateBuilder::new_from_existing(self.base.clone())
            .with_catalog_list(Arc::new(catalogs))
            .with_runtime_env(runtime)
            .build();
        // The moment that `now()` means all through the question; without it there is none.
        state.mark_start_execution();
        Ok(state)
    }
}

impl Drop for Queries {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Stops a question when nobody waits for its answer any more.
struct StopOnDrop(tokio::task::AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn busy() -> Error {
    let limit = limit::QUERIES_RUNNING_MAX;
    Error::new(
        Kind::Busy,
        "query.busy",
        format!("{limit} questions are being answered, more are not taken at a time: try again"),
    )
    .with_limit(limit as u64, limit as u64 + 1)
    .with_retry_after(Duration::from_secs(1))
}

fn base_state(parallelism: usize) -> Result<SessionState, Error> {
    let mut config = SessionConfig::new()
        .with_target_partitions(parallelism)
        .with_information_schema(false)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema("axle", "public");
    config
        .options_mut()
        .set("datafusion.execution.time_zone", "UTC")
        .map_err(|error| internal("store.query", error))?;
    Ok(SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_scalar_functions(functions::scalar())
        .with_higher_order_functions(Vec::new())
        .with_expr_planners(functions::planners())
        .with_table_functions(HashMap::new())
        .with_file_formats(Vec::new())
        .with_table_factories(HashMap::new())
        .build())
}

async fn answer(state: &SessionState, query: &Query) -> Result<Answer, Error> {
    let statement = guard::parse(&query.sql)?;
    check_tables(state, &statement)?;
    let plan = state.statement_to_plan(statement).await.map_err(explain)?;
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false);
    options.with_allow_statements(false).verify_plan(&plan).map_err(|_refused| {
        Error::new(Kind::Denied, "query.read_only", "only questions are answered here")
    })?;
    let plan = state.create_physical_plan(&plan).await.map_err(explain)?;
    let plan = accounted::account(plan).map_err(explain)?;
    let schema = plan.schema();
    let mut stream = execute_stream(plan, state.task_ctx()).map_err(explain)?;
    let mut cells = Cells::new(&schema, query.limits);
    let mut arrow = ArrowBytes::new(&schema, query.limits)?;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(explain)?;
        let has_room = match query.format {
            AnswerFormat::Table => cells.push(&batch)?,
            AnswerFormat::ArrowStream => arrow.push(&batch)?,
        };
        if !has_room {
            break;
        }
    }
    Ok(match query.format {
        AnswerFormat::Table => Answer::Table(cells.table),
        AnswerFormat::ArrowStream => {
            let (bytes, is_truncated) = arrow.finish()?;
            Answer::ArrowStream(bytes, is_truncated)
        }
    })
}

/// Says which tables there are where a question names another.
fn check_tables(state: &SessionState, statement: &Statement) -> Result<(), Error> {
    let tables = state.resolve_table_references(statement).map_err(explain)?;
    let schema = state.catalog_list().catalog("axle").and_then(|axle| axle.schema("public"));
    for table in tables {
        let is_elsewhere = table.catalog().is_some_and(|catalog| catalog != "axle")
            || table.schema().is_some_and(|schema| schema != "public");
        let known = schema.as_ref().filter(|_| !is_elsewhere);
        if !known.is_some_and(|schema| schema.table_exist(table.table())) {
            let known = schema.as_ref().map(|schema| schema.table_names()).unwrap_or_default();
            let mut known = known;
            known.sort_unstable();
            let name: String = table.to_string().chars().take(64).collect();
            let message = format!(
                "there is no table `{}`: there are {}",
                name.escape_debug(),
                known.join(", ")
            );
            return Err(Error::invalid("query.unknown", message));
        }
    }
    Ok(())
}

/// An error of DataFusion in the asker's terms.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other errors are the question's own")]
fn explain(error: DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => {
            let message = "the question needs more memory than one question may take: ask for less";
            return Error::new(Kind::TooLarge, "query.memory", message)
                .with_limit(limit::QUERY_MEMORY_BYTES_MAX as u64, 0)
                .with_source(error);
        }
        DataFusionError::SchemaError(schema_error, _) => {
            return unknown_column(schema_error);
        }
        DataFusionError::External(inner) => {
            if let Some(ours) = inner.downcast_ref::<Error>() {
                return Error::new(ours.kind, ours.code, ours.message.clone());
            }
        }
        DataFusionError::Internal(_) => return internal("store.query", error),
        _ => {}
    }
    let text = error.strip_backtrace();
    let text: String = text.lines().next().unwrap_or_default().chars().take(500).collect();
    Error::invalid("query.failed", format!("the question cannot be answered: {text}"))
        .with_source(error)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all other errors say enough themselves")]
fn unknown_column(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let mut known: Vec<&str> = valid_fields.iter().map(|column| column.name()).collect();
            known.dedup();
            let name: String = field.name().chars().take(64).collect();
            let message = format!(
                "there is no column `{}`: there are {}",
                name.escape_debug(),
                known.join(", ")
            );
            Error::invalid("query.unknown", message)
        }
        other => Error::invalid("query.failed", other.to_string()),
    }
}
