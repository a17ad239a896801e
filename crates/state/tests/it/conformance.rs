//! The contracts of the ports, on SQLite and in memory.

mod device_registry {
    use axle_testkit::conformance::state::device_registry as suite;

    use crate::place::Folder;

    #[tokio::test]
    async fn changes_are_durable_when_they_return() {
        suite::changes_are_durable_when_they_return(&Folder::new()).await;
    }

    #[tokio::test]
    async fn a_taken_id_is_a_conflict_and_changes_nothing() {
        let folder = Folder::new();
        suite::a_taken_id_is_a_conflict_and_changes_nothing(&folder.state()).await;
    }

    #[tokio::test]
    async fn an_update_needs_the_version_before() {
        let folder = Folder::new();
        suite::an_update_needs_the_version_before(&folder.state()).await;
    }

    #[tokio::test]
    async fn devices_are_listed_by_id_in_pages() {
        let folder = Folder::new();
        suite::devices_are_listed_by_id_in_pages(&folder.state()).await;
    }

    #[tokio::test]
    async fn a_search_finds_parts_of_id_and_name_in_any_case() {
        let folder = Folder::new();
        suite::a_search_finds_parts_of_id_and_name_in_any_case(&folder.state()).await;
    }

    #[tokio::test]
    async fn a_certificate_speaks_for_one_registered_device() {
        let folder = Folder::new();
        suite::a_certificate_speaks_for_one_registered_device(&folder.state()).await;
    }

    #[tokio::test]
    async fn certificates_are_revoked_one_or_all_but_once() {
        let folder = Folder::new();
        suite::certificates_are_revoked_one_or_all_but_once(&folder.state()).await;
    }
}

mod component_registry {
    use axle_testkit::conformance::state::component_registry as suite;
    use axle_testkit::memory_state::MemoryState;

    use crate::place::Folder;

    #[tokio::test]
    async fn batches_and_decisions_are_durable_when_they_return() {
        suite::batches_and_decisions_are_durable_when_they_return(&Folder::new()).await;
    }

    #[tokio::test]
    async fn records_are_judged_in_order() {
        let folder = Folder::new();
        suite::records_are_judged_in_order(&folder.state()).await;
        suite::records_are_judged_in_order(&MemoryState::new()).await;
    }

    #[tokio::test]
    async fn a_batch_is_taken_once() {
        let folder = Folder::new();
        suite::a_batch_is_taken_once(&folder.state()).await;
        suite::a_batch_is_taken_once(&MemoryState::new()).await;
    }

    #[tokio::test]
    async fn a_record_with_a_reason_waits_and_changes_nothing() {
        let folder = Folder::new();
        suite::a_record_with_a_reason_waits_and_changes_nothing(&folder.state()).await;
        suite::a_record_with_a_reason_waits_and_changes_nothing(&MemoryState::new()).await;
    }

    #[tokio::test]
    async fn a_dry_run_changes_nothing_and_says_the_same() {
        let folder = Folder::new();
        suite::a_dry_run_changes_nothing_and_says_the_same(&folder.state()).await;
        suite::a_dry_run_changes_nothing_and_says_the_same(&MemoryState::new()).await;
    }

    #[tokio::test]
    async fn an_item_is_decided_once_and_only_within_the_law() {
        let folder = Folder::new();
        suite::an_item_is_decided_once_and_only_within_the_law(&folder.state()).await;
        suite::an_item_is_decided_once_and_only_within_the_law(&MemoryState::new()).await;
    }

    #[tokio::test]
    async fn lists_are_ordered_and_paged() {
        let folder = Folder::new();
        suite::lists_are_ordered_and_paged(&folder.state()).await;
        suite::lists_are_ordered_and_paged(&MemoryState::new()).await;
    }
}

mod search_index {
    use axle_testkit::conformance::state::search_index as suite;
    use axle_testkit::memory_state::MemoryState;

    use crate::place::Folder;

    #[tokio::test]
    async fn a_change_is_found_as_soon_as_it_is_answered() {
        suite::a_change_is_found_as_soon_as_it_is_answered(&Folder::new()).await;
    }

    #[tokio::test]
    async fn hits_are_ranked_by_the_law() {
        let folder = Folder::new();
        suite::hits_are_ranked_by_the_law(&folder.state()).await;
        suite::hits_are_ranked_by_the_law(&MemoryState::new()).await;
    }

    #[tokio::test]
    async fn one_change_and_every_part_are_found() {
        let folder = Folder::new();
        suite::one_change_and_every_part_are_found(&folder.state()).await;
        suite::one_change_and_every_part_are_found(&MemoryState::new()).await;
    }

    #[tokio::test]
    async fn a_search_is_bounded() {
        let folder = Folder::new();
        suite::a_search_is_bounded(&folder.state()).await;
        suite::a_search_is_bounded(&MemoryState::new()).await;
    }
}

mod token_store {
    use axle_testkit::conformance::state::token_store as suite;

    use crate::place::Folder;

    #[tokio::test]
    async fn changes_are_durable_when_they_return() {
        suite::changes_are_durable_when_they_return(&Folder::new()).await;
    }

    #[tokio::test]
    async fn a_taken_id_or_hash_is_a_conflict_and_changes_nothing() {
        let folder = Folder::new();
        suite::a_taken_id_or_hash_is_a_conflict_and_changes_nothing(&folder.state()).await;
    }

    #[tokio::test]
    async fn a_token_is_found_by_its_hash_until_it_is_deleted() {
        let folder = Folder::new();
        suite::a_token_is_found_by_its_hash_until_it_is_deleted(&folder.state()).await;
    }
}

mod application_store {
    use axle_testkit::conformance::state::application_store as suite;
    use axle_testkit::memory_state::MemoryState;

    use crate::place::Folder;

    #[tokio::test]
    async fn changes_are_durable_when_they_return() {
        suite::changes_are_durable_when_they_return(&Folder::new()).await;
    }

    #[tokio::test]
    async fn what_is_refused_changes_nothing() {
        suite::what_is_refused_changes_nothing(&Folder::new().state()).await;
        suite::what_is_refused_changes_nothing(&MemoryState::new()).await;
    }

    #[tokio::test]
    async fn applications_without_a_token_are_not_in_each_others_way() {
        let folder = Folder::new();
        suite::applications_without_a_token_are_not_in_each_others_way(&folder.state()).await;
        suite::applications_without_a_token_are_not_in_each_others_way(&MemoryState::new()).await;
    }
}

mod command_store {
    use axle_testkit::conformance::state::command_store as suite;

    use crate::place::Folder;

    #[tokio::test]
    async fn changes_are_durable_when_they_return() {
        suite::changes_are_durable_when_they_return(&Folder::new()).await;
    }

    #[tokio::test]
    async fn a_taken_id_is_a_conflict_and_changes_nothing() {
        let folder = Folder::new();
        suite::a_taken_id_is_a_conflict_and_changes_nothing(&folder.state()).await;
    }

    #[tokio::test]
    async fn a_device_has_a_limited_number_of_open_commands() {
        let folder = Folder::new();
        suite::a_device_has_a_limited_number_of_open_commands(&folder.state()).await;
    }

    #[tokio::test]
    async fn a_step_that_the_law_forbids_changes_nothing() {
        let folder = Folder::new();
        suite::a_step_that_the_law_forbids_changes_nothing(&folder.state()).await;
    }

    #[tokio::test]
    async fn two_steps_at_once_never_both_win() {
        let folder = Folder::new();
        suite::two_steps_at_once_never_both_win(&folder.state()).await;
    }

    #[tokio::test]
    async fn answers_are_taken_once_and_those_to_nobody_change_nothing() {
        let folder = Folder::new();
        suite::answers_are_taken_once_and_those_to_nobody_change_nothing(&folder.state()).await;
    }

    #[tokio::test]
    async fn commands_are_listed_in_the_order_of_creation() {
        let folder = Folder::new();
        suite::commands_are_listed_in_the_order_of_creation(&folder.state()).await;
    }

    #[tokio::test]
    async fn an_open_command_is_overdue_after_its_deadline() {
        let folder = Folder::new();
        suite::an_open_command_is_overdue_after_its_deadline(&folder.state()).await;
    }
}

mod reported_state {
    use axle_testkit::conformance::state::reported_state as suite;

    use axle_testkit::memory_state::MemoryState;

    use crate::place::Folder;

    #[tokio::test]
    async fn a_stretch_and_its_position_are_durable_together() {
        suite::a_stretch_and_its_position_are_durable_together(&Folder::new()).await;
    }

    #[tokio::test]
    async fn a_stretch_that_is_not_beyond_the_position_changes_nothing() {
        let folder = Folder::new();
        suite::a_stretch_that_is_not_beyond_the_position_changes_nothing(&folder.state()).await;
    }

    #[tokio::test]
    async fn a_latest_value_moves_only_forward() {
        let folder = Folder::new();
        suite::a_latest_value_moves_only_forward(&folder.state()).await;
    }

    #[tokio::test]
    async fn latest_values_keep_their_kind() {
        let folder = Folder::new();
        suite::latest_values_keep_their_kind(&folder.state()).await;
    }

    #[tokio::test]
    async fn pages_of_latest_values_bring_each_device_once_and_whole() {
        let folder = Folder::new();
        suite::pages_of_latest_values_bring_each_device_once_and_whole(&folder.state()).await;
    }

    #[tokio::test]
    async fn an_answer_goes_through_the_law_of_the_command() {
        let folder = Folder::new();
        suite::an_answer_goes_through_the_law_of_the_command(&folder.state()).await;
    }

    #[tokio::test]
    async fn quarantine_is_found_and_counted_by_code() {
        suite::quarantine_is_found_and_counted_by_code(&Folder::new().state()).await;
        suite::quarantine_is_found_and_counted_by_code(&MemoryState::new()).await;
    }

    #[tokio::test]
    async fn active_devices_that_were_not_heard_of_are_listed() {
        suite::active_devices_that_were_not_heard_of_are_listed(&Folder::new().state()).await;
        suite::active_devices_that_were_not_heard_of_are_listed(&MemoryState::new()).await;
    }

    #[tokio::test]
    async fn quarantine_lists_newest_first_and_keeps_what_it_knows() {
        let folder = Folder::new();
        suite::quarantine_lists_newest_first_and_keeps_what_it_knows(&folder.state()).await;
    }

    #[tokio::test]
    async fn the_first_receipt_of_a_key_stays() {
        let folder = Folder::new();
        suite::the_first_receipt_of_a_key_stays(&folder.state()).await;
    }
}

mod user_store {
    use axle_testkit::conformance::state::user_store as suite;

    use crate::place::Folder;

    #[tokio::test]
    async fn changes_are_durable_when_they_return() {
        suite::changes_are_durable_when_they_return(&Folder::new()).await;
    }

    #[tokio::test]
    async fn a_taken_name_or_another_version_is_a_conflict_and_changes_nothing() {
        let folder = Folder::new();
        suite::a_taken_name_or_another_version_is_a_conflict_and_changes_nothing(&folder.state())
            .await;
    }

    #[tokio::test]
    async fn people_are_listed_by_name_in_pages_and_found_by_parts() {
        let folder = Folder::new();
        suite::people_are_listed_by_name_in_pages_and_found_by_parts(&folder.state()).await;
    }

    #[tokio::test]
    async fn with_a_person_goes_what_belongs_to_the_person() {
        let folder = Folder::new();
        suite::with_a_person_goes_what_belongs_to_the_person(&folder.state()).await;
    }
}

mod credential_store {
    use axle_testkit::conformance::state::credential_store as suite;

    use crate::place::Folder;

    #[tokio::test]
    async fn changes_are_durable_when_they_return() {
        suite::changes_are_durable_when_they_return(&Folder::new()).await;
    }

    #[tokio::test]
    async fn what_is_refused_changes_nothing() {
        let folder = Folder::new();
        suite::what_is_refused_changes_nothing(&folder.state()).await;
    }

    #[tokio::test]
    async fn a_person_has_a_limited_number_of_passkeys() {
        let folder = Folder::new();
        suite::a_person_has_a_limited_number_of_passkeys(&folder.state()).await;
    }

    #[tokio::test]
    async fn a_count_never_goes_back() {
        let folder = Folder::new();
        suite::a_count_never_goes_back(&folder.state()).await;
    }
}

mod session_store {
    use axle_testkit::conformance::state::session_store as suite;

    use crate::place::Folder;

    #[tokio::test]
    async fn changes_are_durable_when_they_return() {
        suite::changes_are_durable_when_they_return(&Folder::new()).await;
    }

    #[tokio::test]
    async fn nothing_is_kept_for_who_is_not_there() {
        let folder = Folder::new();
        suite::nothing_is_kept_for_who_is_not_there(&folder.state()).await;
    }

    #[tokio::test]
    async fn the_session_that_rested_longest_makes_room() {
        let folder = Folder::new();
        suite::the_session_that_rested_longest_makes_room(&folder.state()).await;
    }

    #[tokio::test]
    async fn sessions_end_one_by_one_by_person_and_by_age() {
        let folder = Folder::new();
        suite::sessions_end_one_by_one_by_person_and_by_age(&folder.state()).await;
    }

    #[tokio::test]
    async fn an_invitation_is_taken_once_and_a_new_one_replaces_the_old() {
        let folder = Folder::new();
        suite::an_invitation_is_taken_once_and_a_new_one_replaces_the_old(&folder.state()).await;
    }
}

mod consumer_registry {
    use axle_testkit::conformance::state::consumer_registry as suite;
    use axle_testkit::memory_state::MemoryState;

    use crate::place::Folder;

    #[tokio::test]
    async fn positions_are_durable_when_they_return() {
        suite::positions_are_durable_when_they_return(&Folder::new()).await;
    }

    #[tokio::test]
    async fn a_taken_name_and_one_too_many_change_nothing() {
        let folder = Folder::new();
        suite::a_taken_name_and_one_too_many_change_nothing(&folder.state()).await;
        suite::a_taken_name_and_one_too_many_change_nothing(&MemoryState::new()).await;
    }

    #[tokio::test]
    async fn a_lost_consumer_that_moves_is_found_again() {
        let folder = Folder::new();
        suite::a_lost_consumer_that_moves_is_found_again(&folder.state()).await;
        suite::a_lost_consumer_that_moves_is_found_again(&MemoryState::new()).await;
    }
}
