//! Every limit of axle in one place, with its unit in its name. `GET /api/v1/limits` prints them.

use std::time::Duration;

/// Longest device id.
pub const DEVICE_ID_BYTES_MAX: usize = 128;
/// Longest MQTT packet after authentication; announced to MQTT 5 clients.
pub const PACKET_BYTES_MAX: usize = 128 * 1024;
/// Longest MQTT packet before authentication.
pub const PACKET_BYTES_BEFORE_CONNECT_MAX: usize = 16 * 1024;
/// Longest topic name or filter.
pub const TOPIC_BYTES_MAX: usize = 256;
/// Most levels of a topic name or filter.
pub const TOPIC_LEVELS_MAX: usize = 16;
/// Most mappings of topic layouts.
pub const LAYOUTS_MAX: usize = 64;
/// Most subscriptions of one session.
pub const SUBSCRIPTIONS_MAX: usize = 64;
/// Most filters in one SUBSCRIBE or UNSUBSCRIBE packet that are looked at.
pub const FILTERS_PER_PACKET_MAX: usize = 256;
/// Most user properties of one MQTT 5 packet.
pub const USER_PROPERTIES_MAX: usize = 32;
/// Longest that a session lasts after its connection has ended.
pub const SESSION_EXPIRY_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Most sessions that are kept beyond their connection; one more ends with its connection.
pub const KEPT_SESSIONS_MAX: usize = 2_500_000;
/// Most messages that wait for one session; beyond, the oldest gives way and is counted.
pub const SESSION_QUEUE_ROWS_MAX: u64 = 10_000;
/// Most bytes of messages that wait for one session; beyond, the oldest give way.
pub const SESSION_QUEUE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Changes to sessions that wait for a commit; beyond, their clients are not read.
pub const SESSION_CHANGES_WAITING_MAX: usize = 100_000;
/// Retained messages that are kept where the operator has set no other number.
pub const RETAINED_MESSAGES_MAX: usize = 100_000;
/// Bytes of retained messages that are kept where the operator has set no other number; topics and
/// properties count too.
pub const RETAINED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most retained messages below one device's own topics.
pub const RETAINED_PER_DEVICE_MAX: usize = 64;
/// Publishes of one connection that may wait for the log's sync.
pub const PENDING_PUBLISHES_MAX: usize = 256;
/// Handshakes that wait for their turn; beyond, the door leaves connections in the operating
/// system's queue.
pub const HANDSHAKES_WAITING_MAX: usize = 1024;
/// Packets of one connection that carry no message (PINGREQ, SUBSCRIBE, …) within ten seconds;
/// beyond, it ends.
pub const BARE_PACKETS_PER_TEN_SECONDS_MAX: u16 = 1000;
/// Bytes of one connection that may wait for the log's sync; beyond, it is not read until then, so
/// that one device that floods leaves room for the others.
pub const UNSYNCED_BYTES_PER_CONNECTION_MAX: usize = 4 * 1024 * 1024;
/// Time for the TLS handshake.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Time from the handshake to a complete CONNECT.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest keep alive that the gateway grants; announced as Server Keep Alive to MQTT 5 clients.
pub const KEEP_ALIVE_MAX: Duration = Duration::from_secs(1200);

/// Largest upload body as sent.
pub const UPLOAD_ENCODED_BYTES_MAX: usize = 1024 * 1024;
/// Largest upload body after decompression.
pub const UPLOAD_DECODED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most samples in one upload.
pub const UPLOAD_RECORDS_MAX: usize = 10_000;
/// Longest line of an NDJSON upload.
pub const UPLOAD_LINE_BYTES_MAX: usize = 256 * 1024;
/// Longest idempotency key.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 128;
/// Uploads per minute and token.
pub const UPLOADS_PER_MINUTE_AND_TOKEN: u32 = 120;
/// Uploads per minute and client address; larger, since many phones share one address.
pub const UPLOADS_PER_MINUTE_AND_ADDRESS: u32 = 1200;
/// Largest body of any other request.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Deepest nesting of a JSON payload.
pub const JSON_DEPTH_MAX: usize = 32;
/// Longest text value of a telemetry field.
pub const TEXT_VALUE_BYTES_MAX: usize = 1024;
/// Longest `extra` column of a row: the unknown fields as JSON.
pub const EXTRA_BYTES_MAX: usize = 8 * 1024;
/// Largest payload that a quarantine item keeps for show; the log keeps all of it.
pub const QUARANTINE_PAYLOAD_BYTES_MAX: usize = 128 * 1024;

/// Longest record of the log; an upload is one record, so that it is stored whole or not at all.
pub const RECORD_BYTES_MAX: usize = UPLOAD_DECODED_BYTES_MAX + 64 * 1024;
/// Bytes that may wait for the log's next sync.
pub const COMMIT_BUFFER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest SQL text.
pub const SQL_BYTES_MAX: usize = 16 * 1024;
/// Most rows of one answer.
pub const QUERY_ROWS_MAX: usize = 10_000;
/// Most bytes of one answer.
pub const QUERY_BYTES_MAX: usize = 5 * 1024 * 1024;
/// Longest run of one query.
pub const QUERY_TIME_MAX: Duration = Duration::from_secs(10);
/// Memory of one query.
pub const QUERY_MEMORY_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Queries that run at one time.
pub const QUERIES_RUNNING_MAX: usize = 4;

/// Longest range of one question for what a household used, in days.
pub const CONSUMPTION_DAYS_MAX: i64 = 400;
/// Most buckets of one such answer.
pub const CONSUMPTION_BUCKETS_MAX: usize = 1000;
/// Quarters of an hour of sockets that are kept in memory: some ten years of a household with
/// eleven sockets, 24 bytes each.
pub const CONSUMPTION_SLOTS_KEPT_MAX: usize = 4_000_000;

/// Largest payload of a command.
pub const COMMAND_PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// Largest result of a command.
pub const COMMAND_RESULT_BYTES_MAX: usize = 64 * 1024;
/// Longest deadline of a command.
pub const COMMAND_TIMEOUT_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Answers that are taken ahead of the projection; it takes those beyond.
pub const ANSWERS_WAITING_MAX: usize = 4096;
/// Of these, answers that are taken in one transaction.
pub const ANSWERS_PER_COMMIT_MAX: usize = 256;
/// Commands of one device that are not finished.
pub const COMMANDS_OPEN_PER_DEVICE_MAX: usize = 100;

/// Devices that the live map has room for; others are registered, and not on the map.
pub const FLEET_MAP_DEVICES_MAX: usize = 2_000_000;
/// Cells into which an area of the map is divided, and so the points that it shows at most.
pub const MAP_CELLS_MAX: usize = 1024;
/// Vehicles that an area shows one by one when one looks from near.
pub const MAP_SINGLES_MAX: usize = 400;

/// Most backend applications and claims.
pub const APPLICATIONS_MAX: usize = 1000;
/// Most filters that one application may publish to, and most that it may subscribe to.
pub const GRANTS_PER_APPLICATION_MAX: usize = 64;
/// Most devices that one claim may bring.
pub const CLAIM_DEVICES_MAX: u32 = 1_000_000;
/// Requests of one claim a minute, for certificates and things together; a line that makes ten
/// devices a second needs both for each.
pub const CLAIM_REQUESTS_PER_MINUTE: u32 = 1200;
/// How long a certificate of a claim waits to be some device's.
pub const CLAIM_CERTIFICATE_TIME_MAX: Duration = Duration::from_secs(10 * 60);
/// Certificates of claims that wait; beyond, the oldest makes room.
pub const CLAIM_CERTIFICATES_WAITING_MAX: usize = 10_000;
/// Most certificates of one application.
pub const CERTIFICATES_PER_APPLICATION_MAX: usize = 16;

/// Certificates of one device that are bound when they are first seen; later ones of an authority
/// that may speak for it let it in all the same.
pub const CERTIFICATES_PER_DEVICE_BOUND_MAX: usize = 64;

/// Most people that one instance knows.
pub const USERS_MAX: usize = 100_000;
/// Most devices of one person.
pub const DEVICES_PER_USER_MAX: usize = 100;
/// Longest name that a person is called by, or label of a passkey.
pub const USER_TEXT_BYTES_MAX: usize = 128;
/// Most passkeys of one person.
pub const PASSKEYS_PER_USER_MAX: usize = 20;
/// Longest name that an authenticator gives a passkey (WebAuthn 3, 4).
pub const CREDENTIAL_ID_BYTES_MAX: usize = 1023;
/// Shortest password (NIST SP 800-63B asks for length, not for kinds of characters).
pub const PASSWORD_CHARS_MIN: usize = 10;
/// Longest password; a longer one would only cost time.
pub const PASSWORD_BYTES_MAX: usize = 256;
/// Passwords that are hashed at one time; each takes 19 MiB and a processor.
pub const PASSWORDS_HASHING_MAX: usize = 2;
/// Passwords that wait to be hashed; more are turned away.
pub const PASSWORDS_WAITING_MAX: usize = 32;
/// Sessions of one person; the one that was not used for longest makes room.
pub const SESSIONS_PER_USER_MAX: usize = 20;
/// How long a session lasts at most.
pub const SESSION_TIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a session lasts that a one-time link has opened.
pub const LINK_SESSION_TIME_MAX: Duration = Duration::from_secs(12 * 3600);
/// How long a session may rest.
pub const SESSION_IDLE_MAX: Duration = Duration::from_secs(12 * 3600);
/// How exactly the last use of a session is written down.
pub const SESSION_TOUCH_INTERVAL: Duration = Duration::from_secs(5 * 60);
/// How long an invitation waits for its one use.
pub const INVITATION_TIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Failed sign-ins of one name, or from one address, in a row.
pub const SIGN_INS_AT_ONCE_MAX: u32 = 10;
/// Sign-ins that one name may fail a minute after that.
pub const SIGN_INS_PER_MINUTE_AND_NAME: u32 = 1;
/// Sign-ins that one address may try a minute; many people share one.
pub const SIGN_INS_PER_MINUTE_AND_ADDRESS: u32 = 30;
/// How long a browser may take over a passkey.
pub const CHALLENGE_TIME_MAX: Duration = Duration::from_secs(5 * 60);
/// Ceremonies of passkeys that are under way; the oldest makes room.
pub const CHALLENGES_MAX: usize = 4096;

/// Changes of presence that wait for room in the log; beyond, the oldest are told by the next
/// start.
pub const PRESENCE_CHANGES_WAITING_MAX: usize = 100_000;
/// Connection events that are kept of one device, and of one address without a proved device.
pub const CONNECTION_EVENTS_PER_KEY_MAX: usize = 64;
/// Connection events that are kept of clients that proved no device.
pub const CONNECTION_EVENTS_UNPROVED_MAX: usize = 20_000;
/// Connection events that are kept of proved devices.
pub const CONNECTION_EVENTS_PROVED_MAX: usize = 80_000;
/// Connection events in memory: those that are not written yet, and those that may be repeated.
pub const CONNECTION_EVENTS_IN_MEMORY_MAX: usize = 8192;
/// Those of them that are written already; beyond, the oldest are not there to be repeated.
pub const CONNECTION_EVENTS_REPEATABLE_MAX: usize = 2048;
/// What is kept of a text that a client has sent before it was let in.
pub const CONNECTION_TEXT_BYTES_MAX: usize = 192;

/// Largest batch of a plant.
pub const FEED_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most records of one batch; a batch is one change of the state, and others wait for it.
pub const FEED_RECORDS_MAX: usize = 2_000;
/// Longest record of a batch that is kept for review whole.
pub const FEED_RECORD_BYTES_MAX: usize = 4 * 1024;
/// Records of one plant that may wait for a person; beyond, its batches are turned away.
pub const FEED_REVIEWS_WAITING_MAX: u32 = 100_000;
/// How far ahead of the server's clock master data may speak.
pub const FEED_TIME_AHEAD_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Installations that may stand in the way of one record and be named; beyond, the first are.
pub const FEED_NEIGHBORS_MAX: u32 = 16;
/// Longest name or model in master data.
pub const MASTER_TEXT_BYTES_MAX: usize = 256;
/// Longest note of a person who decides.
pub const NOTE_BYTES_MAX: usize = 1024;

/// Longest text that is searched for, in characters; more is not looked at.
pub const SEARCH_CHARS_MAX: usize = 64;
/// Shortest word that is found with a typo in it, in characters.
pub const SEARCH_FUZZY_CHARS_MIN: usize = 4;
/// Longest word that is found with a typo in it, in characters.
pub const SEARCH_FUZZY_CHARS_MAX: usize = 32;
/// Most hits of a search.
pub const SEARCH_HITS_MAX: usize = 100;
/// How long a search guesses at typos after it has found what was typed.
pub const SEARCH_GUESS_TIME_MAX: Duration = Duration::from_millis(50);

/// Registered consumers of the log.
pub const CONSUMERS_MAX: usize = 1000;
/// Most messages that are published to the log by one request.
pub const PUBLISH_MESSAGES_MAX: usize = 1000;
/// Largest body of such a request.
pub const PUBLISH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of records that one answer to a consumer holds, but for one record that is larger.
pub const CONSUME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of records that one request of a consumer looks through where its filter skips most.
pub const CONSUME_SCAN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest wait of a consumer for the next message.
pub const CONSUME_WAIT_MAX: Duration = Duration::from_secs(60);
/// Consumers that wait or are being answered at one time.
pub const CONSUMES_RUNNING_MAX: usize = 64;

/// Most items of one page of a list.
pub const PAGE_ITEMS_MAX: usize = 1000;

// An upload must fit into a record, and a record into the commit buffer.
const _: () = assert!(UPLOAD_DECODED_BYTES_MAX < RECORD_BYTES_MAX);
const _: () = assert!(RECORD_BYTES_MAX < COMMIT_BUFFER_BYTES_MAX);
const _: () = assert!(SESSION_TOUCH_INTERVAL.as_secs() < SESSION_IDLE_MAX.as_secs());
const _: () = assert!(8 * UNSYNCED_BYTES_PER_CONNECTION_MAX < COMMIT_BUFFER_BYTES_MAX);
const _: () = assert!(PACKET_BYTES_BEFORE_CONNECT_MAX < PACKET_BYTES_MAX);
