//! Backend applications in memory.

use async_trait::async_trait;
use axle_domain::port::ApplicationStore;
use axle_domain::{Application, ApplicationName, Error};

use super::{MemoryState, conflict};

#[async_trait]
impl ApplicationStore for MemoryState {
    async fn create_application(&self, application: Application) -> Result<(), Error> {
        let known = &mut self.contents().applications;
        let is_taken = known.values().any(|other| {
            other.name == application.name
                || (other.token.is_some() && other.token == application.token)
        });
        if is_taken {
            let message = format!("application `{}` exists already", application.name);
            return Err(conflict("application.exists", message));
        }
        known.insert(application.name.clone(), application);
        Ok(())
    }

    async fn update_application(&self, application: Application) -> Result<(), Error> {
        match self.contents().applications.get_mut(&application.name) {
            Some(stored) => {
                *stored = application;
                Ok(())
            }
            None => {
                let message = format!("application `{}` not found", application.name);
                Err(Error::not_found("application.not_found", message))
            }
        }
    }

    async fn list_applications(&self) -> Result<Vec<Application>, Error> {
        Ok(self.contents().applications.values().cloned().collect())
    }

    async fn delete_application(&self, name: &ApplicationName) -> Result<bool, Error> {
        Ok(self.contents().applications.remove(name).is_some())
    }
}
