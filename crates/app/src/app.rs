//! The use cases put together over the ports.

use std::sync::Arc;

use axle_domain::port::{
    ApplicationStore, CertificateAuthority, ClientSessionStore, Clock, CommandStore,
    ComponentRegistry, ConnectionJournal, ConsumerRegistry, Counters, CredentialStore,
    DeviceFilter, DeviceLink, DeviceRegistry, EventLog, Machine, ReportedState, SearchIndex,
    SessionStore, TelemetryStore, TokenStore, UserStore,
};
use axle_domain::{Device, Error, Offset, Schemas};

use crate::application::Applications;
use crate::command::Commands;
use crate::component::Components;
use crate::consumer::Consumers;
use crate::consumption::{Consumptions, KeptDays};
use crate::device::Devices;
use crate::dispatch::Dispatch;
use crate::feed::Feeds;
use crate::fleet_map::FleetMap;
use crate::ingest::Ingest;
use crate::metrics::DoorMetrics;
use crate::presence::Presence;
use crate::project::Projector;
use crate::provisioning::Provisioning;
use crate::publish::Publish;
use crate::quality::Quality;
use crate::quarantine::Quarantine;
use crate::query::Queries;
use crate::registry::Registry;
use crate::ride::Rides;
use crate::search::Search;
use crate::session::Sessions;
use crate::sign_in::SignIn;
use crate::token::Tokens;
use crate::upload::Uploads;
use crate::user::Users;

/// What the use cases need of the outside.
#[derive(Clone)]
pub struct Ports {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Telemetry.
    pub store: Arc<dyn TelemetryStore>,
    /// Devices and certificates.
    pub devices: Arc<dyn DeviceRegistry>,
    /// Components and what plants say.
    pub components: Arc<dyn ComponentRegistry>,
    /// The index over devices, components and people.
    pub search: Arc<dyn SearchIndex>,
    /// Backend applications.
    pub applications: Arc<dyn ApplicationStore>,
    /// Tokens.
    pub tokens: Arc<dyn TokenStore>,
    /// People.
    pub users: Arc<dyn UserStore>,
    /// What people sign in with.
    pub credentials: Arc<dyn CredentialStore>,
    /// Who has signed in.
    pub sessions: Arc<dyn SessionStore>,
    /// MQTT sessions that outlive their connection.
    pub client_sessions: Arc<dyn ClientSessionStore>,
    /// Commands.
    pub commands: Arc<dyn CommandStore>,
    /// What is computed from the log.
    pub reported: Arc<dyn ReportedState>,
    /// The last connection events.
    pub connections: Arc<dyn ConnectionJournal>,
    /// Who follows the log with a position of its own.
    pub consumers: Arc<dyn ConsumerRegistry>,
    /// The way down to devices.
    pub link: Arc<dyn DeviceLink>,
    /// Signs device certificates.
    pub authority: Arc<dyn CertificateAuthority>,
    /// The machine that all this runs on.
    pub machine: Arc<dyn Machine>,
}

/// How far the log is and how far each projection has followed. Numbers count records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// One past the newest durable record.
    pub appended: Offset,
    /// One past the last record that queries see.
    pub store: Offset,
    /// One past the last record that latest values, answers and quarantine include.
    pub state: Offset,
}

/// All use cases.
pub struct App {
    /// Messages to safety.
    pub ingest: Ingest,
    /// Who came, went, or fell silent.
    pub presence: Presence,
    /// Programs that follow the log.
    pub consumers: Consumers,
    /// Programs that publish to it.
    pub publish: Publish,
    /// Uploads of apps.
    pub uploads: Uploads,
    /// The registry.
    pub devices: Devices,
    /// Backend applications.
    pub applications: Applications,
    /// The registry in memory, for the gateway.
    pub registry: Arc<Registry>,
    /// Components.
    pub components: Components,
    /// What plants say.
    pub feeds: Feeds,
    /// Finding any of it.
    pub search: Search,
    /// Tokens.
    pub tokens: Tokens,
    /// People.
    pub users: Users,
    /// How people sign in.
    pub sign_in: SignIn,
    /// Sessions of people.
    pub sessions: Sessions,
    /// Commands.
    pub commands: Commands,
    /// The way down.
    pub dispatch: Arc<Dispatch>,
    /// Questions.
    pub queries: Queries,
    /// What households used.
    pub consumption: Consumptions,
    /// Where the fleet is.
    pub fleet_map: Arc<FleetMap>,
    /// Rides.
    pub rides: Rides,
    /// How good the data is.
    pub quality: Quality,
    /// What was set aside.
    pub quarantine: Quarantine,
    /// From the log to where it is shown.
    pub projector: Arc<Projector>,
    /// The streams that are known.
    pub schemas: Arc<Schemas>,
    /// The ports, for what needs no use case: reading the log, figures of the store, the clock.
    pub ports: Ports,
    door: Arc<DoorMetrics>,
    pub(crate) provisioning: Provisioning,
}

impl App {
    /// Puts the use cases together and fills the registry in memory.
    ///
    /// # Errors
    /// As the state.
    pub async fn open(ports: Ports) -> Result<Self, Error> {
        let (registry, devices) = registry_of(&ports).await?;
        let schemas = Arc::new(Schemas::builtin());
        let fleet_map = map_of(&ports, &devices);
        let (door, kept_days) =
            (Arc::<DoorMetrics>::default(), Arc::new(KeptDays::new(Arc::clone(&ports.clock))));
        let Ports { clock, log, store, commands, reported, link, authority, .. } = ports.clone();
        let dispatch = Arc::new(Dispatch::new(
            Arc::clone(&commands),
            Arc::clone(&link),
            Arc::clone(&registry),
            Arc::clone(&clock),
        ));
        let consumers = Consumers::open(&ports).await?;
        let projector = Projector::open(
            &ports,
            Arc::clone(&schemas),
            Arc::clone(&door),
            (Arc::clone(&fleet_map), Arc::clone(&kept_days)),
            consumers.floor(),
        )
        .await?;
        Ok(Self {
            ingest: Ingest::new(&ports, Arc::clone(&door), Arc::clone(&schemas)),
            publish: Publish::new(&ports, projector.watch()),
            consumers,
            presence: Presence::new(&ports, projector.watch()),
            uploads: Uploads::new(
                &ports,
                Arc::clone(&schemas),
                Arc::clone(&registry),
                Arc::clone(&door),
                projector.watch(),
            ),
            devices: Devices::new(
                Arc::clone(&ports.devices),
                (Arc::clone(&registry), Arc::clone(&fleet_map)),
                authority,
                link,
                Arc::clone(&clock),
            ),
            applications: Applications::new(&ports, Arc::clone(&registry)),
            components: Components::new(&ports),
            search: Search::new(&ports),
            feeds: Feeds::new(&ports, Arc::clone(&registry), Arc::clone(&fleet_map)),
            tokens: Tokens::new(&ports, Arc::clone(&registry)),
            users: Users::new(&ports, Arc::clone(&registry)),
            sign_in: SignIn::new(&ports),
            sessions: Sessions::new(&ports),
            commands: Commands::new(
                commands,
                Arc::clone(&dispatch),
                Arc::clone(&registry),
                Arc::clone(&clock),
            ),
            consumption: Consumptions::new(Arc::clone(&store), Arc::clone(&clock), kept_days),
            rides: Rides::new(store, Arc::clone(&reported)),
            queries: Queries::new(&ports, Arc::clone(&schemas)),
            fleet_map,
            quality: Quality::new(&ports, Arc::clone(&schemas)),
            quarantine: Quarantine::new(log, reported, clock, Arc::clone(&schemas)),
            registry,
            dispatch,
            projector: Arc::new(projector),
            schemas,
            ports,
            door,
            provisioning: Provisioning::default(),
        })
    }

    /// How far everything is.
    #[must_use]
    pub fn positions(&self) -> Positions {
        let (store, state) = self.projector.applied();
        Positions { appended: self.ports.log.bounds().durable, store, state }
    }

    /// The law of the door up to now, exact once the projections have caught up. No count is ever
    /// less than one that was told before.
    ///
    /// # Errors
    /// As the state.
    pub async fn counters(&self) -> Result<Counters, Error> {
        // In this order: what is committed between the two is missed then, not counted twice.
        let mut counters = self.ports.reported.counters().await?;
        counters.add(self.door.pending());
        Ok(self.door.tell(counters))
    }
}

/// The live map with the devices that there are.
fn map_of(ports: &Ports, devices: &[Device]) -> Arc<FleetMap> {
    let map = Arc::new(FleetMap::new(Arc::clone(&ports.link), Arc::clone(&ports.clock)));
    devices.iter().for_each(|device| map.put_device(device));
    map
}

/// The registry in memory, and the devices in it.
async fn registry_of(ports: &Ports) -> Result<(Arc<Registry>, Vec<Device>), Error> {
    let devices = all_devices(ports).await?;
    let certificates = ports.devices.list_certificates(None).await?;
    let registry = Registry::load(&devices, &certificates);
    for application in ports.applications.list_applications().await? {
        registry.put_application(&Arc::new(application));
    }
    Ok((Arc::new(registry), devices))
}

async fn all_devices(ports: &Ports) -> Result<Vec<Device>, Error> {
    let filter = DeviceFilter { limit: usize::MAX, ..DeviceFilter::default() };
    ports.devices.list_devices(filter).await
}
