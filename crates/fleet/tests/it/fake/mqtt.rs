//! The MQTT door of the fake: as much of 3.1.1 and 5 as a device needs.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{Fake, Lie};

impl Fake {
    pub(super) async fn serve_mqtt(self, listener: TcpListener) {
        while let Ok((tcp, _)) = listener.accept().await {
            let fake = self.clone();
            tokio::spawn(async move { fake.connection(tcp).await });
        }
    }

    async fn connection(&self, mut tcp: TcpStream) -> std::io::Result<()> {
        let (mut is_v5, mut messages) = (false, 0);
        let (sender, mut commands) = mpsc::channel(100);
        let (mut reader, mut writer) = tcp.split();
        loop {
            // A packet is read whole before commands are looked at: `read_exact` must not be cut.
            let first = tokio::select! {
                first = reader.read_u8() => first?,
                Some(command) = commands.recv() => {
                    writer.write_all(&publish(is_v5, &command)).await?;
                    continue;
                }
            };
            let (mut length, mut shift) = (0, 0);
            loop {
                let byte = reader.read_u8().await?;
                length |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).await?;
            match first >> 4 {
                1 => {
                    is_v5 = body[6] == 5;
                    let answer: &[u8] = if is_v5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] };
                    writer.write_all(answer).await?;
                }
                3 => {
                    messages += 1;
                    let (id, topic, payload) = parts(&body, is_v5);
                    self.take(&topic, payload);
                    if self.lie == Lie::Hiccup && messages == 10 {
                        // What the device still sends is read, so that no reset overtakes the
                        // acknowledgements that are on their way.
                        writer.shutdown().await?;
                        tokio::io::copy(&mut reader, &mut tokio::io::sink()).await?;
                        return Ok(());
                    }
                    writer.write_all(&[0x40, 2, id[0], id[1]]).await?;
                }
                8 => {
                    let answer: &[u8] = if is_v5 {
                        &[4, body[0], body[1], 0, 1]
                    } else {
                        &[3, body[0], body[1], 1]
                    };
                    writer.write_all(&[&[0x90], answer].concat()).await?;
                    let filter = &body[2 + usize::from(is_v5) + 2..];
                    let device =
                        std::str::from_utf8(filter).unwrap().split('/').nth(2).unwrap().to_owned();
                    self.link(&device, &sender);
                }
                12 => writer.write_all(&[0xd0, 0]).await?,
                14 => return Ok(()),
                _ => {}
            }
        }
    }

    /// Remembers the way down and sends what waits.
    fn link(&self, device: &str, sender: &mpsc::Sender<(String, Value)>) {
        let mut memory = self.memory.lock().unwrap();
        for command in memory.commands.values() {
            let is_open = command["history"].as_array().unwrap().len() == 1;
            if is_open && command["device"] == device {
                let _full = sender.try_send((device.to_owned(), command.clone()));
            }
        }
        memory.links.insert(device.to_owned(), sender.clone());
    }

    fn take(&self, topic: &str, payload: &[u8]) {
        let levels: Vec<&str> = topic.split('/').collect();
        match levels.as_slice() {
            ["v1", "d", device, "t", stream] => self.store(device, stream, payload),
            ["v1", "d", _, "c", id, "r"] => {
                let payload: Value = serde_json::from_slice(payload).unwrap();
                let mut memory = self.memory.lock().unwrap();
                let Some(command) = memory.commands.get_mut(*id) else { return };
                let history = command["history"].as_array_mut().unwrap();
                let is_final = ["succeeded", "failed", "expired"]
                    .iter()
                    .any(|word| history.last().unwrap()["status"] == *word);
                if !is_final {
                    history.push(json!({ "status": payload["status"] }));
                    command["result"] = payload["result"].clone();
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

fn parts(body: &[u8], is_v5: bool) -> ([u8; 2], String, &[u8]) {
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = String::from_utf8(body[2..2 + length].to_vec()).unwrap();
    let rest = &body[2 + length..];
    ([rest[0], rest[1]], topic, &rest[2 + usize::from(is_v5)..])
}

fn publish(is_v5: bool, (device, command): &(String, Value)) -> Vec<u8> {
    let topic = format!(
        "v1/d/{device}/c/{}/{}",
        command["id"].as_str().unwrap(),
        command["name"].as_str().unwrap()
    );
    let payload = command.to_string();
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend_from_slice(topic.as_bytes());
    body.extend_from_slice(&[0, 9]);
    if is_v5 {
        body.push(0);
    }
    body.extend_from_slice(payload.as_bytes());
    let length = body.len();
    assert!((128..16_384).contains(&length));
    let mut packet = vec![0x32, (length % 128) as u8 | 0x80, (length / 128) as u8];
    packet.append(&mut body);
    packet
}
