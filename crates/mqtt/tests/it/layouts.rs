//! Topics of another layout, mapped both ways.

use std::sync::Arc;

use axle_app::NewCommand;
use axle_domain::{CommandStatus, Layout, Layouts};
use axle_mqtt::Settings;

use crate::client::Client;
use crate::world::World;

async fn mapped() -> World {
    let layouts = [
        "bikes/{device}/up/{stream} -> v1/d/{device}/t/{stream}",
        "bikes/{device}/done/{command} -> v1/d/{device}/c/{command}/r",
        "bikes/{device}/do/{command}/{name} <- v1/d/{device}/c/{command}/{name}",
    ];
    let layouts = layouts.map(|text| Layout::parse(text).unwrap()).to_vec();
    let layouts = Arc::new(Layouts::new(layouts).unwrap());
    World::with(Settings { layouts, ..Settings::default() }).await
}

#[tokio::test]
async fn what_comes_on_a_topic_of_others_is_taken_as_ours() {
    let world = mapped().await;
    world.add("b-1").await;
    let mut client = Client::connected(&world, "b-1", true).await;
    client.publish("bikes/b-1/up/ride", b"{}", 1).await;
    client.publish("v1/d/b-1/t/status", b"{}", 2).await;
    // The topic of another device, and one that no mapping knows.
    client.publish("bikes/b-2/up/ride", b"{}", 3).await;
    client.publish("bikes/b-1/elsewhere", b"{}", 4).await;
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(client.puback().await);
    }
    assert_eq!(codes, [(1, 0), (2, 0), (3, 0x87), (4, 0x87)]);
    let messages = world.messages(2).await;
    let topics: Vec<_> = messages.iter().map(|it| it.message().topic.to_owned()).collect();
    assert_eq!(topics, ["v1/d/b-1/t/ride", "v1/d/b-1/t/status"]);
    assert!(messages.iter().all(|it| it.message().device == "b-1"));
}

#[tokio::test]
async fn a_command_goes_down_on_a_topic_of_others_and_its_answer_comes_up() {
    let world = mapped().await;
    let device = world.add("b-1").await;
    let mut client = Client::connected(&world, "b-1", false).await;
    let filters = ["bikes/b-1/do/#", "bikes/b-2/do/#", "bikes/#"];
    assert_eq!(client.subscribe(&filters).await, [1, 0x80, 0x80]);
    let command = NewCommand {
        name: "unlock".to_owned(),
        payload: "{}".to_owned(),
        timeout: std::time::Duration::from_secs(60),
        is_dry_run: false,
    };
    let command = world.app.commands.create(&device, command).await.unwrap();
    let sent = client.published().await;
    assert_eq!(&*sent.topic, format!("bikes/b-1/do/{}/unlock", command.id));
    let code = rmqtt_codec::v5::PublishAckReason::Success;
    client.acknowledge(sent.packet_id.unwrap().get(), code).await;
    let answer = format!("bikes/b-1/done/{}", command.id);
    client.publish(&answer, br#"{"status":"succeeded"}"#, 5).await;
    assert_eq!(client.puback().await, (5, 0));
    let record = world.messages(1).await.pop().unwrap();
    assert_eq!(record.message().topic, format!("v1/d/b-1/c/{}/r", command.id));
    let wait = async {
        loop {
            let command = world.app.commands.get(&command.id).await;
            if command.unwrap().history.iter().any(|it| it.status == CommandStatus::Delivered) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(8), wait).await.expect("delivered");
}
