//! An MQTT client that says what it is told, over a codec that is not the gateway's.

use std::num::NonZeroU16;
use std::time::Duration;

use bytes::BytesMut;
use rmqtt_codec::{MqttCodec, MqttPacket, types::Publish, types::QoS, v3, v5};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::codec::{Decoder, Encoder};

use crate::world::World;

/// Longest wait for anything; failures alone take so long.
const PATIENCE: Duration = Duration::from_secs(8);

pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

pub(crate) struct Client {
    stream: Box<dyn Socket>,
    codec: MqttCodec,
    input: BytesMut,
    is_v5: bool,
}

impl Client {
    pub(crate) fn new(stream: Box<dyn Socket>, is_v5: bool) -> Self {
        let codec = if is_v5 {
            MqttCodec::V5(v5::Codec::new(0, 0))
        } else {
            MqttCodec::V3(v3::Codec::new(0))
        };
        Self { stream, codec, input: BytesMut::new(), is_v5 }
    }

    /// A plain connection of which nothing is known yet.
    pub(crate) async fn plain(world: &World, is_v5: bool) -> Self {
        Self::new(Box::new(world.plain_socket().await), is_v5)
    }

    /// A plain connection that has been let in.
    pub(crate) async fn connected(world: &World, id: &str, is_v5: bool) -> Self {
        let mut client = Self::plain(world, is_v5).await;
        let code = client.connect(id).await;
        assert_eq!(code, 0, "{id} is let in");
        client
    }

    /// Sends CONNECT; returns the code of CONNACK.
    pub(crate) async fn connect(&mut self, id: &str) -> u8 {
        if self.is_v5 {
            self.connect_v5(connect_v5(id)).await.reason_code.into()
        } else {
            self.send_v3(v3::Packet::Connect(Box::new(v3::Connect {
                clean_session: true,
                keep_alive: 60,
                client_id: id.into(),
                ..v3::Connect::default()
            })))
            .await;
            match self.receive().await {
                Some(MqttPacket::V3(v3::Packet::ConnectAck(ack))) => ack.return_code.into(),
                other => panic!("no CONNACK but {other:?}"),
            }
        }
    }

    pub(crate) async fn connect_v5(&mut self, connect: v5::Connect) -> v5::ConnectAck {
        self.send_v5(connect).await;
        match self.receive().await {
            Some(MqttPacket::V5(v5::Packet::ConnectAck(ack))) => *ack,
            other => panic!("no CONNACK but {other:?}"),
        }
    }

    pub(crate) async fn send_v3(&mut self, packet: v3::Packet) {
        self.send_packet(MqttPacket::V3(packet)).await;
    }

    pub(crate) async fn send_v5(&mut self, packet: impl Into<v5::Packet>) {
        self.send_packet(MqttPacket::V5(packet.into())).await;
    }

    async fn send_packet(&mut self, packet: MqttPacket) {
        let mut bytes = BytesMut::new();
        self.codec.encode(packet, &mut bytes).unwrap();
        self.send_bytes(&bytes).await;
    }

    /// Writes bytes; the other side may have hung up already.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).await);
        drop(self.stream.flush().await);
    }

    /// The next packet, or `None` when the gateway hangs up.
    pub(crate) async fn receive(&mut self) -> Option<MqttPacket> {
        let read = async {
            loop {
                if let Some((packet, _)) = self.codec.decode(&mut self.input).unwrap() {
                    return Some(packet);
                }
                match self.stream.read_buf(&mut self.input).await {
                    Ok(count) if count > 0 => {}
                    _ => return None,
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("an answer in time")
    }

    /// Everything until the gateway hangs up, as bytes.
    pub(crate) async fn receive_all(&mut self) -> Vec<u8> {
        let mut bytes = self.input.split().to_vec();
        let read = self.stream.read_to_end(&mut bytes);
        drop(tokio::time::timeout(PATIENCE, read).await.expect("an end in time"));
        bytes
    }

    /// So many bytes.
    pub(crate) async fn receive_bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let read = self.stream.read_exact(&mut bytes);
        tokio::time::timeout(PATIENCE, read).await.expect("bytes in time").unwrap();
        bytes
    }

    /// Publishes at QoS 1 (0 for packet id 0) without waiting.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8], packet_id: u16) {
        let packet_id = NonZeroU16::new(packet_id);
        let publish = Publish {
            dup: false,
            retain: false,
            qos: if packet_id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce },
            topic: topic.into(),
            packet_id,
            payload: payload.to_vec().into(),
            properties: self.is_v5.then(v5::PublishProperties::default),
        };
        if self.is_v5 {
            self.send_v5(v5::Packet::Publish(Box::new(publish))).await;
        } else {
            self.send_v3(v3::Packet::Publish(Box::new(publish))).await;
        }
    }

    /// Publishes what it is given and waits until that is acknowledged whole.
    pub(crate) async fn publish_whole(&mut self, publish: Publish) {
        let (qos, id) = (publish.qos, publish.packet_id.map_or(0, NonZeroU16::get));
        let publish = Box::new(publish);
        if self.is_v5 {
            self.send_v5(v5::Packet::Publish(publish)).await;
        } else {
            self.send_v3(v3::Packet::Publish(publish)).await;
        }
        let [high, low] = id.to_be_bytes();
        match qos {
            QoS::AtMostOnce => self.ping().await,
            QoS::AtLeastOnce => assert_eq!(self.puback().await, (id, 0)),
            QoS::ExactlyOnce => {
                assert_eq!(self.receive_bytes(4).await, [0x50, 2, high, low]);
                self.send_bytes(&[0x62, 2, high, low]).await;
                assert_eq!(self.receive_bytes(4).await, [0x70, 2, high, low]);
            }
        }
    }

    /// The packet id and code of the next packet, which is a PUBACK.
    pub(crate) async fn puback(&mut self) -> (u16, u8) {
        match self.receive().await {
            Some(MqttPacket::V3(v3::Packet::PublishAck { packet_id })) => (packet_id.get(), 0),
            Some(MqttPacket::V5(v5::Packet::PublishAck(ack))) => {
                (ack.packet_id.get(), ack.reason_code.into())
            }
            other => panic!("no PUBACK but {other:?}"),
        }
    }

    pub(crate) async fn acknowledge(&mut self, packet_id: u16, code: v5::PublishAckReason) {
        let packet_id = NonZeroU16::new(packet_id).unwrap();
        if self.is_v5 {
            let (properties, reason_string) = (Vec::new(), None);
            self.send_v5(v5::PublishAck {
                packet_id,
                reason_code: code,
                properties,
                reason_string,
            })
            .await;
        } else {
            self.send_v3(v3::Packet::PublishAck { packet_id }).await;
        }
    }

    /// Subscribes at QoS 1 and returns the codes of SUBACK.
    pub(crate) async fn subscribe(&mut self, filters: &[&str]) -> Vec<u8> {
        let options =
            v5::SubscriptionOptions { qos: QoS::AtLeastOnce, ..v5::SubscriptionOptions::default() };
        self.subscribe_with(filters, options, None).await
    }

    pub(crate) async fn subscribe_with(
        &mut self,
        filters: &[&str],
        options: v5::SubscriptionOptions,
        id: Option<u32>,
    ) -> Vec<u8> {
        self.send_subscribe(filters, options, id).await;
        self.suback().await
    }

    /// Asks, without waiting for the answer.
    pub(crate) async fn send_subscribe(
        &mut self,
        filters: &[&str],
        options: v5::SubscriptionOptions,
        id: Option<u32>,
    ) {
        let packet_id = NonZeroU16::new(9).unwrap();
        if self.is_v5 {
            self.send_v5(v5::Subscribe {
                packet_id,
                id: id.and_then(std::num::NonZeroU32::new),
                user_properties: Vec::new(),
                topic_filters: filters.iter().map(|f| ((*f).into(), options)).collect(),
            })
            .await;
        } else {
            let topic_filters = filters.iter().map(|f| ((*f).into(), options.qos)).collect();
            self.send_v3(v3::Packet::Subscribe { packet_id, topic_filters }).await;
        }
    }

    async fn suback(&mut self) -> Vec<u8> {
        match self.receive().await {
            Some(MqttPacket::V3(v3::Packet::SubscribeAck { status, .. })) => status
                .iter()
                .map(|code| match code {
                    v3::SubscribeReturnCode::Success(qos) => qos.value(),
                    v3::SubscribeReturnCode::Failure => 0x80,
                })
                .collect(),
            Some(MqttPacket::V5(v5::Packet::SubscribeAck(ack))) => {
                ack.status.iter().map(|code| u8::from(*code)).collect()
            }
            other => panic!("no SUBACK but {other:?}"),
        }
    }

    /// The next packet, which is a PUBLISH.
    pub(crate) async fn published(&mut self) -> Publish {
        match self.receive().await {
            Some(
                MqttPacket::V3(v3::Packet::Publish(publish))
                | MqttPacket::V5(v5::Packet::Publish(publish)),
            ) => *publish,
            other => panic!("no PUBLISH but {other:?}"),
        }
    }

    /// Sends PINGREQ; the next packet must be PINGRESP.
    pub(crate) async fn ping(&mut self) {
        self.send_bytes(&[0xc0, 0]).await;
        match self.receive().await {
            Some(
                MqttPacket::V3(v3::Packet::PingResponse) | MqttPacket::V5(v5::Packet::PingResponse),
            ) => {}
            other => panic!("no PINGRESP but {other:?}"),
        }
    }

    /// The code of the DISCONNECT that comes next, before the end (MQTT 5); `None` for an end
    /// without a word.
    pub(crate) async fn disconnected(&mut self) -> Option<u8> {
        match self.receive().await {
            Some(MqttPacket::V5(v5::Packet::Disconnect(disconnect))) => {
                assert!(self.receive().await.is_none(), "nothing follows DISCONNECT");
                Some(disconnect.reason_code.into())
            }
            None => None,
            other => panic!("no end but {other:?}"),
        }
    }
}

/// A message at a QoS, with packet id 1 where there is one.
pub(crate) fn message(topic: &str, payload: &[u8], qos: QoS, is_retained: bool) -> Publish {
    Publish {
        dup: false,
        retain: is_retained,
        qos,
        topic: topic.to_owned().into(),
        packet_id: NonZeroU16::new(u16::from(qos != QoS::AtMostOnce)),
        payload: payload.to_vec().into(),
        properties: Some(v5::PublishProperties::default()),
    }
}

/// A will at QoS 1, without properties.
pub(crate) fn last_will(topic: &str, message: &str) -> v5::LastWill {
    v5::LastWill {
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: topic.to_owned().into(),
        message: message.as_bytes().to_vec().into(),
        will_delay_interval_sec: None,
        correlation_data: None,
        message_expiry_interval: None,
        content_type: None,
        user_properties: Vec::new(),
        is_utf8_payload: None,
        response_topic: None,
    }
}

pub(crate) fn connect_v5(id: &str) -> v5::Connect {
    v5::Connect {
        clean_start: true,
        keep_alive: 60,
        client_id: id.into(),
        ..v5::Connect::default()
    }
}
