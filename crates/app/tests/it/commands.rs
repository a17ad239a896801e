//! Commands: waiting, sent, delivered, answered, once.

use std::time::Duration;

use axle_app::{NewCommand, Registry};
use axle_domain::port::{Acknowledgement, Clock};
use axle_domain::{Command, CommandStatus, DeviceId, Kind};

use crate::world::{World, device};

fn unlock() -> NewCommand {
    NewCommand {
        name: "unlock".to_owned(),
        payload: r#"{"bay":7}"#.to_owned(),
        timeout: Duration::from_secs(60),
        is_dry_run: false,
    }
}

fn steps(command: &Command) -> Vec<&'static str> {
    command.history.iter().map(|step| step.status.as_str()).collect()
}

async fn until(world: &World, command: &Command, status: CommandStatus) -> Command {
    until_so(world, command, |seen| seen.status() == status).await
}

async fn until_so(world: &World, command: &Command, is_so: impl Fn(&Command) -> bool) -> Command {
    loop {
        let seen = world.app.commands.get(&command.id).await.unwrap();
        if is_so(&seen) {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn come_online(world: &World, id: &DeviceId) {
    world.ground.link.online.lock().unwrap().insert(id.clone(), ());
}

fn acknowledge(world: &World) {
    let time = world.ground.clock.now();
    let evidence = "PUBACK of packet 1".to_owned();
    let sender = world.ground.link.acknowledge.lock().unwrap().remove(0);
    sender.send(Ok(Acknowledgement { time, evidence })).unwrap();
}

#[tokio::test]
async fn a_command_waits_for_its_device_and_brings_the_answer_back() {
    let world = World::new().await;
    let id = device("b-1");
    let command = world.app.commands.create(&id, unlock()).await.unwrap();
    assert_eq!(command.status(), CommandStatus::Waiting);
    come_online(&world, &id);
    world.app.dispatch.run(&id).await;
    acknowledge(&world);
    until(&world, &command, CommandStatus::Delivered).await;
    let (_, topic, payload) = world.ground.link.sent.lock().unwrap()[0].clone();
    assert_eq!(topic, format!("v1/d/b-1/c/{}/unlock", command.id));
    let payload: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(
        (&payload["id"], &payload["payload"]["bay"]),
        (&command.id.as_str().into(), &7.into())
    );
    let reply = format!("v1/d/b-1/c/{}/r", command.id);
    world.publish("b-1", &reply, r#"{"status":"running"}"#);
    world.publish("b-1", &reply, r#"{"status":"succeeded","result":{"took_ms":80}}"#);
    world.settle().await;
    let done = world.app.commands.get(&command.id).await.unwrap();
    assert_eq!(
        steps(&done),
        ["accepted", "waiting", "sent", "waiting", "sent", "delivered", "running", "succeeded"]
    );
    assert_eq!(done.result.as_deref(), Some(r#"{"took_ms":80}"#));
}

#[tokio::test]
async fn an_answer_does_not_wait_for_what_stands_before_it_in_the_log() {
    let world = World::new().await;
    let id = device("b-1");
    let command = world.app.commands.create(&id, unlock()).await.unwrap();
    world.stop_projecting();
    let before = world.app.positions().state;
    world.publish("b-1", "v1/d/b-1/t/ride", r#"{"speed_kmh":1}"#);
    let reply = format!("v1/d/b-1/c/{}/r", command.id);
    world.publish("b-1", &reply, "nonsense");
    world.publish("b-1", &reply, r#"{"status":"running"}"#);
    world.publish("b-1", &reply, r#"{"status":"succeeded"}"#);
    let answers = world.app.ingest.answers();
    let done = tokio::select! {
        () = answers.run(std::future::pending()) => panic!("it ends when told to"),
        done = until(&world, &command, CommandStatus::Succeeded) => done,
    };
    assert_eq!(steps(&done), ["accepted", "waiting", "sent", "waiting", "running", "succeeded"]);
    assert_eq!(world.app.positions().state, before, "nothing else is shown yet");
    // The projection brings the same answers again.
    let world = World::start(world.crash()).await;
    world.settle().await;
    assert_eq!(world.app.commands.get(&command.id).await.unwrap().history, done.history);
}

#[tokio::test]
async fn a_puback_that_the_answer_overtook_is_told_before_it() {
    let world = World::new().await;
    let id = device("b-1");
    come_online(&world, &id);
    let command = world.app.commands.create(&id, unlock()).await.unwrap();
    let reply = format!("v1/d/b-1/c/{}/r", command.id);
    world.publish("b-1", &reply, r#"{"status":"succeeded"}"#);
    world.settle().await;
    acknowledge(&world);
    let done = until_so(&world, &command, |seen| steps(seen).contains(&"delivered")).await;
    assert_eq!(steps(&done), ["accepted", "waiting", "sent", "delivered", "succeeded"]);
    assert_eq!(done.status(), CommandStatus::Succeeded);
}

#[tokio::test]
async fn a_connection_that_ends_before_the_puback_sends_it_back_to_waiting() {
    let world = World::new().await;
    let id = device("b-1");
    come_online(&world, &id);
    let command = world.app.commands.create(&id, unlock()).await.unwrap();
    assert_eq!(command.status(), CommandStatus::Sent);
    world.ground.link.online.lock().unwrap().clear();
    drop(world.ground.link.acknowledge.lock().unwrap().remove(0));
    until(&world, &command, CommandStatus::Waiting).await;
}

#[tokio::test]
async fn what_was_on_its_way_in_a_crash_is_sent_again_after_the_restart() {
    let world = World::new().await;
    let id = device("b-1");
    come_online(&world, &id);
    let command = world.app.commands.create(&id, unlock()).await.unwrap();
    assert_eq!(command.status(), CommandStatus::Sent);
    let ground = world.crash();
    ground.clock.advance(Duration::from_secs(1));
    let world = World::start(ground).await;
    world.app.dispatch.run(&id).await;
    assert_eq!(world.ground.link.sent.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_deadline_that_passes_ends_a_command_and_nothing_is_sent_after() {
    let world = World::new().await;
    let id = device("b-1");
    let command = world.app.commands.create(&id, unlock()).await.unwrap();
    world.ground.clock.advance(Duration::from_secs(61));
    come_online(&world, &id);
    world.app.dispatch.run(&id).await;
    assert!(world.ground.link.sent.lock().unwrap().is_empty());
    let seen = world.app.commands.get(&command.id).await.unwrap();
    assert_eq!(seen.status(), CommandStatus::Expired);
    world.publish("b-1", &format!("v1/d/b-1/c/{}/r", command.id), r#"{"status":"succeeded"}"#);
    world.settle().await;
    let seen = world.app.commands.get(&command.id).await.unwrap();
    assert_eq!(seen.status(), CommandStatus::Expired, "an answer after the end changes nothing");
}

#[tokio::test]
async fn the_answer_of_another_device_changes_nothing() {
    let world = World::new().await;
    let command = world.app.commands.create(&device("b-1"), unlock()).await.unwrap();
    world.publish("b-2", &format!("v1/d/b-2/c/{}/r", command.id), r#"{"status":"succeeded"}"#);
    world.settle().await;
    let seen = world.app.commands.get(&command.id).await.unwrap();
    assert_eq!(seen.status(), CommandStatus::Waiting);
}

#[tokio::test]
async fn a_revoked_device_is_cut_off_and_gets_no_commands() {
    let world = World::new().await;
    let id = device("b-1");
    let command = world.app.commands.create(&id, unlock()).await.unwrap();
    world.app.devices.revoke(&id).await.unwrap();
    assert_eq!(*world.ground.link.disconnected.lock().unwrap(), vec![id.clone()]);
    come_online(&world, &id);
    world.app.dispatch.run(&id).await;
    assert!(world.ground.link.sent.lock().unwrap().is_empty());
    let seen = world.app.commands.get(&command.id).await.unwrap();
    assert_eq!(seen.status(), CommandStatus::Waiting);
    let error = world.app.commands.create(&id, unlock()).await.unwrap_err();
    assert_eq!((error.kind, error.code), (Kind::Conflict, "device.revoked"));
    let registry: &Registry = &world.app.registry;
    assert_eq!(registry.check(&id).unwrap_err().code, "device.revoked");
}

#[tokio::test]
async fn bad_commands_are_refused() {
    let world = World::new().await;
    let id = device("b-1");
    for (change, code) in [
        (NewCommand { name: "r".to_owned(), ..unlock() }, "command.name_invalid"),
        (NewCommand { name: "a/b".to_owned(), ..unlock() }, "command.name_invalid"),
        (NewCommand { timeout: Duration::ZERO, ..unlock() }, "command.timeout_invalid"),
        (NewCommand { timeout: Duration::MAX, ..unlock() }, "command.timeout_invalid"),
        (NewCommand { payload: "1".repeat(20_000), ..unlock() }, "command.payload_too_large"),
    ] {
        assert_eq!(world.app.commands.create(&id, change).await.unwrap_err().code, code);
    }
    let error = world.app.commands.create(&device("b-9"), unlock()).await.unwrap_err();
    assert_eq!(error.code, "device.not_found");
}
