//! The store keeps the contract, clause by clause.

use axle_testkit::conformance::telemetry_store as suite;

use crate::open;

macro_rules! clauses {
    ($($clause:ident),* $(,)?) => {
        $(#[tokio::test]
        async fn $clause() {
            let folder = tempfile::tempdir().unwrap();
            let store = open(folder.path());
            suite::$clause(&*store).await;
        })*
    };
}

clauses!(
    rows_are_visible_when_write_returns,
    identical_rows_are_one_and_the_first_arrival_stays,
    minus_zero_is_zero,
    answers_do_not_depend_on_the_order_of_arrival,
    refuses_what_is_not_a_pure_question,
    nobody_sees_rows_of_others,
    an_answer_that_is_cut_says_so,
    a_question_that_takes_too_long_is_stopped,
    history_is_ordered_and_bounded,
);
