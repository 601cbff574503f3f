//! What a company looks like from a prompt: a provider outside, an on-prem model inside, the default policy between them.
//!
//! Both upstreams are stand-ins that answer with an echo and keep what they were told.

use crate::{
    caller::{Caller, Door, Reply},
    cordon::{Cordon, Home, OnPrem, Plan},
    replies::{Deltas, Talk, echo_divided},
    upstream::Upstream,
};

/// The three of them.
pub struct Scene {
    /// The provider outside.
    pub cloud: Upstream,
    /// In place of the on-prem model.
    pub on_prem: Upstream,
    /// The installation.
    pub home: Home,
}

impl Scene {
    /// An installation with further top-level keys of the configuration, in YAML.
    pub async fn new(further: &str) -> Self {
        let cloud = Upstream::behind_tls().await;
        let on_prem = Upstream::in_place_of_engine().await;
        for upstream in [&cloud, &on_prem] {
            upstream.answer(|seen| echo_divided(seen, Deltas::Of(40)));
        }
        let home = Home::new(&Plan {
            policy: None,
            further: further.to_owned(),
            ..Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud)
        });
        Self { cloud, on_prem, home }
    }

    /// Sends a text to the provider, through the proxy.
    pub async fn paste(&self, cordon: &Cordon, key: &str, text: &str) -> Reply {
        let caller = Caller::new(cordon, Door::Proxy, key);
        let reply = caller.post(Talk::Chat, &Talk::Chat.request(text, false)).await;
        reply.expect("Cordon answers")
    }

    /// A path in the installation's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }
}
