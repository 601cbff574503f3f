use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The person or service that an exchange was authenticated as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Name in the company's directory, e.g. `j.kim` or `svc-helpdesk`.
    pub user: String,
    /// Groups that policy rules speak of, e.g. `engineering`.
    pub groups: BTreeSet<String>,
    /// How the actor was recognised.
    pub identity: Identity,
}

/// How an [`Actor`] was recognised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// A Cordon API key; `key` is its public id, never the key itself.
    ApiKey {
        /// Public id of the key, as listed by `cordon key list`.
        key: String,
    },
    /// A client certificate under a CA that the configuration names.
    Certificate {
        /// Its serial number, in hexadecimal.
        serial: String,
    },
    /// A Kerberos ticket, shown to the proxy by Negotiate.
    Kerberos {
        /// Whose it is, with the realm, as the key distribution centre calls them.
        principal: String,
    },
    /// No credentials, from a network that the configuration gives a name.
    Network {
        /// The network as configured.
        network: String,
    },
    /// No credentials, from a loopback address, where the configuration permits that.
    AnonymousLoopback,
    /// Nobody: the exchange was refused before anyone was recognised.
    Unidentified,
}

impl Actor {
    /// The actor that a record names when a caller could not be recognised.
    #[must_use]
    pub fn unidentified() -> Self {
        Self {
            user: "unidentified".into(),
            groups: BTreeSet::new(),
            identity: Identity::Unidentified,
        }
    }

    /// The actor for callers on loopback without credentials.
    #[must_use]
    pub fn anonymous_loopback() -> Self {
        Self {
            user: "anonymous".into(),
            groups: BTreeSet::from(["anonymous".to_owned()]),
            identity: Identity::AnonymousLoopback,
        }
    }
}
