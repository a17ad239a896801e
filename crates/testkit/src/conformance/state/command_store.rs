//! The contract of [`axle_domain::port::CommandStore`], clause by clause.

#![expect(clippy::unwrap_used, reason = "a suite panics where the contract is broken")]

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use axle_domain::CommandStatus::{
    Accepted, Canceled, Delivered, Expired, Failed, Running, Sent, Succeeded, Waiting,
};
use axle_domain::{Command, Kind, Offset, Reply, limit};

use super::{Place, State, assert_refused, at, command, device_id, step};

/// Clause 1.
pub async fn changes_are_durable_when_they_return(place: &dyn Place) {
    let state = place.open().await;
    let mut expected = command("k-1", "b-1");
    state.create_command(expected.clone()).await.unwrap();
    for status in [Waiting, Sent, Delivered] {
        assert!(expected.advance(step(status, 1)));
        let seen = state.advance(&expected.id, step(status, 1)).await.unwrap();
        assert_eq!(seen, (expected.clone(), true));
    }
    drop(state);
    let state = place.open().await;
    assert_eq!(state.find_command(&expected.id).await.unwrap(), Some(expected));
}

/// The errors of `create_command`: a taken id.
pub async fn a_taken_id_is_a_conflict_and_changes_nothing(state: &dyn State) {
    let first = command("k-1", "b-1");
    state.create_command(first.clone()).await.unwrap();
    let second = command("k-1", "b-2");
    assert_refused(state.create_command(second).await, Kind::Conflict, "command.exists");
    assert_eq!(state.find_command(&first.id).await.unwrap(), Some(first));
    assert_eq!(state.open_commands(&device_id("b-2")).await.unwrap(), []);
}

/// The errors of `create_command`: too many open ones of one device.
pub async fn a_device_has_a_limited_number_of_open_commands(state: &dyn State) {
    let max = limit::COMMANDS_OPEN_PER_DEVICE_MAX;
    for number in 0..max {
        state.create_command(command(&format!("k-{number}"), "b-1")).await.unwrap();
    }
    let more = command("more", "b-1");
    let error = state.create_command(more.clone()).await.unwrap_err();
    let seen = (error.kind, error.code, error.limit.map(|(limit, _actual)| limit));
    let max = u64::try_from(max).unwrap();
    assert_eq!(seen, (Kind::Busy, "command.too_many_open", Some(max)));
    assert_eq!(state.find_command(&more.id).await.unwrap(), None);
    state.create_command(command("other", "b-2")).await.unwrap();
    let (_, has_advanced) =
        state.advance(&command("k-7", "b-1").id, step(Canceled, 1)).await.unwrap();
    assert!(has_advanced);
    state.create_command(more).await.unwrap();
}

/// Clause 2: the law of the command decides, within the transaction.
pub async fn a_step_that_the_law_forbids_changes_nothing(state: &dyn State) {
    let mut expected = command("k-1", "b-1");
    let outcome = state.advance(&expected.id, step(Waiting, 1)).await;
    assert_refused(outcome, Kind::NotFound, "command.not_found");
    state.create_command(expected.clone()).await.unwrap();
    for (status, is_allowed) in [
        (Delivered, false),
        (Sent, true),
        (Accepted, false),
        (Succeeded, true),
        (Expired, false),
        (Delivered, true),
        (Delivered, false),
    ] {
        assert_eq!(expected.advance(step(status, 2)), is_allowed);
        let seen = state.advance(&expected.id, step(status, 2)).await.unwrap();
        assert_eq!(seen, (expected.clone(), is_allowed), "{status}");
    }
    assert_eq!(state.find_command(&expected.id).await.unwrap(), Some(expected));
}

/// Clause 2: of steps to an end that run at one time exactly one wins.
pub async fn two_steps_at_once_never_both_win(state: &dyn State) {
    let id = command("k-1", "b-1").id;
    state.create_command(command("k-1", "b-1")).await.unwrap();
    let ends = [Succeeded, Canceled, Expired, Succeeded, Canceled, Expired];
    let steps: Vec<_> = ends.iter().map(|end| state.advance(&id, step(*end, 3))).collect();
    let won = together(steps).await.into_iter().filter(|outcome| outcome.as_ref().unwrap().1);
    assert_eq!(won.count(), 1);
    assert_eq!(state.find_command(&id).await.unwrap().unwrap().history.len(), 2);
}

/// Clause 4: an answer goes through the law of the command, and is taken once.
pub async fn answers_are_taken_once_and_those_to_nobody_change_nothing(state: &dyn State) {
    let mut expected = command("k-1", "b-1");
    state.create_command(expected.clone()).await.unwrap();
    state.advance(&expected.id, step(Sent, 1)).await.unwrap();
    assert!(expected.advance(step(Sent, 1)));
    let reply = |id: &str, device: &str, status| Reply {
        command: command(id, device).id,
        device: device_id(device),
        status,
        reason: None,
        result: Some("{\"ok\":true}".to_owned()),
        received_at: at(5),
        offset: Offset(7),
    };
    let replies = [
        reply("k-2", "b-1", Succeeded),
        reply("k-1", "b-2", Failed),
        reply("k-1", "b-1", Running),
        reply("k-1", "b-1", Succeeded),
    ];
    assert!(expected.answer(&replies[2]) && expected.answer(&replies[3]));
    for _again in 0..2 {
        state.answer(replies.to_vec()).await.unwrap();
        assert_eq!(state.find_command(&expected.id).await.unwrap(), Some(expected.clone()));
    }
    assert_eq!(state.open_commands(&device_id("b-1")).await.unwrap(), []);
}

/// Clause 3, and what is open.
pub async fn commands_are_listed_in_the_order_of_creation(state: &dyn State) {
    for (id, device) in [("z", "b-1"), ("a", "b-1"), ("x", "b-2"), ("m", "b-1")] {
        state.create_command(command(id, device)).await.unwrap();
    }
    state.advance(&command("a", "b-1").id, step(Canceled, 1)).await.unwrap();
    let ids = |commands: Vec<Command>| -> Vec<String> {
        commands.into_iter().map(|command| command.id.to_string()).collect()
    };
    let device = device_id("b-1");
    assert_eq!(ids(state.open_commands(&device).await.unwrap()), ["z", "m"]);
    assert_eq!(ids(state.list_commands(&device, 10).await.unwrap()), ["m", "a", "z"]);
    assert_eq!(ids(state.list_commands(&device, 2).await.unwrap()), ["m", "a"]);
    assert_eq!(ids(state.list_commands(&device_id("b-3"), 2).await.unwrap()), [""; 0]);
}

/// `overdue`: open ones whose deadline is before now.
pub async fn an_open_command_is_overdue_after_its_deadline(state: &dyn State) {
    for (id, deadline) in [("c", 3), ("a", 1), ("d", 4), ("b", 2)] {
        let mut command = command(id, "b-1");
        command.deadline = at(deadline);
        state.create_command(command).await.unwrap();
    }
    let ids = |limit| async move {
        let ids = state.overdue(at(4), limit).await.unwrap();
        ids.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(ids(10).await, ["a", "b", "c"]);
    assert_eq!(ids(2).await, ["a", "b"]);
    state.advance(&command("b", "b-1").id, step(Expired, 4)).await.unwrap();
    assert_eq!(ids(10).await, ["a", "c"]);
}

/// Polls all until all have ended.
async fn together<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.into_iter().map(Box::pin).map(Some).collect();
    let mut ended = Vec::new();
    let mut all = pin!(std::future::poll_fn(move |context| {
        for slot in &mut waiting {
            if let Some(future) = slot
                && let Poll::Ready(output) = future.as_mut().poll(context)
            {
                ended.push(output);
                *slot = None;
            }
        }
        if waiting.iter().all(Option::is_none) {
            Poll::Ready(std::mem::take(&mut ended))
        } else {
            Poll::Pending
        }
    }));
    all.as_mut().await
}
