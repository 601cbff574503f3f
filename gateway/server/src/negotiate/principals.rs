//! Whom a Kerberos principal is taken for: the realms that are admitted, the user's name, the groups.

use std::collections::{BTreeMap, BTreeSet};

use cordon_domain::{Actor, Identity};

use super::Fault;
use crate::config::Kerberos;

/// Bytes of a principal. Active Directory's names are a fifth of it at most.
const LONGEST: usize = 256;

/// Who may come in by a ticket, and as whom. Replaced by a reload.
#[derive(Clone, Debug)]
pub struct Principals {
    realms: BTreeSet<String>,
    strip_realm: bool,
    lower_case: bool,
    groups: BTreeSet<String>,
    members: BTreeMap<String, BTreeSet<String>>,
}

impl Principals {
    /// As the configuration has it.
    pub fn new(config: &Kerberos) -> Self {
        Self {
            realms: config.admitted(),
            strip_realm: config.strip_realm,
            lower_case: config.lower_case,
            groups: config.groups.clone(),
            members: config.members.clone(),
        }
    }

    /// The actor behind a principal.
    pub fn actor(&self, principal: &str) -> Result<Actor, Fault> {
        // A name with an `@` or a control character of its own is written with a backslash, and is nobody's login.
        let plain = principal.len() <= LONGEST && !principal.contains(['\\', '\0']);
        let (name, realm) = principal
            .split_once('@')
            .filter(|(name, _)| plain && !name.is_empty() && !name.chars().any(char::is_control))
            .ok_or(Fault::Refused)?;
        if !self.realms.contains(realm) {
            return Err(Fault::Realm);
        }
        // Names that RFC 6111 reserves are nobody's: anonymous tickets have one.
        if name == "WELLKNOWN" || name.starts_with("WELLKNOWN/") {
            return Err(Fault::Refused);
        }
        let mut user = match self.lower_case {
            true => name.to_lowercase(),
            false => name.to_owned(),
        };
        if !self.strip_realm {
            user.push('@');
            user.push_str(realm);
        }
        let further = self
            .members
            .iter()
            .filter(|(_, members)| members.contains(&user))
            .map(|(group, _)| group.clone());
        Ok(Actor {
            groups: further.chain(self.groups.iter().cloned()).collect(),
            identity: Identity::Kerberos {
                principal: principal.to_owned(),
            },
            user,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principals(strip_realm: bool, lower_case: bool, realms: &[&str]) -> Principals {
        Principals {
            realms: realms.iter().map(|&realm| realm.to_owned()).collect(),
            strip_realm,
            lower_case,
            groups: BTreeSet::from(["staff".to_owned()]),
            members: BTreeMap::from([(
                "design".to_owned(),
                BTreeSet::from(["j.kim".to_owned(), "j.kim@CORP".to_owned()]),
            )]),
        }
    }

    #[test]
    fn a_principal_is_a_user_with_groups() {
        let named = |strip, lower, principal: &str| {
            let actor = principals(strip, lower, &["CORP", "LAB"])
                .actor(principal)
                .unwrap();
            assert_eq!(
                actor.identity,
                Identity::Kerberos {
                    principal: principal.to_owned()
                }
            );
            (actor.user, Vec::from_iter(actor.groups).join(" "))
        };
        let told = |user: &str, groups: &str| (user.to_owned(), groups.to_owned());
        assert_eq!(named(true, false, "j.kim@CORP"), told("j.kim", "design staff"));
        assert_eq!(
            named(false, false, "j.kim@CORP"),
            told("j.kim@CORP", "design staff")
        );
        assert_eq!(named(false, false, "j.kim@LAB"), told("j.kim@LAB", "staff"));
        assert_eq!(named(true, false, "J.KIM@CORP"), told("J.KIM", "staff"));
        assert_eq!(named(true, true, "J.KIM@CORP"), told("j.kim", "design staff"));
        assert_eq!(
            named(false, true, "J.KIM@CORP"),
            told("j.kim@CORP", "design staff")
        );
        assert_eq!(named(true, true, "ann/admin@CORP"), told("ann/admin", "staff"));
    }

    #[test]
    fn who_is_of_no_realm_of_ours_or_nobody_is_refused() {
        let refused = |principal: &str| principals(true, true, &["CORP"]).actor(principal).unwrap_err();
        for principal in ["j.kim@LAB", "j.kim@corp", "j.kim@CORP@LAB", "j.kim@"] {
            assert_eq!(refused(principal), Fault::Realm, "{principal}");
        }
        let long = format!("{}@CORP", "j".repeat(300));
        for principal in [
            "j.kim",
            "@CORP",
            "j.kim\\@LAB@CORP",
            "j\nkim@CORP",
            "WELLKNOWN/ANONYMOUS@CORP",
            &long,
        ] {
            assert_eq!(refused(principal), Fault::Refused, "{principal}");
        }
    }
}
