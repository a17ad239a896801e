//! What a person may do about a connection that was refused or ended.

use crate::packet::refusal::Refusal;

/// The next step after a refusal; empty where there is nothing to do.
pub(crate) fn next_step(refusal: Refusal) -> &'static str {
    if let Some(step) = storm_step(refusal) {
        return step;
    }
    match refusal {
        Refusal::NOT_MQTT | Refusal::NOT_CONNECT => {
            "Check that the client speaks MQTT 3.1.1 or 5.0 and not another protocol on this port."
        }
        Refusal::VERSION => "Set the client to MQTT 3.1.1 or 5.0.",
        Refusal::CLIENT_ID => {
            "Use the device id as client id, or the device id, a slash and a suffix of your own."
        }
        Refusal::CREDENTIALS => {
            "A device brings its client certificate; a backend application brings its token as \
             password: axle application create NAME."
        }
        Refusal::CLIENT_ID_EMPTY => "Give a client id, or ask for a clean session.",
        Refusal::AUTH_METHOD => {
            "Leave the authentication method out: the client certificate says who it is."
        }
        Refusal::WILL_DENIED => {
            "Give the will a topic of the device's own tree, such as v1/d/{device}/e/offline."
        }
        Refusal::RETAINED_FULL => {
            "Clear retained messages that nobody needs, or raise mqtt.retained_messages_max."
        }
        Refusal::TOO_LARGE => "Send smaller packets; GET /api/v1/limits lists the limits.",
        Refusal::PROPERTIES_LARGE | Refusal::PROPERTIES_MANY => "Send fewer or shorter properties.",
        Refusal::TOPIC | Refusal::TOPIC_DEEP => "Publish to v1/d/{device}/t/{stream}.",
        Refusal::RECEIVE_MAXIMUM => {
            "Wait for acknowledgements: keep no more publishes in flight than the Receive Maximum."
        }
        Refusal::FULL => "Raise mqtt.connections_max, or add memory; the client may try again.",
        Refusal::CONNECT_LATE => {
            "Check the network: the connection was opened, but CONNECT did not arrive in time."
        }
        Refusal::KEEP_ALIVE => {
            "Check radio and power of the device, and that its client sends PINGREQ; a longer \
             keep alive suits a network with gaps."
        }
        Refusal::TAKEN_OVER => {
            "Nothing, if the device only connected again. If this repeats, two programs use one \
             client id: give each a suffix of its own."
        }
        Refusal::ADMINISTRATIVE => {
            "The device was revoked. If that was a mistake, register it again with a new \
             certificate."
        }
        Refusal::CERTIFICATE_ENDED => {
            "Issue a new certificate: axle device add ID --renew, and put it on the device."
        }
        Refusal::CERTIFICATE_WITHDRAWN => {
            "If that was a mistake, look at the authorities and revocation lists in the data \
             directory's trust folder; else put a new certificate on the device."
        }
        Refusal::QUOTA => "Let the client read its messages faster, or subscribe to less.",
        Refusal::UNAVAILABLE => "Look at the system page: the log could not take messages.",
        Refusal::SHUTTING_DOWN => "Nothing: the client connects again when the server is back.",
        other if other.is_clients_fault() => {
            "The client sent what the MQTT standard does not allow: update or mend its library."
        }
        _ => "",
    }
}

/// The next step where a client was too slow, too fast, or one of two.
fn storm_step(refusal: Refusal) -> Option<&'static str> {
    Some(match refusal {
        Refusal::CLONES => {
            "Compare the addresses of both: if one device was copied with its key, revoke the \
             certificate and issue a new one; if two programs share a client id, give each a \
             suffix of its own. Until then each of them waits some seconds to come in."
        }
        Refusal::PACKET_LATE => {
            "Check the network of the device: packets stop halfway. On very slow radio, raise \
             mqtt.stall_time_max."
        }
        Refusal::UNREAD => {
            "Check the client: it is connected and reads nothing, as if its program hung."
        }
        Refusal::MESSAGE_RATE => {
            "Look for a loop in the client: it sends PINGREQ or SUBSCRIBE without a pause."
        }
        _ => return None,
    })
}

/// The next step after the registry has said no, by the code of its error.
pub(crate) fn registry_step(code: &str) -> &'static str {
    match code {
        "device.unknown" => {
            "Register the device: axle device add ID. If it was registered elsewhere, check that \
             it connects to the right server."
        }
        "device.revoked" => {
            "The device was revoked. If that was a mistake, register it again with a new \
             certificate."
        }
        "application.token_unknown" | "application.unknown" => {
            "Give the application the token that axle application create has printed; a lost one \
             cannot be shown again, so revoke the application and create it anew."
        }
        "device.retired" => {
            "The device was taken out of service. Register it under another id, if it is back."
        }
        "certificate.revoked" => {
            "Put the device's current certificate on it, or issue a new one: \
             axle device add ID --renew."
        }
        _ => "Issue a certificate that names the device: axle device add ID --renew.",
    }
}
