//! What is kept of an exchange, from the recorder to what opens it again; and tenants' keys in a token.

use std::{sync::Arc, time::Duration};

use cordon_audit::{
    Attachment, AuditConfig, AuditUnavailable, BlindKey, Body, CommitmentKey, Erased, Evidence, FileKeys,
    KeyFuture, Operator, Outcome, Part, Pseudonyms, Recording, Seal, SealedPart, Sealing, Store, StoreUrl,
    SubjectKey, Subjects, TenantKeyError, TenantKeys, TreeName, WrappedKey,
    kept::{self, KeptKey, Keys},
    open, oversight,
    payload::{KeptPayload, Payload},
    verify,
};
use cordon_domain::{AuditLevel, Clock, EntityType, ExchangeId, SystemClock};
use zeroize::Zeroizing;

use crate::databases::{BOTH, Kind, Place, intent_by};

pub(crate) fn sealing(keys: Arc<dyn TenantKeys>) -> Sealing {
    Sealing {
        pseudonyms: Pseudonyms::new(CommitmentKey::from_bytes([9; 32])),
        subjects: Subjects::new(keys, Arc::new(SystemClock)),
    }
}

pub(crate) fn request(text: &'static [u8]) -> Payload {
    Payload {
        part: Part::Request,
        level: AuditLevel::Full,
        text: text.into(),
        bytes: text.len() as u64,
    }
}

#[tokio::test]
async fn names_and_texts_are_on_no_disk_and_the_chain_verifies() {
    let dir = tempfile::tempdir().unwrap();
    let url = StoreUrl::embedded(dir.path());
    let keys: Arc<dyn TenantKeys> = Arc::new(FileKeys::new(&dir.path().join("keys")));
    let mut config = AuditConfig::new(dir.path().join("spool"), url.clone(), "test");
    config.sealing = Some(sealing(keys));
    let (recorder, shipping) = open(config, Arc::new(SystemClock)).await.unwrap();
    let exchange = ExchangeId::new();
    let asked = intent_by("ann.canary", exchange);
    let actor = Arc::new(asked.actor.clone());
    let large = Vec::leak("the canary of the reply ".repeat(8000).into_bytes());
    recorder
        .record(Recording::of(Body::Intent(asked)).keep(request(b"the canary of the request")))
        .await
        .unwrap();
    let reply = Payload {
        part: Part::Reply,
        ..request(large)
    };
    let seal = Seal::new(exchange, Outcome::Completed, 200);
    recorder
        .record(
            Recording::of(Body::Seal(seal))
                .of_actor(Arc::clone(&actor))
                .keep(reply),
        )
        .await
        .unwrap();
    assert_eq!(shipping.shutdown(Duration::from_secs(20)).await, 0);

    let store = Store::open(&url).await.unwrap();
    let spool = dir.path().join("spool");
    let evidence = Evidence {
        spool: Some(&spool),
        ..Evidence::default()
    };
    verify(&store, &evidence).await.unwrap();
    store.close().await;
    let mut files = vec![dir.path().to_owned()];
    let mut read = 0;
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        read += 1;
        for canary in ["the canary", actor.user.as_str()] {
            let found = bytes
                .windows(canary.len())
                .any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} in {}", path.display());
        }
    }
    assert!(read > 3);
}

#[tokio::test]
async fn either_store_keeps_what_travels_beside_records_and_forgets_a_subject_for_good() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let files: Arc<dyn TenantKeys> = Arc::new(FileKeys::new(&place.dir.path().join("keys")));
        let sealing = sealing(Arc::clone(&files));
        let reference = sealing.pseudonyms.reference("ann.canary");
        let mut config = place.config("a");
        config.sealing = Some(sealing.clone());
        let (recorder, shipping) = open(config, Arc::new(SystemClock)).await.unwrap();
        let blind = BlindKey::of(&CommitmentKey::from_bytes([9; 32]));
        let card: EntityType = "CREDIT_CARD".parse().unwrap();
        let value = |number: u64| blind.value(&card, &format!("4111 {number:08}")).unwrap();
        let exchange = ExchangeId::new();
        // More than one statement's worth.
        let values: Vec<_> = (0..123).map(|number| (card.clone(), value(number))).collect();
        let kept = Recording::of(Body::Intent(intent_by("ann.canary", exchange)))
            .keep(request(b"the text"))
            .attach(Attachment::Values(values).encode())
            .attach(b"what no version of Cordon wrote".to_vec());
        recorder.record(kept).await.unwrap();
        recorder
            .seal(Seal::new(exchange, Outcome::Completed, 200))
            .await
            .unwrap();
        assert_eq!(shipping.shutdown(Duration::from_secs(20)).await, 0, "{kind:?}");

        let store = Store::open(&place.url()).await.unwrap();
        let entry = oversight::records_of(&store, exchange).await.unwrap().remove(0);
        let sealed = kept::payloads(&store, &entry).await.unwrap().remove(0);
        let Some(KeptKey::Wrapped(wrapped)) = Keys::new(&store, None).key(sealed.key).await.unwrap() else {
            panic!("the key came in");
        };
        let key = SubjectKey::unwrap(&*files, &wrapped).await.unwrap();
        assert_eq!(key.name(&wrapped).unwrap(), "ann.canary");
        let text = cordon_audit::payload::open(&entry, &sealed, &key).unwrap();
        assert_eq!(text.as_slice(), b"the text");
        for number in [0, 122] {
            let found = kept::exchanges_with(&store, &card, value(number), 10)
                .await
                .unwrap();
            assert_eq!(found, [exchange]);
        }
        let none = kept::exchanges_with(&store, &card, value(123), 10).await.unwrap();
        assert!(none.is_empty());

        // Erased, it stays so: also for a key that was made before and comes in from another spool later.
        let now = u64::try_from(SystemClock.now().unix_timestamp_nanos() / 1_000_000).unwrap();
        let keys = Keys::new(&store, None);
        assert_eq!(
            keys.tenants_of(&reference).await.unwrap(),
            ["default"],
            "{kind:?}"
        );
        keys.may_erase().await.unwrap();
        let tenants = ["default", "emea"];
        assert_eq!(keys.erase(&tenants, &reference, now + 60_000).await.unwrap(), 1);
        let none = keys.tenants_of(&reference).await.unwrap();
        assert!(none.is_empty(), "{kind:?} {none:?}");
        let mut config = place.config("b");
        config.sealing = Some(Sealing {
            subjects: Subjects::new(Arc::clone(&files), Arc::new(SystemClock)),
            ..sealing
        });
        let (recorder, shipping) = open(config, Arc::new(SystemClock)).await.unwrap();
        let late = Recording::of(Body::Intent(intent_by("ann.canary", ExchangeId::new())));
        recorder.record(late.keep(request(b"late"))).await.unwrap();
        assert_eq!(shipping.shutdown(Duration::from_secs(20)).await, 0, "{kind:?}");
        let keys = Keys::new(&store, None).of("default", &reference).await.unwrap();
        assert_eq!(keys, vec![KeptKey::Erased(now + 60_000); 2], "{kind:?}");
        // Verifying tells what was erased from what somebody took.
        let none = Evidence::default();
        let taken = verify(&store, &none).await.unwrap_err().to_string();
        assert!(taken.contains("no erasure is on record"), "{kind:?} {taken}");
        let (recorder, shipping) = open(place.config("b"), Arc::new(SystemClock)).await.unwrap();
        let erased = Body::Erased(Erased {
            operator: Operator {
                user: "auditor".to_owned(),
                claimed: None,
            },
            subject: reference.clone(),
            tenants: Vec::new(),
            ahead: vec!["emea".to_owned(), "default".to_owned()],
            reason: "they asked".to_owned(),
            until: now + 60_000,
        });
        let recording = Recording::of(erased).in_tree(TreeName::governance());
        recorder.record(recording).await.unwrap();
        assert_eq!(shipping.shutdown(Duration::from_secs(20)).await, 0, "{kind:?}");
        let verified = verify(&store, &none).await.unwrap();
        assert_eq!((verified.sealed, verified.erased), (0, 2), "{kind:?}");
        place
            .execute("CREATE TABLE kept_payload AS SELECT * FROM audit_payload")
            .await;
        for (change, what) in [
            ("DELETE FROM audit_payload", "has lost what was kept sealed"),
            (
                "INSERT INTO audit_payload SELECT writer, 99, at, key, part, class, sealed FROM kept_payload",
                "that it does not name",
            ),
            ("DELETE FROM audit_key", "no erasure is on record"),
        ] {
            place.execute(change).await;
            let said = verify(&store, &none).await.unwrap_err().to_string();
            assert!(said.contains(what), "{kind:?} {change}: {said}");
            place
                .execute("DELETE FROM audit_payload; INSERT INTO audit_payload SELECT * FROM kept_payload")
                .await;
        }
    }
}

async fn erased(place: &Place, subject: &str, until: u64) {
    let (recorder, shipping) = open(place.config("a"), Arc::new(SystemClock)).await.unwrap();
    let erased = Body::Erased(Erased {
        operator: Operator {
            user: "auditor".to_owned(),
            claimed: None,
        },
        tenants: vec!["default".to_owned()],
        ahead: Vec::new(),
        subject: subject.to_owned(),
        reason: "they asked".to_owned(),
        until,
    });
    let recording = Recording::of(erased).in_tree(TreeName::governance());
    recorder.record(recording).await.unwrap();
    assert_eq!(shipping.shutdown(Duration::from_secs(20)).await, 0);
}

#[tokio::test]
async fn an_erasure_on_record_is_carried_out_or_verifying_says_that_it_was_not() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let sealing = sealing(Arc::new(FileKeys::new(&place.dir.path().join("keys"))));
        let reference = sealing.pseudonyms.reference("ann.canary");
        let mut config = place.config("a");
        config.sealing = Some(sealing);
        let (recorder, shipping) = open(config, Arc::new(SystemClock)).await.unwrap();
        // Nothing is kept of it but whose reference it is.
        recorder
            .intent(intent_by("ann.canary", ExchangeId::new()))
            .await
            .unwrap();
        assert_eq!(shipping.shutdown(Duration::from_secs(20)).await, 0, "{kind:?}");
        let store = Store::open(&place.url()).await.unwrap();
        let none = Evidence::default();
        verify(&store, &none).await.unwrap();
        place
            .execute("CREATE TABLE kept_key AS SELECT * FROM audit_key")
            .await;
        let now = u64::try_from(SystemClock.now().unix_timestamp_nanos() / 1_000_000).unwrap();
        erased(&place, &reference, now).await;
        let said = verify(&store, &none).await.unwrap_err().to_string();
        assert!(
            said.contains("was not carried out, or was undone"),
            "{kind:?} {said}"
        );
        // One that is being carried out meanwhile is waited for.
        let keys = Keys::new(&store, None);
        let erasing = keys.erase(&["default"], &reference, now);
        let (verified, erased) = tokio::join!(verify(&store, &none), erasing);
        verified.unwrap();
        assert_eq!(erased.unwrap(), 1);
        verify(&store, &none).await.unwrap();
        // Undone by one who kept the key: with the mark of the erasure, and without.
        let back = "DELETE FROM audit_key; INSERT INTO audit_key SELECT * FROM kept_key";
        for undo in [back, "DELETE FROM audit_erasure"] {
            place.execute(undo).await;
            let said = verify(&store, &none).await.unwrap_err().to_string();
            assert!(
                said.contains("was not carried out, or was undone"),
                "{kind:?} {said}"
            );
        }
    }
}

/// Records of before there was a key named in them, and no hash of what is sealed.
#[tokio::test]
async fn records_of_the_old_form_are_compared_by_what_they_say() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let (recorder, shipping) = open(place.config("a"), Arc::new(SystemClock)).await.unwrap();
        let (exchange, key) = (ExchangeId::new(), ExchangeId::new().as_uuid());
        let mut intent = intent_by("p-0", exchange);
        intent.payload = Some(Box::new(KeptPayload {
            part: Part::Request,
            level: AuditLevel::Full,
            bytes: 3,
            cut: false,
            commitment: "c".repeat(64),
            sealed: None,
        }));
        let part = SealedPart {
            key,
            part: Part::Request,
            sealed: vec![1, 2, 3],
        };
        let wrapped = WrappedKey {
            id: key,
            tenant: "default".to_owned(),
            subject: "p-0".to_owned(),
            created_at: 5,
            wrapped: vec![4; 60],
            name: vec![5; 60],
        };
        let recording = Recording::of(Body::Intent(intent))
            .attach(Attachment::Payload(part).encode())
            .attach(Attachment::SubjectKey(wrapped).encode());
        recorder.record(recording).await.unwrap();
        assert_eq!(shipping.shutdown(Duration::from_secs(20)).await, 0, "{kind:?}");
        let store = Store::open(&place.url()).await.unwrap();
        let none = Evidence::default();
        assert_eq!(verify(&store, &none).await.unwrap().sealed, 1);
        place
            .execute(
                "CREATE TABLE kept_payload AS SELECT * FROM audit_payload; \
                 CREATE TABLE kept_key AS SELECT * FROM audit_key",
            )
            .await;
        for (change, what) in [
            ("DELETE FROM audit_payload", "has lost what was kept sealed"),
            (
                "UPDATE audit_payload SET part = 'reply'",
                "payload part and record differ",
            ),
            (
                "UPDATE audit_payload SET at = at + 1",
                "payload time and record differ",
            ),
            ("DELETE FROM audit_key", "no erasure is on record"),
            (
                "UPDATE audit_key SET wrapped = NULL, name = NULL, erased_at = 9",
                "no erasure is on record",
            ),
            (
                "INSERT INTO audit_key SELECT '00000000-0000-0000-0000-000000000009', tenant, subject, created_at, NULL, NULL, 9 FROM audit_key",
                "key 00000000-0000-0000-0000-000000000009 of a subject was taken",
            ),
        ] {
            let change = match kind {
                Kind::Sqlite => change.to_owned(),
                Kind::Postgres => change.replace("SELECT '0", "SELECT uuid '0"),
            };
            place.execute(&change).await;
            let said = verify(&store, &none).await.unwrap_err().to_string();
            assert!(said.contains(what), "{kind:?} {change}: {said}");
            place
                .execute(
                    "DELETE FROM audit_payload; INSERT INTO audit_payload SELECT * FROM kept_payload; \
                     DELETE FROM audit_key; INSERT INTO audit_key SELECT * FROM kept_key",
                )
                .await;
        }
        verify(&store, &none).await.unwrap();
    }
}

/// A tenant's key that is away.
#[derive(Debug)]
struct Away;

impl TenantKeys for Away {
    fn wrap<'a>(&'a self, _: &'a str, _: &'a [u8; 32], _: &'a [u8]) -> KeyFuture<'a, Vec<u8>> {
        Box::pin(async { Err(TenantKeyError::TimedOut) })
    }

    fn unwrap<'a>(&'a self, _: &'a str, _: &'a [u8], _: &'a [u8]) -> KeyFuture<'a, Zeroizing<Vec<u8>>> {
        Box::pin(async { Err(TenantKeyError::TimedOut) })
    }
}

#[tokio::test]
async fn without_a_tenants_key_records_go_on_and_payloads_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = AuditConfig::new(dir.path().join("spool"), StoreUrl::embedded(dir.path()), "test");
    config.sealing = Some(sealing(Arc::new(Away)));
    let (recorder, shipping) = open(config, Arc::new(SystemClock)).await.unwrap();
    recorder
        .intent(intent_by("ann.canary", ExchangeId::new()))
        .await
        .unwrap();
    let kept = Recording::of(Body::Intent(intent_by("ann.canary", ExchangeId::new()))).keep(request(b"text"));
    assert_eq!(recorder.record(kept).await, Err(AuditUnavailable::Keys));
    shipping.shutdown(Duration::from_secs(20)).await;
}

#[cfg(feature = "pkcs11")]
mod token {
    use std::{fs, process::Command};

    use cordon_audit::{KeyToken, TokenKeys};

    use super::*;

    /// One test, as the module is the whole process's.
    #[tokio::test]
    async fn a_token_wraps_and_never_gives_its_key_out() {
        let module = [
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        ]
        .into_iter()
        .find(|module| fs::exists(module).unwrap_or_default())
        .expect("SoftHSM is installed (scripts/packages)");
        // The module reads its settings' place from the environment, which a test must not change: it says its own.
        let Some(settings) = std::env::var_os("CORDON_TEST_SOFTHSM") else {
            let dir = tempfile::tempdir().unwrap();
            let settings = dir.path().join("softhsm2.conf");
            let tokens = dir.path().join("tokens");
            fs::create_dir(&tokens).unwrap();
            let text = format!(
                "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
                tokens.display()
            );
            fs::write(&settings, text).unwrap();
            let made = Command::new("softhsm2-util")
                .args([
                    "--init-token",
                    "--free",
                    "--label",
                    "keys",
                    "--so-pin",
                    "87654321",
                    "--pin",
                    "471147",
                ])
                .env("SOFTHSM2_CONF", &settings)
                .output()
                .unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            let again = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "keys::token::a_token_wraps_and_never_gives_its_key_out",
                ])
                .env("SOFTHSM2_CONF", &settings)
                .env("CORDON_TEST_SOFTHSM", &settings)
                .output()
                .unwrap();
            assert!(
                again.status.success(),
                "{}",
                String::from_utf8_lossy(&again.stdout)
            );
            return;
        };
        assert!(fs::exists(settings).unwrap());
        let token = KeyToken {
            module: module.into(),
            token: "keys".into(),
            label: "cordon".into(),
            pin: Zeroizing::new("471147".into()),
        };
        let keys = TokenKeys::new(token.clone());
        assert!(matches!(
            keys.unwrap("default", &[2; 60], b"place").await,
            Err(TenantKeyError::NoKey(_))
        ));
        let wrapped = keys.wrap("default", &[7; 32], b"place").await.unwrap();
        let again = TokenKeys::new(token.clone());
        assert_eq!(
            again
                .unwrap("default", &wrapped, b"place")
                .await
                .unwrap()
                .as_slice(),
            [7; 32]
        );
        keys.wrap("emea", &[7; 32], b"place").await.unwrap();
        for (tenant, wrapped, place) in [
            ("default", wrapped.as_slice(), b"other".as_slice()),
            ("emea", wrapped.as_slice(), b"place"),
            ("default", &wrapped[..40], b"place"),
            ("default", &[], b"place"),
        ] {
            let opened = keys.unwrap(tenant, wrapped, place).await;
            assert!(matches!(opened, Err(TenantKeyError::NotOurs(_))), "{opened:?}");
        }
        let strange = TokenKeys::new(KeyToken {
            token: "elsewhere".into(),
            ..token
        });
        let told = strange
            .wrap("default", &[7; 32], b"")
            .await
            .unwrap_err()
            .to_string();
        assert!(told.contains("elsewhere") && !told.contains("471147"), "{told}");
    }
}
