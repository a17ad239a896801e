//! Where a device that has no identity of its own yet asks for one, and where it is answered.
//!
//! The topics and bodies are those of AWS IoT fleet provisioning: certificate first, then a thing
//! for it.

use crate::{ApplicationName, Error, Grants, TopicFilter};

/// Where a signing request is sent.
pub const CREATE_FROM_CSR: &str = "$aws/certificates/create-from-csr/json";

/// What a claim asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvisioningRequest {
    /// A certificate for a key of the device's own.
    Certificate,
    /// To be a device, with that certificate.
    Thing,
}

impl ProvisioningRequest {
    /// What a topic asks for, of a claim of that name.
    #[must_use]
    pub fn parse(claim: &ApplicationName, topic: &str) -> Option<Self> {
        if topic == CREATE_FROM_CSR {
            return Some(Self::Certificate);
        }
        (topic == provision(claim)).then_some(Self::Thing)
    }
}

/// Where a claim asks for a thing: the template is the claim itself.
#[must_use]
pub fn provision(claim: &ApplicationName) -> String {
    format!("$aws/provisioning-templates/{claim}/provision/json")
}

/// What a claim may subscribe to: the answers to what it has asked. It publishes nothing: what it
/// asks is no message.
///
/// # Errors
/// None: the name of an application fits a topic.
pub fn claim_grants(claim: &ApplicationName) -> Result<Grants, Error> {
    let answers = |topic: &str| TopicFilter::parse(&format!("{topic}/+"));
    let subscribe = vec![answers(CREATE_FROM_CSR)?, answers(&provision(claim))?];
    Ok(Grants { publish: Vec::new(), subscribe })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_asks_by_its_own_template_and_hears_its_own_answers() {
        let claim = ApplicationName::parse("line-7").unwrap();
        let thing = provision(&claim);
        for (topic, expected) in [
            (CREATE_FROM_CSR, Some(ProvisioningRequest::Certificate)),
            (thing.as_str(), Some(ProvisioningRequest::Thing)),
            ("$aws/provisioning-templates/line-8/provision/json", None),
            ("$aws/certificates/create/json", None),
        ] {
            assert_eq!(ProvisioningRequest::parse(&claim, topic), expected, "{topic}");
        }
        let grants = claim_grants(&claim).unwrap();
        for (filter, may) in [
            ("$aws/certificates/create-from-csr/json/accepted", true),
            ("$aws/provisioning-templates/line-7/provision/json/rejected", true),
            ("$aws/provisioning-templates/line-8/provision/json/rejected", false),
            ("$aws/#", false),
            ("v1/d/+/t/#", false),
        ] {
            assert_eq!(grants.may_subscribe(filter), may, "{filter}");
        }
        assert!(!grants.may_publish(CREATE_FROM_CSR));
    }
}
