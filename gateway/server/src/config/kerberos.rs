//! Who is known by a Kerberos ticket: `identity.kerberos` of the configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use schemars::JsonSchema;
use serde::Deserialize;

/// Callers of the proxy who show a Kerberos ticket (`Proxy-Authorization: Negotiate`) need no key.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kerberos {
    /// The keytab, with the service's keys; only Cordon's user may read it. It is read anew for each ticket, so keys
    /// can be added while Cordon runs.
    pub keytab: PathBuf,
    /// The service that tickets are for: `HTTP/HOST@REALM`, with the host name by which programs know the proxy.
    pub principal: String,
    /// Realms (domains of Active Directory, in capitals) whose users may come in; that of `principal` when empty.
    #[serde(default)]
    pub realms: BTreeSet<String>,
    /// Whether the user is named without the realm: `j.kim` for `j.kim@CORP.EXAMPLE`. With one realm alone, since
    /// two people would be one user otherwise.
    #[serde(default)]
    pub strip_realm: bool,
    /// Whether the user's name is put into small letters. Active Directory gives a ticket to whoever types their name
    /// in capitals, too, and rules that name a user would not hold for that one.
    #[serde(default)]
    pub lower_case: bool,
    /// Groups of everyone who shows such a ticket.
    #[serde(default)]
    pub groups: BTreeSet<String>,
    /// Further groups, each with its members, named as `strip_realm` and `lower_case` have it.
    #[serde(default)]
    pub members: BTreeMap<String, BTreeSet<String>>,
}

impl Kerberos {
    /// The realm of the service, once [`Kerberos::faults`] has found none.
    pub fn realm(&self) -> &str {
        self.principal.rsplit_once('@').map_or("", |(_, realm)| realm)
    }

    /// The realms whose users may come in.
    pub fn admitted(&self) -> BTreeSet<String> {
        match self.realms.is_empty() {
            true => BTreeSet::from([self.realm().to_owned()]),
            false => self.realms.clone(),
        }
    }

    /// What is wrong with it: the key and what to write. `built` says whether this program can check tickets at all.
    pub(super) fn faults(&self, built: bool) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if !built {
            faults.push((
                "kerberos",
                "`identity.kerberos`: this build has no support for Kerberos; build it with the feature `kerberos` (`cargo build --release --bin cordon --features kerberos`)"
                    .to_owned(),
            ));
        }
        let host = self
            .principal
            .strip_prefix("HTTP/")
            .and_then(|rest| rest.split_once('@'))
            .filter(|(host, realm)| is_name(host) && is_name(realm));
        if host.is_none() {
            faults.push((
                "principal",
                "`identity.kerberos.principal` is written HTTP/HOST@REALM: programs ask for a ticket for the service HTTP on the proxy's host"
                    .to_owned(),
            ));
        }
        for realm in self.realms.iter().filter(|realm| !is_name(realm)) {
            faults.push((
                "realms",
                format!("`{realm}` in `identity.kerberos.realms` is no realm"),
            ));
        }
        if self.strip_realm && self.admitted().len() > 1 {
            faults.push((
                "strip_realm",
                "`identity.kerberos.strip_realm` takes one realm alone: users of the same name in two realms are two people"
                    .to_owned(),
            ));
        }
        let never = |user: &&String| {
            user.contains('@') == self.strip_realm
                || (self.lower_case && {
                    let name = user.split_once('@').map_or(user.as_str(), |(name, _)| name);
                    name.to_lowercase() != name
                })
        };
        for user in self.members.values().flatten().filter(never) {
            faults.push((
                "members",
                format!(
                    "nobody is called `{user}` as `strip_realm` and `lower_case` have it, so `identity.kerberos.members` would leave them out"
                ),
            ));
        }
        faults
    }
}

/// Whether a host or a realm is written plainly.
fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kerberos(change: impl FnOnce(&mut Kerberos)) -> Kerberos {
        let mut kerberos = Kerberos {
            keytab: "http.keytab".into(),
            principal: "HTTP/proxy.corp.example@CORP.EXAMPLE".to_owned(),
            realms: BTreeSet::new(),
            strip_realm: true,
            lower_case: true,
            groups: BTreeSet::new(),
            members: BTreeMap::new(),
        };
        change(&mut kerberos);
        kerberos
    }

    fn set(entries: &[&str]) -> BTreeSet<String> {
        entries.iter().map(|&entry| entry.to_owned()).collect()
    }

    #[test]
    fn a_build_without_it_names_the_feature() {
        let faults = kerberos(|_| {}).faults(false);
        assert!(
            matches!(faults.as_slice(), [("kerberos", why)] if why.contains("the feature `kerberos`")),
            "{faults:?}"
        );
        assert_eq!(kerberos(|_| {}).faults(true), []);
    }

    #[test]
    fn what_cannot_hold_is_told() {
        let wrong = |change: fn(&mut Kerberos)| {
            let faults = kerberos(change).faults(true);
            assert_eq!(faults.len(), 1, "{faults:?}");
            faults[0].0
        };
        for principal in ["HTTP/proxy", "host/proxy@R", "HTTP/@R", "HTTP/a b@R", "HTTP/a@"] {
            let faults = kerberos(|it| it.principal = principal.to_owned()).faults(true);
            assert_eq!(faults[0].0, "principal", "{principal}");
        }
        assert_eq!(wrong(|it| it.realms = set(&["A B"])), "realms");
        assert_eq!(wrong(|it| it.realms = set(&["A", "B"])), "strip_realm");
        for user in ["J.Kim", "j.kim@CORP.EXAMPLE"] {
            let members = BTreeMap::from([("design".to_owned(), set(&[user]))]);
            let faults = kerberos(|it| it.members = members).faults(true);
            assert_eq!(faults[0].0, "members", "{user}");
        }
        let whole = kerberos(|it| {
            it.strip_realm = false;
            it.realms = set(&["A", "B"]);
            it.members = BTreeMap::from([("design".to_owned(), set(&["j.kim@A"]))]);
        });
        assert_eq!(whole.faults(true), []);
    }
}
