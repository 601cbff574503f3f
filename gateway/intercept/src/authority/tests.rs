use std::sync::{Barrier, Mutex};

use cordon_domain::SystemClock;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::*;

struct HeldClock(Mutex<OffsetDateTime>);

impl HeldClock {
    fn at(now: OffsetDateTime) -> Arc<Self> {
        Arc::new(Self(Mutex::new(now)))
    }

    fn advance(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for HeldClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap()
    }
}

fn scope(hosts: &[&str]) -> Scope {
    Scope {
        hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
        gateway_names: vec!["gw.corp.example".into(), "192.0.2.7".into()],
        token: None,
    }
}

fn made(hosts: &[&str]) -> (tempfile::TempDir, Authority) {
    let dir = tempfile::tempdir().unwrap();
    Authority::init(dir.path(), scope(hosts), &SystemClock).unwrap();
    let authority = Authority::load(dir.path(), scope(hosts), Arc::new(SystemClock)).unwrap();
    (dir, authority)
}

fn verify(
    authority: &Authority,
    leaf: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    name: &str,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.root_pem().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
        .build()
        .unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier
        .verify_server_cert(leaf, chain, &name, &[], UnixTime::now())
        .map(|_| ())
}

#[test]
fn a_leaf_verifies_and_is_what_it_should_be() {
    let (_dir, authority) = made(&["api.openai.com"]);
    let leaf = authority.leaf("API.openai.com.").unwrap();
    verify(
        &authority,
        leaf.certificate(),
        leaf.intermediates(),
        "api.openai.com",
    )
    .unwrap();

    let (_, parsed) = X509Certificate::from_der(leaf.certificate()).unwrap();
    let life = parsed.validity().not_after.timestamp() - parsed.validity().not_before.timestamp();
    assert_eq!(life, 24 * 3600);
    let age = OffsetDateTime::now_utc().unix_timestamp() - parsed.validity().not_before.timestamp();
    assert!((3600..3660).contains(&age));
    let oids: Vec<String> = parsed
        .extensions()
        .iter()
        .map(|extension| extension.oid.to_id_string())
        .collect();
    for (oid, what) in [
        ("2.5.29.35", "AKI"),
        ("2.5.29.14", "SKI"),
        ("2.5.29.17", "SAN"),
        ("2.5.29.15", "key usage"),
    ] {
        assert!(oids.iter().any(|found| found == oid), "{what}");
    }
    let usage = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth && !usage.any);
    let names = &parsed
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names;
    assert_eq!(names.len(), 1);
    assert!(!parsed.is_ca());
    // Its key is its own, not the intermediate's.
    let [intermediate] = leaf.intermediates() else {
        panic!("one intermediate is sent")
    };
    let (_, issuer) = X509Certificate::from_der(intermediate).unwrap();
    assert_ne!(parsed.public_key().raw, issuer.public_key().raw);
}

#[test]
fn the_intermediate_is_constrained_and_short() {
    let (_dir, authority) = made(&["api.openai.com", "api.anthropic.com"]);
    let leaf = authority.leaf("api.openai.com").unwrap();
    let (_, intermediate) = X509Certificate::from_der(&leaf.intermediates()[0]).unwrap();
    let constraints = intermediate.name_constraints().unwrap().unwrap();
    assert!(constraints.critical);
    assert_eq!(constraints.value.permitted_subtrees.as_ref().unwrap().len(), 2);
    assert_eq!(constraints.value.excluded_subtrees.as_ref().unwrap().len(), 2);
    let basic = intermediate.basic_constraints().unwrap().unwrap().value;
    assert!(basic.ca && basic.path_len_constraint == Some(0));
}

/// A thief of the intermediate's key signs for another site: verifiers refuse the leaf.
#[test]
fn a_leaf_off_the_list_does_not_verify() {
    let (dir, authority) = made(&["api.openai.com"]);
    let files = Files::of(dir.path());
    for (pem, key, name) in [
        (&files.intermediate, &files.intermediate_key, "bank.example"),
        (&files.intermediate, &files.intermediate_key, "openai.com"),
        (&files.intermediate, &files.intermediate_key, "10.0.0.1"),
        (&files.intermediate, &files.intermediate_key, "::1"),
        (&files.gateway, &files.gateway_key, "api.openai.com"),
        (&files.gateway, &files.gateway_key, "192.0.2.8"),
    ] {
        let stolen = KeyPair::from_pem(&std::fs::read_to_string(key).unwrap()).unwrap();
        let pem = std::fs::read_to_string(pem).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&pem, stolen).unwrap();
        let own = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.use_authority_key_identifier_extension = true;
        params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
        params.not_after = OffsetDateTime::now_utc() + Duration::hours(1);
        let forged = params.signed_by(&own, &issuer).unwrap();
        let chain = [CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
        let error = verify(&authority, forged.der(), &chain, name).unwrap_err();
        assert!(
            format!("{error:?}").contains("NameConstraintViolation"),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn subdomains_are_permitted_and_neighbours_are_not() {
    let (_dir, authority) = made(&["api.openai.com"]);
    let leaf = authority.leaf("eu.api.openai.com").unwrap();
    verify(
        &authority,
        leaf.certificate(),
        leaf.intermediates(),
        "eu.api.openai.com",
    )
    .unwrap();
    for other in [
        "openai.com",
        "evilapi.openai.com",
        "10.0.0.1",
        "gw.corp.example",
        "not a host",
    ] {
        assert!(!authority.permits(other), "{other}");
    }
    assert!(matches!(
        authority.leaf("bank.example"),
        Err(AuthorityError::HostNotPermitted { host }) if host == "bank.example"
    ));
}

#[test]
fn the_gateway_leaf_covers_its_names_and_addresses() {
    let (_dir, authority) = made(&["api.openai.com"]);
    let leaf = authority.gateway_leaf().unwrap();
    for name in [
        "localhost",
        "127.0.0.1",
        "::1",
        "gw.corp.example",
        "192.0.2.7",
        "cordon.internal",
    ] {
        verify(&authority, leaf.certificate(), leaf.intermediates(), name).unwrap();
    }
}

#[test]
fn loading_needs_no_root_key_and_names_a_host_off_the_list() {
    let (dir, _) = made(&["api.openai.com"]);
    std::fs::remove_file(Files::of(dir.path()).root_key).unwrap();
    Authority::load(dir.path(), scope(&["api.openai.com"]), Arc::new(SystemClock)).unwrap();
    let error = Authority::load(
        dir.path(),
        scope(&["api.openai.com", "api.groq.com"]),
        Arc::new(SystemClock),
    )
    .unwrap_err();
    assert!(error.to_string().contains("api.groq.com"), "{error}");
    let mut more = scope(&["api.openai.com"]);
    more.gateway_names.push("other.corp.example".into());
    let error = Authority::load(dir.path(), more, Arc::new(SystemClock)).unwrap_err();
    assert!(error.to_string().contains("other.corp.example"), "{error}");
}

#[test]
fn rotating_changes_the_list_under_the_same_root() {
    let (dir, before) = made(&["api.openai.com"]);
    let files = Files::of(dir.path());
    let away = tempfile::tempdir().unwrap();
    let key = away.path().join("root.key");
    std::fs::rename(&files.root_key, &key).unwrap();
    let wider = scope(&["api.openai.com", "api.groq.com"]);
    Authority::rotate(dir.path(), &key, &wider, &SystemClock).unwrap();
    let after = Authority::load(dir.path(), &wider, Arc::new(SystemClock)).unwrap();
    assert_eq!(after.root_pem(), before.root_pem());
    let leaf = after.leaf("api.groq.com").unwrap();
    verify(&before, leaf.certificate(), leaf.intermediates(), "api.groq.com").unwrap();

    // The key of another root makes no intermediate of ours.
    let (other, _) = made(&["api.openai.com"]);
    let error = Authority::rotate(
        dir.path(),
        &Files::of(other.path()).root_key,
        &wider,
        &SystemClock,
    )
    .unwrap_err();
    assert!(matches!(error, AuthorityError::KeyMismatch(_)));
}

#[cfg(unix)]
#[test]
fn keys_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;

    let (dir, _) = made(&["api.openai.com"]);
    let files = Files::of(dir.path());
    for key in [&files.root_key, &files.intermediate_key, &files.gateway_key] {
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 6);
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;

    let (dir, _) = made(&["api.openai.com"]);
    let files = Files::of(dir.path());
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let load = || Authority::load(dir.path(), scope(&["api.openai.com"]), Arc::new(SystemClock));
    for key in [&files.intermediate_key, &files.gateway_key] {
        for mode in [0o604, 0o644, 0o660, 0o666] {
            set(key, mode);
            let error = load().unwrap_err();
            assert!(
                matches!(error, AuthorityError::Exposed { mode: said, .. } if said == mode),
                "{error}"
            );
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        set(key, 0o400);
        load().unwrap();
    }
    set(&files.root_key, 0o644);
    let rotated = Authority::rotate(
        dir.path(),
        &files.root_key,
        scope(&["api.openai.com"]),
        &SystemClock,
    );
    assert!(matches!(rotated, Err(AuthorityError::Exposed { .. })));
    for (mode, used) in [(0o777, false), (0o770, false), (0o755, true), (0o1777, true)] {
        set(dir.path(), mode);
        assert_eq!(load().is_ok(), used, "{mode:o}");
    }
}

#[test]
fn the_ends_of_its_certificates_are_known_and_those_that_are_due_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let clock = HeldClock::at(OffsetDateTime::now_utc());
    let hosts = scope(&["api.openai.com"]);
    Authority::init(dir.path(), &hosts, &*clock).unwrap();
    let authority = Authority::load(dir.path(), &hosts, Arc::clone(&clock) as _).unwrap();
    let due = || -> Vec<&str> { authority.due().into_iter().map(|(which, _)| which).collect() };
    assert!(due().is_empty());
    clock.advance(INTERMEDIATE_LIFE - ROTATE_AHEAD + Duration::days(1));
    assert_eq!(due(), ["interception", "gateway"]);
    clock.advance(ROOT_LIFE - INTERMEDIATE_LIFE - Duration::days(100));
    assert_eq!(due(), ["root", "interception", "gateway"]);
}

#[test]
fn an_authority_is_never_overwritten_and_never_unconstrained() {
    let (dir, _) = made(&["api.openai.com"]);
    assert!(matches!(
        Authority::init(dir.path(), scope(&["api.openai.com"]), &SystemClock),
        Err(AuthorityError::AlreadyThere(_))
    ));
    let empty = tempfile::tempdir().unwrap();
    let init = |hosts: &[&str]| Authority::init(empty.path(), scope(hosts), &SystemClock).unwrap_err();
    assert!(matches!(init(&[]), AuthorityError::NoHosts));
    for bad in ["com", "*.openai.com", "10.0.0.1", "", "a b.com"] {
        assert!(matches!(init(&[bad]), AuthorityError::BadName(_)), "{bad}");
    }
    // A root in the intermediate's place is a CA without constraints.
    let files = Files::of(dir.path());
    std::fs::copy(&files.root, &files.intermediate).unwrap();
    std::fs::copy(&files.root_key, &files.intermediate_key).unwrap();
    let error = Authority::load(dir.path(), scope(&["api.openai.com"]), Arc::new(SystemClock)).unwrap_err();
    assert!(matches!(error, AuthorityError::Unconstrained(_)), "{error}");
}

#[test]
fn mixed_up_files_are_found_at_load() {
    let (dir, _) = made(&["api.openai.com"]);
    let (other, _) = made(&["api.openai.com"]);
    let (files, others) = (Files::of(dir.path()), Files::of(other.path()));
    let load = || Authority::load(dir.path(), scope(&["api.openai.com"]), Arc::new(SystemClock)).unwrap_err();
    std::fs::copy(&others.intermediate_key, &files.intermediate_key).unwrap();
    assert!(matches!(load(), AuthorityError::KeyMismatch(_)));
    std::fs::copy(&others.intermediate, &files.intermediate).unwrap();
    assert!(matches!(load(), AuthorityError::Unproven { .. }));
    std::fs::write(&files.intermediate, "not pem").unwrap();
    assert!(matches!(load(), AuthorityError::Format { .. }));
    std::fs::remove_file(&files.intermediate).unwrap();
    assert!(matches!(load(), AuthorityError::Read { .. }));
}

#[test]
fn many_who_ask_at_once_get_one_leaf() {
    let (_dir, authority) = made(&["api.openai.com"]);
    let before = authority.minted();
    let barrier = Barrier::new(32);
    let leaves: Vec<_> = std::thread::scope(|threads| {
        let asked: Vec<_> = (0..32)
            .map(|_| {
                threads.spawn(|| {
                    barrier.wait();
                    authority.leaf("one.api.openai.com").unwrap()
                })
            })
            .collect();
        asked.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(authority.minted() - before, 1);
    assert!(leaves.iter().all(|leaf| Arc::ptr_eq(leaf, &leaves[0])));
}

#[test]
fn leaves_are_bounded_and_the_recently_used_stay() {
    let leaves = Leaves::new(2);
    let (_dir, authority) = made(&["api.openai.com"]);
    let now = OffsetDateTime::now_utc();
    let take = |name: &str| {
        leaves
            .take(name, now, |now| authority.interception.mint(name, &[name], now))
            .unwrap()
    };
    let first = take("a.api.openai.com");
    take("b.api.openai.com");
    take("a.api.openai.com");
    take("c.api.openai.com");
    assert_eq!((leaves.len(), leaves.minted()), (2, 3));
    assert!(Arc::ptr_eq(&first, &take("a.api.openai.com")));
}

#[test]
fn a_failed_mint_is_tried_again() {
    let leaves = Leaves::new(2);
    let now = OffsetDateTime::now_utc();
    let fail = |_| Err(AuthorityError::NoHosts);
    assert!(leaves.take("a", now, fail).is_err());
    assert_eq!(leaves.len(), 0);
}

#[test]
fn leaves_are_renewed_long_before_they_expire_and_never_outlive_their_intermediate() {
    let dir = tempfile::tempdir().unwrap();
    let clock = HeldClock::at(OffsetDateTime::now_utc());
    let hosts = scope(&["api.openai.com"]);
    Authority::init(dir.path(), &hosts, &*clock).unwrap();
    let held: Arc<dyn Clock> = Arc::clone(&clock) as _;
    let authority = Authority::load(dir.path(), &hosts, Arc::clone(&held)).unwrap();
    let first = authority.leaf("api.openai.com").unwrap();
    clock.advance(Duration::hours(11));
    assert!(Arc::ptr_eq(&first, &authority.leaf("api.openai.com").unwrap()));
    clock.advance(Duration::hours(1));
    let second = authority.leaf("api.openai.com").unwrap();
    assert!(!Arc::ptr_eq(&first, &second) && first.not_after() > clock.now() + Duration::hours(10));

    clock.advance(Duration::days(729));
    assert_eq!(
        authority.leaf("api.openai.com").unwrap().not_after(),
        authority.expires()
    );
    clock.advance(Duration::days(2));
    let error = Authority::load(dir.path(), &hosts, held).unwrap_err();
    assert!(matches!(error, AuthorityError::Expired { .. }), "{error}");
}
