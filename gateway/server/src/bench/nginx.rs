//! nginx as a TLS reverse proxy with one worker, which forwards and does nothing else: the measure of what forwarding
//! costs by itself.
//!
//! Its upstream is the built-in provider over TLS, verified and kept alive, as Cordon's is.
//!
//! On failure: without nginx, or openssl for its certificate, its columns are empty and there are no ratios.

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{machine::Cores, provider::Provider};

const START: Duration = Duration::from_secs(10);

/// A running nginx.
pub struct Nginx {
    /// Where it listens.
    pub address: SocketAddr,
    /// The CA certificate behind it.
    pub ca_pem: String,
    /// What it calls itself.
    pub version: String,
    child: Child,
}

impl Nginx {
    /// Starts it; none when it is not installed.
    pub async fn start(folder: &Path, provider: &Provider, cores: &Cores) -> Result<Option<Self>> {
        let Ok(version) = Command::new("nginx").arg("-v").output().await else {
            return Ok(None);
        };
        let version = String::from_utf8_lossy(&version.stderr);
        let version = version.trim().rsplit('/').next().unwrap_or_default().to_owned();
        let dir = folder.join("nginx");
        std::fs::create_dir_all(&dir)?;
        std::fs::write(dir.join("provider.pem"), provider.ca_pem())?;
        certificate(&dir)
            .await
            .context("openssl makes nginx's certificate")?;
        // The port is free now, and nginx is told it; nothing else here takes ports in between.
        let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        std::fs::write(dir.join("nginx.conf"), configuration(address, provider.address))?;
        let mut child = cores
            .command(Path::new("nginx"))
            .arg("-p")
            .arg(&dir)
            .args(["-c", "nginx.conf", "-e", "error.log"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("nginx cannot be started")?;
        let until = Instant::now() + START;
        while TcpStream::connect(address).await.is_err() {
            let ended = child.try_wait()?.is_some();
            ensure!(!ended && Instant::now() < until, "nginx did not start");
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Some(Self {
            address,
            ca_pem: std::fs::read_to_string(dir.join("ca.pem"))?,
            version,
            child,
        }))
    }

    /// Its process.
    pub fn process(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }
}

/// A CA and a P-256 certificate for localhost, as Cordon's authority makes them.
async fn certificate(dir: &Path) -> Result<()> {
    let curve = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ];
    let openssl = async |arguments: &[&str]| {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(dir)
            .stdin(Stdio::null())
            .output()
            .await?;
        ensure!(
            output.status.success(),
            "openssl: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    };
    let ca = [
        "req",
        "-x509",
        "-days",
        "2",
        "-subj",
        "/CN=bench CA",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
    ];
    openssl(&[ca.as_slice(), &curve].concat()).await?;
    let leaf = [
        "req",
        "-x509",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-keyout",
        "leaf.key",
        "-out",
        "leaf.pem",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ];
    openssl(&[leaf.as_slice(), &curve].concat()).await
}

/// One process, no log, connections kept alive on both sides, bodies in memory.
fn configuration(address: SocketAddr, provider: SocketAddr) -> String {
    format!(
        "daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 60000;
pid nginx.pid;
error_log error.log crit;
events {{ worker_connections 24000; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    client_max_body_size 64m;
    client_body_buffer_size 1m;
    keepalive_requests 100000000;
    tcp_nodelay on;
    upstream provider {{
        server {provider};
        keepalive 256;
        keepalive_requests 100000000;
    }}
    server {{
        listen {address} ssl backlog=4096;
        ssl_certificate leaf.pem;
        ssl_certificate_key leaf.key;
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{
            proxy_pass https://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_set_header Host localhost;
            proxy_ssl_server_name on;
            proxy_ssl_name localhost;
            proxy_ssl_verify on;
            proxy_ssl_verify_depth 4;
            proxy_ssl_trusted_certificate provider.pem;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
            proxy_buffers 16 16k;
            proxy_buffer_size 16k;
        }}
    }}
}}
"
    )
}
