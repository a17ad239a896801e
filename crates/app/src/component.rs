//! Components: what sits in a device, and where a component has been.

use std::sync::Arc;

use axle_domain::port::{ComponentFilter, ComponentRegistry};
use axle_domain::{Access, Component, DeviceId, Error, Installation, Serial};

use crate::app::Ports;
use crate::principal::Principal;

/// The desk of components.
pub struct Components {
    store: Arc<dyn ComponentRegistry>,
}

impl Components {
    pub(crate) fn new(ports: &Ports) -> Self {
        Self { store: Arc::clone(&ports.components) }
    }

    /// A component and its whole life, oldest installation first, as far as the principal may
    /// see it: who may read single devices sees a component that sits or sat in one of them, and
    /// when it did.
    ///
    /// # Errors
    /// `NotFound`, also for a component that never was in a device that the principal may read.
    pub async fn get(
        &self,
        principal: &Principal,
        serial: &Serial,
    ) -> Result<(Component, Vec<Installation>), Error> {
        let missing = || {
            let message = format!("component `{serial}` not found");
            Error::not_found("component.not_found", message)
        };
        let component = self.store.find_component(serial).await?.ok_or_else(missing)?;
        let mut life = self.store.installations_of(serial).await?;
        if !principal.allows(Access::ReadAll) {
            life.retain(|it| principal.allows(Access::Read(&it.device)));
            if life.is_empty() {
                return Err(missing());
            }
        }
        Ok((component, life))
    }

    /// Components by serial.
    ///
    /// # Errors
    /// As the component registry.
    pub async fn list(&self, filter: ComponentFilter) -> Result<Vec<Component>, Error> {
        self.store.list_components(filter).await
    }

    /// What sits and sat in a device, oldest installation first.
    ///
    /// # Errors
    /// As the component registry.
    pub async fn in_device(
        &self,
        device: &DeviceId,
    ) -> Result<Vec<(Installation, Component)>, Error> {
        self.store.installations_in(device).await
    }
}
