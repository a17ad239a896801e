//! Refuses SQL that is too long, too deep, wrong, or more than a question — before it is planned.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever sqlparser learns to read is refused until it is named here"
)]

use std::ops::ControlFlow;

use axle_domain::{Error, Kind, limit};
use datafusion::common::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{
    Ident, Query, Select, SetExpr, Statement as SqlStatement, TableAlias, TableFactor, Visit,
    VisitMut, Visitor, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

/// Most words and signs of a question.
const TOKENS_MAX: usize = 2000;
/// Deepest nesting of brackets.
const NESTING_MAX: usize = 64;
/// Deepest recursion of the parser.
const RECURSION_MAX: usize = 100;

/// The one question in a text.
pub(crate) fn parse(sql: &str) -> Result<Statement, Error> {
    if sql.len() > limit::SQL_BYTES_MAX {
        let message = format!("the SQL text is longer than {} bytes", limit::SQL_BYTES_MAX);
        return Err(Error::new(Kind::TooLarge, "query.too_long", message)
            .with_limit(limit::SQL_BYTES_MAX as u64, sql.len() as u64));
    }
    measure(sql)?;
    let dialect = GenericDialect {};
    let mut parser = DFParserBuilder::new(sql)
        .with_dialect(&dialect)
        .with_recursion_limit(RECURSION_MAX)
        .build()
        .map_err(|error| syntax(&error))?;
    let mut statements = parser.parse_statements().map_err(|error| syntax(&error))?;
    let mut statement = statements
        .pop_front()
        .ok_or_else(|| Error::invalid("query.syntax", "the SQL text is empty: write one SELECT"))?;
    if !statements.is_empty() {
        return Err(Error::invalid("query.syntax", "write one statement, not several"));
    }
    check(&statement)?;
    name_derived_tables(&mut statement, &mut 0);
    Ok(statement)
}

/// Counts before parsing, since parsing deep text takes stack.
fn measure(sql: &str) -> Result<(), Error> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize()
        .map_err(|error| syntax_at(&error.to_string()))?;
    let (mut count, mut depth, mut deepest) = (0_usize, 0_usize, 0_usize);
    for token in &tokens {
        count += usize::from(!matches!(token, Token::Whitespace(_)));
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            Token::Word(word) if word.value.eq_ignore_ascii_case("case") => depth += 1,
            Token::Word(word) if word.value.eq_ignore_ascii_case("end") => {
                depth = depth.saturating_sub(1);
            }
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if count > TOKENS_MAX {
        return Err(too_complex("words and signs", TOKENS_MAX, count));
    }
    if deepest > NESTING_MAX {
        return Err(too_complex("nested brackets", NESTING_MAX, deepest));
    }
    Ok(())
}

fn too_complex(what: &str, limit: usize, actual: usize) -> Error {
    let message = format!("the question has {actual} {what}, the limit is {limit}: split it up");
    Error::invalid("query.too_complex", message).with_limit(limit as u64, actual as u64)
}

fn syntax(error: &DataFusionError) -> Error {
    match error.find_root() {
        DataFusionError::SQL(error, _) => match error.as_ref() {
            ParserError::RecursionLimitExceeded => Error::invalid(
                "query.too_complex",
                "the question is nested too deeply: split it up",
            ),
            ParserError::ParserError(text) | ParserError::TokenizerError(text) => syntax_at(text),
        },
        other => syntax_at(&other.to_string()),
    }
}

/// The parser's words, which end with line and column.
fn syntax_at(text: &str) -> Error {
    let text: String = text.chars().take(300).collect();
    Error::invalid("query.syntax", format!("the SQL text is malformed: {text}"))
}

fn check(statement: &Statement) -> Result<(), Error> {
    match statement {
        Statement::Statement(statement) => check_sql(statement),
        Statement::Explain(explain) => check(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => {
            Err(denied(&first_words(&statement.to_string())))
        }
    }
}

fn check_sql(statement: &SqlStatement) -> Result<(), Error> {
    match statement {
        SqlStatement::Query(_) | SqlStatement::Explain { .. } => {}
        other => return Err(denied(&first_words(&other.to_string()))),
    }
    match Visit::visit(statement, &mut Pure) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(what) => Err(denied(&what)),
    }
}

fn first_words(text: &str) -> String {
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

fn denied(what: &str) -> Error {
    let what: String = what.chars().take(60).collect();
    let message = format!(
        "`{what}` is refused: only questions are answered here (SELECT, WITH, VALUES, EXPLAIN)"
    );
    Error::new(Kind::Denied, "query.read_only", message)
}

/// Names subqueries that have no name. Two of them on each other with the same expressions would
/// be taken for one by DataFusion 55.2, and the answer would be wrong (fixed upstream by pull
/// request 24686).
fn name_derived_tables(statement: &mut Statement, count: &mut usize) {
    match statement {
        Statement::Statement(statement) => {
            match VisitMut::visit(statement.as_mut(), &mut Namer(count)) {
                ControlFlow::Continue(()) | ControlFlow::Break(()) => {}
            }
        }
        Statement::Explain(explain) => name_derived_tables(&mut explain.statement, count),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => {}
    }
}

struct Namer<'a>(&'a mut usize);

impl VisitorMut for Namer<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { alias: alias @ None, .. } = factor {
            *self.0 += 1;
            let name = Ident::new(format!("__derived_{}", self.0));
            *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }
}

/// Breaks at the first thing that is more than a question.
struct Pure;

impl Visitor for Pure {
    type Break = String;

    fn pre_visit_statement(&mut self, statement: &SqlStatement) -> ControlFlow<String> {
        match statement {
            SqlStatement::Query(_) | SqlStatement::Explain { .. } => ControlFlow::Continue(()),
            other => ControlFlow::Break(first_words(&other.to_string())),
        }
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        if !query.locks.is_empty() {
            return ControlFlow::Break("FOR UPDATE".to_owned());
        }
        check_body(&query.body)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        match &select.into {
            Some(into) => ControlFlow::Break(into.to_string()),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<String> {
        match factor {
            TableFactor::Table { args: None, .. }
            | TableFactor::Derived { .. }
            | TableFactor::NestedJoin { .. }
            | TableFactor::UNNEST { .. } => ControlFlow::Continue(()),
            other => ControlFlow::Break(first_words(&other.to_string())),
        }
    }
}

fn check_body(body: &SetExpr) -> ControlFlow<String> {
    match body {
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) | SetExpr::Table(_) => {
            ControlFlow::Continue(())
        }
        SetExpr::SetOperation { left, right, .. } => {
            check_body(left)?;
            check_body(right)
        }
        other => ControlFlow::Break(first_words(&other.to_string())),
    }
}
