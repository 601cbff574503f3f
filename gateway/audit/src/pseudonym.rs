//! Who acted, as records tell it: a reference that is the same each time and names nobody, and as much of their address as is wanted.
//!
//! Applied by the recorder to every entry before it reaches the spool, so that spool, store and logs of neither hold a name. A reference is
//! `p-` and 32 hex digits, an HMAC under the installation's key: who has that key can compute the reference of a name that they know, as
//! `cordon audit search --user` does; the way back leads through the subject's keys, and so through a reveal.
//!
//! Callers without credentials stay as they are: `anonymous`, `unidentified`, and what the configuration calls a network.

use std::fmt;

use cordon_domain::{Actor, Identity};

use crate::{
    address::Addresses,
    commitment::{CommitmentKey, pseudonym},
    record::{Body, Intent, Refused, TunnelOpened, Uninspected},
};

/// Makes references of names, and cuts addresses.
#[derive(Clone, Debug)]
pub struct Pseudonyms {
    key: CommitmentKey,
    addresses: Addresses,
}

/// Whose key payloads are sealed under.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    /// As it stands in records.
    pub(crate) reference: String,
    /// As the directory has it.
    pub(crate) name: String,
    /// Whether the two differ.
    pub(crate) is_person: bool,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("reference", &self.reference)
            .finish_non_exhaustive()
    }
}

impl Pseudonyms {
    /// The references of an installation.
    #[must_use]
    pub fn new(key: CommitmentKey) -> Self {
        Self {
            key,
            addresses: Addresses::default(),
        }
    }

    /// The same, with as much of addresses beside them.
    #[must_use]
    pub fn beside(self, addresses: Addresses) -> Self {
        Self { addresses, ..self }
    }

    /// What stands in records for a user.
    #[must_use]
    pub fn reference(&self, user: &str) -> String {
        format!("p-{}", pseudonym(&self.key, "actor", user))
    }

    /// What stands in records for somebody: the reference, or what callers without credentials are called.
    #[must_use]
    pub fn of_actor(&self, actor: &Actor) -> String {
        self.subject(actor).reference
    }

    pub(crate) fn subject(&self, actor: &Actor) -> Subject {
        let is_person = match actor.identity {
            Identity::ApiKey { .. } | Identity::Certificate { .. } | Identity::Kerberos { .. } => true,
            Identity::Network { .. } | Identity::AnonymousLoopback | Identity::Unidentified => false,
        };
        let reference = if is_person {
            self.reference(&actor.user)
        } else {
            actor.user.clone()
        };
        Subject {
            reference,
            name: actor.user.clone(),
            is_person,
        }
    }

    /// Puts the reference in the name's place, in every entry that has one, cuts the address, and says whose it is.
    pub(crate) fn conceal(&self, body: &mut Body) -> Option<Subject> {
        if let Body::Intent(Intent { peer, .. })
        | Body::Refused(Refused { peer, .. })
        | Body::TunnelOpened(TunnelOpened { peer, .. }) = body
        {
            *peer = self.addresses.recorded(*peer);
        }
        let actor = match body {
            Body::Intent(Intent { actor, .. })
            | Body::Refused(Refused { actor, .. })
            | Body::TunnelOpened(TunnelOpened { actor, .. })
            | Body::Uninspected(Uninspected { actor, .. }) => actor,
            Body::Seal(_)
            | Body::TunnelClosed(_)
            | Body::PolicyReloaded(_)
            | Body::TrustReloaded(_)
            | Body::Started(_)
            | Body::Heartbeat(_)
            | Body::SpoolTampered(_)
            | Body::Pruned(_)
            | Body::KeysPruned(_)
            | Body::CheckpointsThinned(_)
            | Body::Searched(_)
            | Body::Erased(_)
            | Body::EraseRefused(_)
            | Body::HoldPlaced(_)
            | Body::HoldReleased(_)
            | Body::RevealRequested(_)
            | Body::RevealApproved(_)
            | Body::Revealed(_)
            | Body::ExportStarted(_)
            | Body::Exported(_)
            | Body::Stopped(_) => return None,
        };
        let subject = self.subject(actor);
        actor.user.clone_from(&subject.reference);
        match &mut actor.identity {
            Identity::Certificate { serial } => {
                *serial = format!("p-{}", pseudonym(&self.key, "certificate", serial))
            }
            Identity::Kerberos { principal } => {
                *principal = format!("p-{}", pseudonym(&self.key, "principal", principal));
            }
            // The public id of a key names nobody without the list of keys.
            Identity::ApiKey { .. }
            | Identity::Network { .. }
            | Identity::AnonymousLoopback
            | Identity::Unidentified => {}
        }
        Some(subject)
    }
}

#[cfg(test)]
mod tests {
    use cordon_domain::ExchangeId;

    use super::*;
    use crate::record::samples;

    #[test]
    fn names_give_way_to_references_and_who_has_none_stays() {
        let pseudonyms = Pseudonyms::new(CommitmentKey::from_bytes([5; 32])).beside(Addresses::Full);
        let mut intent = samples::intent(ExchangeId::new());
        intent.actor.identity = Identity::Kerberos {
            principal: "j.kim@CORP.EXAMPLE".into(),
        };
        let mut body = Body::Intent(intent.clone());
        let subject = pseudonyms.conceal(&mut body).unwrap();
        assert_eq!(subject.name, "j.kim");
        assert_eq!(subject.reference, pseudonyms.reference("j.kim"));
        let told = serde_json::to_string(&body).unwrap();
        assert!(told.contains(&subject.reference) && !told.contains("kim") && !told.contains("CORP"));

        intent.actor = Actor::anonymous_loopback();
        let mut body = Body::Intent(intent.clone());
        assert!(!pseudonyms.conceal(&mut body).unwrap().is_person);
        assert_eq!(body, Body::Intent(intent.clone()));

        pseudonyms.beside(Addresses::Network).conceal(&mut body);
        intent.peer = ([127, 0, 0, 0], 0).into();
        assert_eq!(body, Body::Intent(intent));
    }
}
