//! Why a packet, or a whole connection, is not accepted.

/// A reason to refuse. The set is closed: each is a constant below, so labels of metrics are too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The MQTT 5 reason code.
    pub(crate) code: u8,
    /// For metrics and logs.
    pub(crate) label: &'static str,
    /// For the reason string: what is wrong and what would be right.
    pub(crate) text: &'static str,
}

impl Refusal {
    /// Whether it is about what the client sent, rather than about what happened to it.
    pub(crate) fn is_clients_fault(self) -> bool {
        !matches!(self.code, 0x86..=0x89 | 0x8b | 0x8d | 0x8e | 0x98)
            && ![Self::QUOTA, Self::UNREAD].contains(&self)
    }
}

macro_rules! refusals {
    ($($name:ident = $code:literal, $label:literal, $text:literal;)*) => {
        impl Refusal {
            $(#[doc = $text] pub(crate) const $name: Self =
                Self { code: $code, label: $label, text: $text };)*
        }
    };
}

refusals! {
    MALFORMED = 0x81, "malformed", "the packet does not follow the MQTT standard";
    TRAILING = 0x81, "length_wrong", "the packet's length does not fit its contents";
    LENGTH = 0x81, "length_malformed", "the remaining length must have at most 4 bytes and none to spare";
    FLAGS = 0x81, "flags", "reserved bits are set";
    TEXT = 0x81, "text", "text must be UTF-8 without U+0000";
    NOT_CONNECT = 0x82, "not_connect_first", "the first packet must be CONNECT";
    NOT_MQTT = 0x81, "not_mqtt", "this is not MQTT";
    VERSION = 0x84, "version", "only MQTT 3.1.1 and 5.0 are spoken here";
    PROTOCOL = 0x82, "protocol", "the packet is not allowed here";
    SECOND_CONNECT = 0x82, "second_connect", "CONNECT may be sent once";
    NO_FILTERS = 0x82, "no_filters", "at least one topic filter is needed";
    PACKET_ID = 0x82, "packet_id", "the packet id must not be 0";
    PROPERTY = 0x82, "property", "the property is not allowed here or stands there twice";
    PROPERTIES_MANY = 0x97, "user_properties", "at most 32 user properties in one packet";
    PROPERTIES_LARGE = 0x95, "properties_large", "at most 8192 bytes of properties in one packet";
    WILL_FLAGS = 0x82, "will_flags", "will QoS and will retain need the will flag";
    WILL_DENIED = 0x87, "will_denied", "the will's topic is outside what this client may publish to";
    CLIENT_ID = 0x85, "client_id", "the client id must be the device id, or the device id, `/` and a suffix of at most 64 bytes";
    CLIENT_ID_EMPTY = 0x85, "client_id_empty", "an empty client id needs a clean session";
    AUTH_METHOD = 0x8c, "auth_method", "enhanced authentication is not offered";
    NOT_AUTHORIZED = 0x87, "not_authorized", "the certificate does not let this device in";
    TOPIC_DENIED = 0x87, "topic_denied", "a publish to a topic that this client may not write";
    CREDENTIALS = 0x86, "credentials", "neither a client certificate nor the token of an application as password";
    APPLICATION = 0x87, "application", "the certificate or token lets no application in";
    FULL = 0x97, "full", "no more connections: try again later";
    TOO_LARGE = 0x95, "packet_large", "the packet is larger than the Maximum Packet Size";
    ANSWER_LARGE = 0x95, "answer_large", "the answer is larger than the client's Maximum Packet Size";
    TOPIC = 0x90, "topic", "a topic name has 1 to 256 bytes and no +, # or U+0000";
    TOPIC_DEEP = 0x90, "topic_too_deep", "a topic name has at most 16 levels";
    ALIAS = 0x94, "topic_alias", "the topic alias is 0, above the maximum or not known";
    RETAINED_FULL = 0x97, "retained_full", "no more retained messages: clear some with an empty one";
    RECEIVE_MAXIMUM = 0x93, "receive_maximum", "more publishes in flight than the Receive Maximum";
    PAYLOAD_FORMAT = 0x99, "payload_format", "the payload is not UTF-8 as its format indicator says";
    EXPIRY_RAISED = 0x82, "expiry_raised", "a session expiry of 0 cannot be raised at the end";
    CONNECT_LATE = 0x82, "connect_late", "CONNECT did not come in time";
    KEEP_ALIVE = 0x8d, "keep_alive", "nothing was heard for one and a half times the keep alive";
    TAKEN_OVER = 0x8e, "taken_over", "the same client id has connected again";
    CLONES = 0x8e, "clones", "two clients use this client id at a time, and take each other's place again and again";
    PACKET_LATE = 0x83, "packet_late", "a packet was begun and did not come to its end in time";
    UNREAD = 0x97, "unread", "nothing of what was sent to the client was taken for too long";
    MESSAGE_RATE = 0x96, "message_rate", "more than 1000 packets without a message in ten seconds";
    SHUTTING_DOWN = 0x8b, "shutting_down", "the server is stopping";
    ADMINISTRATIVE = 0x98, "administrative", "the device's right to connect was withdrawn";
    CERTIFICATE_ENDED = 0x87, "certificate_ended", "the client certificate is no longer valid";
    CERTIFICATE_WITHDRAWN = 0x87, "certificate_withdrawn", "the client certificate was revoked by its authority, or that is trusted no more";
    QUOTA = 0x97, "quota", "messages for this client were not taken off fast enough";
    UNAVAILABLE = 0x89, "unavailable", "messages cannot be stored now: try again later";
}
