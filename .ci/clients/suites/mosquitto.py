"""What mosquitto's broker tests assume of a server beyond the standards, script by script."""

# Of parts that are mosquitto's own: bridges, its TLS and PSK options, access control files, plugins
# and the dynamic security plugin.
OTHERS = (
    "06-", "08-", "14-", "09-acl", "09-extended-auth-change", "09-extended-auth-multi",
    "09-extended-auth-single", "09-plugin", "09-pwfile", "10-",
)

# These await the end of the connection and nothing before it; MQTT 5 is told why here.
SILENT = {
    "01-connect-duplicate.py",
    "02-subpub-qos1-bad-pubcomp.py",
    "02-subpub-qos1-bad-pubrec.py",
    "02-subpub-qos2-bad-puback-1.py",
    "02-subpub-qos2-bad-puback-2.py",
    "02-subpub-qos2-bad-pubcomp.py",
}

USERS = "its configuration has users and passwords; here certificates and tokens do that"
SIZE = "its configuration has a smaller limit of message sizes; here 128 KiB is announced"
RETAIN = "its configuration has no retained messages; here they are always there"
SOURCE = "its configuration drops retained messages of a user whose rights were taken"
TOPIC = "topics of more than 256 bytes or 16 levels are refused here"
EMPTY = "an empty filter has its own code in the answer (0x8f, 0x11), and the connection stays"
NUMBERS = "expects the packet id of a message that has expired to be left out"
WILL_SESSION = "a will is due when its session ends, whatever its delay [MQTT-3.1.2-8]; it expects the delay"

# What does not pass, and why that is right.
ASSUMED = {
    "01-connect-allow-anonymous.py": USERS,
    "01-connect-uname-no-password-denied.py": USERS,
    "01-connect-uname-or-anon.py": USERS,
    "01-connect-uname-password-denied-no-will.py": USERS,
    "01-connect-uname-password-denied.py": USERS,
    "01-connect-invalid-id-0.py": "is about MQTT 3.1, where a client id was never empty",
    "01-connect-invalid-id-missing.py": "is about MQTT 3.1, where a client id was never empty",
    "01-connect-zero-length-id.py": "its configuration forbids empty client ids",
    "02-subpub-qos0-long-topic.py": TOPIC,
    "02-subscribe-long-topic.py": TOPIC,
    "02-subpub-qos0-oversize-payload.py": SIZE,
    "02-subpub-qos1-oversize-payload.py": SIZE,
    "07-will-oversize-payload.py": SIZE,
    "12-prop-maximum-packet-size-broker.py": SIZE,
    "02-subpub-qos1-message-expiry.py": NUMBERS,
    "03-publish-qos1-max-inflight-expire.py": NUMBERS,
    "11-message-expiry.py": NUMBERS,
    "03-publish-c2b-disconnect-qos2.py": "is about MQTT 3.1, which has no session present",
    "03-publish-dollar-v5.py": "topics that begin with $ are not mosquitto's own here: grants decide",
    "03-publish-qos1-queued-bytes.py": "reads mosquitto's figures below $SYS",
    "03-publish-qos1-retain-disabled.py": RETAIN,
    "13-malformed-publish-v5.py": RETAIN,
    "13-malformed-subscribe-v5.py": EMPTY,
    "13-malformed-unsubscribe-v5.py": EMPTY,
    "04-retain-check-source-persist-diff-port.py": SOURCE,
    "04-retain-check-source-persist.py": SOURCE,
    "04-retain-check-source.py": SOURCE,
    "04-retain-upgrade-outgoing-qos.py": "its option raises the QoS, against [MQTT-3.3.4-1]",
    "07-will-delay-reconnect.py": WILL_SESSION,
    "07-will-delay-recover.py": WILL_SESSION,
    "07-will-delay.py": WILL_SESSION,
    "07-will-takeover.py": "a will without delay is sent when another connection takes over",
    "12-prop-assigned-client-identifier.py": "compares the bytes of CONNACK's properties",
    "12-prop-maximum-packet-size-publish-qos1.py": "counts a packet without its first byte",
    "12-prop-maximum-packet-size-publish-qos2.py": "counts a packet without its first byte",
    "12-prop-server-keepalive.py": "its configuration has a keep alive of 60 seconds at most",
    "12-prop-subpub-payload-format.py": "sends a payload format that the standard does not have",
    "12-prop-topic-alias-invalid.py": "expects at most 10 aliases to be announced; here it is 16",
}
