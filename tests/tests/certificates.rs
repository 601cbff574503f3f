//! Providers whose certificates are not what they must be: each is refused before anything is sent, the caller is
//! told what is wrong in plain words, and the record says it by a code.

use std::{fmt::Write as _, fs, net::SocketAddr, sync::atomic::Ordering};

use cordon_tests::{
    caller::{Caller, Door, Reply},
    cordon::{Cordon, Home, OnPrem, POLICY_REQUESTED, Plan},
    providers::{Issued, NO_MODELS, Server, WeakServer, authority, leaf, revoking},
    replies::Talk,
    upstream::{Answer, Upstream},
};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, NameConstraints,
    SerialNumber, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// One row of the matrix: host, what is shown under it, and the code that it is refused by.
struct Row {
    host: String,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    code: &'static str,
    words: &'static str,
}

fn host(name: &str) -> String {
    format!("{name}.api.openai.com")
}

/// An installation with one provider a host, all on loopback, that trusts `root` and no other of the tests' roots.
fn home(root: &str, providers: &[(String, SocketAddr)], intercept: &str, on_prem: &Upstream) -> Home {
    let home = Home::new(&Plan {
        policy: Some(POLICY_REQUESTED.to_owned()),
        ..Plan::on(OnPrem::StandIn(on_prem))
    });
    home.write("roots.pem", root);
    let mut config = fs::read_to_string(home.path().join("cordon.yaml")).expect("the files are there");
    config = config.replace(
        "intercept:\n",
        &format!("intercept:\n  extra_roots: [roots.pem]\n{intercept}"),
    );
    config.push_str("upstreams:\n");
    // The policy of these tests names the two.
    config.push_str("  openai: { kind: cloud, hosts: [api.openai.com] }\n");
    config.push_str("  anthropic: { kind: cloud, hosts: [api.anthropic.com] }\n");
    for (number, (host, address)) in providers.iter().enumerate() {
        let _ = writeln!(
            config,
            "  provider-{number}: {{ kind: cloud, hosts: [{host}], address: '{address}', dialects: [openai-chat] }}"
        );
    }
    home.write("cordon.yaml", &config);
    home
}

async fn models(cordon: &Cordon, key: &str, host: &str, accept: &str) -> Reply {
    let caller = Caller::new(cordon, Door::Proxy, key);
    let mut line = caller
        .line(host, false)
        .await
        .expect("Cordon takes the connection up");
    line.send("GET", "/v1/models", &[("accept", accept)])
        .await
        .expect("Cordon answers")
}

fn matrix(root: &Issued, lapsed: &Issued) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut row =
        |name: &str, above: &[&Issued], params: CertificateParams, by: Option<&Issued>, code, words| {
            let own = Issued::of(params, by);
            let mut chain = vec![own.der.clone()];
            chain.extend(above.iter().map(|above| above.der.clone()));
            rows.push(Row {
                host: host(name),
                chain,
                key: own.key(),
                code,
                words,
            });
        };
    let mut params = leaf(&host("expired"));
    params.not_after = date_time_ymd(2024, 1, 1);
    row(
        "expired",
        &[],
        params,
        Some(root),
        "cordon_certificate_expired",
        "expired",
    );

    let mut params = leaf(&host("early"));
    params.not_before = date_time_ymd(2100, 1, 1);
    row(
        "early",
        &[],
        params,
        Some(root),
        "cordon_certificate_not_yet_valid",
        "not valid yet",
    );

    let params = leaf("elsewhere.example");
    row(
        "other",
        &[],
        params,
        Some(root),
        "cordon_certificate_wrong_host",
        "other hosts",
    );

    row(
        "self",
        &[],
        leaf(&host("self")),
        None,
        "cordon_certificate_self_signed",
        "vouches for itself",
    );
    // As `openssl req -x509` makes them: an authority of its own.
    let mut params = leaf(&host("self-authority"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    row(
        "self-authority",
        &[],
        params,
        None,
        "cordon_certificate_self_signed",
        "vouches for itself",
    );

    let stranger = Issued::of(authority("Nobody's root"), None);
    let under = Issued::of(authority("Nobody's intermediate"), Some(&stranger));
    row(
        "unknown",
        &[&under],
        leaf(&host("unknown")),
        Some(&under),
        "cordon_certificate_unknown_authority",
        "does not trust",
    );

    let mut params = leaf(&host("usage"));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    row(
        "usage",
        &[],
        params,
        Some(root),
        "cordon_certificate_wrong_usage",
        "not one for servers",
    );

    let mut params = authority("Constrained");
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("corp.example".into())],
        excluded_subtrees: Vec::new(),
    });
    let constrained = Issued::of(params, Some(root));
    row(
        "constrained",
        &[&constrained],
        leaf(&host("constrained")),
        Some(&constrained),
        "cordon_certificate_name_not_permitted",
        "may not vouch",
    );

    let between = Issued::of(authority("Left out"), Some(root));
    row(
        "incomplete",
        &[],
        leaf(&host("incomplete")),
        Some(&between),
        "cordon_certificate_incomplete_chain",
        "leave out",
    );

    let mut params = leaf("some.example");
    params.is_ca = IsCa::ExplicitNoCa;
    let no_authority = Issued::of(params, Some(root));
    row(
        "no-authority",
        &[&no_authority],
        leaf(&host("no-authority")),
        Some(&no_authority),
        "cordon_certificate_issuer_not_authority",
        "no certificate authority",
    );

    let mut params = leaf(&host("revoked"));
    params.serial_number = Some(SerialNumber::from(4711_u64));
    row(
        "revoked",
        &[],
        params,
        Some(root),
        "cordon_certificate_revoked",
        "revoked",
    );

    row(
        "stale-list",
        &[lapsed],
        leaf(&host("stale-list")),
        Some(lapsed),
        "cordon_certificate_revocation_list",
        "revocation list",
    );
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_certificates_are_refused_with_their_cause_and_recorded() {
    let root = Issued::of(authority("Tests' root"), None);
    let lapsed = Issued::of(authority("With a stale list"), Some(&root));
    let on_prem = Upstream::in_place_of_engine().await;
    let mut rows = Vec::new();
    let mut servers = Vec::new();
    let mut providers = Vec::new();
    for row in matrix(&root, &lapsed) {
        let server = Server::showing(row.chain, row.key).await;
        providers.push((row.host.clone(), server.address));
        servers.push(server);
        rows.push((row.host, row.code, row.words));
    }
    let folder = tempfile::tempdir().expect("the files are there");
    let weak = WeakServer::start(folder.path(), &host("weak"), &root);
    providers.push((host("weak"), weak.address));
    rows.push((host("weak"), "cordon_certificate_weak", "too weak"));
    let good = Issued::of(leaf(&host("good")), Some(&root));
    let good_server = Server::showing(vec![good.der.clone()], good.key()).await;
    providers.push((host("good"), good_server.address));

    let home = home(&root.pem, &providers, "  crls: [crls]\n", &on_prem);
    fs::create_dir(home.path().join("crls")).expect("the files are there");
    home.write(
        "crls/root.pem",
        &revoking(&root, &[SerialNumber::from(4711_u64)], false),
    );
    home.write("crls/lapsed.pem", &revoking(&lapsed, &[], true));
    assert!(home.run(&["check"]).stdout.ends_with(b"ok\n"));
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;

    let reply = models(&cordon, &key, &host("good"), "application/json").await;
    assert_eq!(
        (reply.status.as_u16(), reply.text().contains("list")),
        (200, true),
        "{}",
        reply.text()
    );
    // Nobody is led past Cordon by HTTP/3.
    assert_eq!(reply.header("alt-svc"), "clear");

    for (host, code, words) in &rows {
        let reply = models(&cordon, &key, host, "application/json").await;
        assert_eq!(reply.status.as_u16(), 502, "{host}: {}", reply.text());
        let message = reply.refusal(Talk::Chat);
        assert_eq!(reply.json()["error"]["code"], *code, "{host}: {message}");
        assert!(
            message.contains(words) && !message.contains("switch"),
            "{host}: {message}"
        );
        let record = home.record(reply.exchange()).await;
        assert_eq!(
            record["closing"]["body"]["outcome"], "upstream_failed",
            "{record}"
        );
        assert_eq!(record["closing"]["body"]["code"], *code, "{record}");

        let page = models(&cordon, &key, host, "text/html,application/xhtml+xml,*/*;q=0.8").await;
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{host}");
        let html = page.text();
        assert!(
            html.contains(words) && html.contains(code) && html.contains(page.exchange()),
            "{html}"
        );
    }
    for server in &servers {
        assert_eq!(
            server.asked.load(Ordering::SeqCst),
            0,
            "a request went to a server that was refused"
        );
    }
    assert_eq!(good_server.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_changes_counts_at_once_on_open_connections_too() {
    let root = Issued::of(authority("Tests' root"), None);
    let mut params = leaf(&host("good"));
    params.serial_number = Some(SerialNumber::from(99_u64));
    let good = Issued::of(params, Some(&root));
    let server = Server::showing(vec![good.der.clone()], good.key()).await;
    let on_prem = Upstream::in_place_of_engine().await;
    let home = home(
        &root.pem,
        &[(host("good"), server.address)],
        "  crls: [list.pem]\n  crl_unknown: refuse\n",
        &on_prem,
    );
    home.write("list.pem", &revoking(&root, &[], false));
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let asked = async || models(&cordon, &key, &host("good"), "*/*").await.status.as_u16();
    assert_eq!(asked().await, 200);

    // What is no list leaves the old one in force, and `cordon check` names it.
    home.write(
        "list.pem",
        "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
    );
    let checked = home.try_run(&["check"]);
    assert_eq!(checked.status.code(), Some(1));
    let told = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        told.contains("intercept.crls") && told.contains("list.pem"),
        "{told}"
    );
    cordon
        .admin_until("/metrics", |page| {
            page.text()
                .contains("cordon_reloads_total{outcome=\"refused\"} 1\n")
        })
        .await;
    assert_eq!(asked().await, 200);

    home.write("list.pem", &revoking(&root, &[SerialNumber::from(99_u64)], false));
    cordon
        .admin_until("/metrics", |page| {
            page.text().contains("cordon_reloads_total{outcome=\"done\"} 1\n")
        })
        .await;
    let reply = models(&cordon, &key, &host("good"), "*/*").await;
    assert_eq!(
        reply.json()["error"]["code"],
        "cordon_certificate_revoked",
        "{}",
        reply.text()
    );

    // A list of somebody else's says nothing of this certificate, and the configuration asks for one that does.
    let other = Issued::of(authority("Another"), None);
    home.write("list.pem", &revoking(&other, &[], false));
    cordon
        .admin_until("/metrics", |page| {
            page.text().contains("cordon_reloads_total{outcome=\"done\"} 2\n")
        })
        .await;
    let reply = models(&cordon, &key, &host("good"), "*/*").await;
    assert_eq!(
        reply.json()["error"]["code"],
        "cordon_certificate_revocation_unknown",
        "{}",
        reply.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clouds_name_that_leads_inside_is_refused_unless_configured() {
    let cloud = Upstream::behind_tls().await;
    cloud.answer(|_| Answer::new(200, "application/json", NO_MODELS));
    let on_prem = Upstream::in_place_of_engine().await;
    let home = home(cloud.ca_pem(), &[], "", &on_prem);
    let mut config = fs::read_to_string(home.path().join("cordon.yaml")).expect("the files are there");
    for (name, further) in [("inside", ""), ("allowed", ", allow_private: true")] {
        let (host, url) = (host(name), cloud.url());
        let _ = writeln!(
            config,
            "  {name}: {{ kind: cloud, hosts: [{host}], url: '{url}', dialects: [openai-chat]{further} }}"
        );
    }
    home.write("cordon.yaml", &config);
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;

    let reply = models(&cordon, &key, &host("inside"), "*/*").await;
    assert_eq!(
        reply.json()["error"]["code"],
        "cordon_upstream_private_address",
        "{}",
        reply.text()
    );
    let record = home.record(reply.exchange()).await;
    assert_eq!(
        record["closing"]["body"]["code"],
        "cordon_upstream_private_address"
    );
    assert!(cloud.seen().is_empty());

    let reply = models(&cordon, &key, &host("allowed"), "*/*").await;
    assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_offered_what_the_origin_speaks() {
    let on_prem = Upstream::in_place_of_engine().await;
    for (http2, cloud) in [
        (false, Upstream::behind_tls_http1().await),
        (true, Upstream::behind_tls().await),
    ] {
        cloud.answer(|_| Answer::new(200, "application/json", NO_MODELS));
        let home = Home::new(&Plan::with_cloud(OnPrem::StandIn(&on_prem), &cloud));
        let key = home.key("ann", "staff");
        let cordon = home.serve().await;
        let caller = Caller::new(&cordon, Door::Proxy, &key);
        let chosen = async || {
            let stream = caller
                .open("api.openai.com", &["h2", "http/1.1"])
                .await
                .expect("the files are there");
            stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)
        };
        assert_eq!(
            chosen().await.as_deref(),
            Some(&b"h2"[..]),
            "nothing is known of the origin yet"
        );
        let reply = models(&cordon, &key, "api.openai.com", "*/*").await;
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
        let expected = if http2 { &b"h2"[..] } else { &b"http/1.1"[..] };
        assert_eq!(chosen().await.as_deref(), Some(expected));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_of_http2_alone_answers_callers_of_both_kinds() {
    let root = Issued::of(authority("Tests' root"), None);
    let own = Issued::of(leaf(&host("new")), Some(&root));
    let server = Server::of_http2(vec![own.der.clone()], own.key()).await;
    let on_prem = Upstream::in_place_of_engine().await;
    let home = home(&root.pem, &[(host("new"), server.address)], "", &on_prem);
    let key = home.key("ann", "staff");
    let cordon = home.serve().await;
    let caller = Caller::new(&cordon, Door::Proxy, &key);
    for http2 in [true, false, true] {
        let mut line = caller
            .line(&host("new"), http2)
            .await
            .expect("Cordon takes the connection up");
        let reply = line.send("GET", "/v1/models", &[]).await.expect("Cordon answers");
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text());
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 3);
}
