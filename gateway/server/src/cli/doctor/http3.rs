//! Whether HTTP/3 leads past the proxy from this machine: QUIC runs over UDP, which no proxy setting catches.
//!
//! A host is sent one datagram in a version of QUIC that nobody speaks. RFC 9000 (section 6) has every server answer with
//! the versions that it does speak, so an answer proves that the way is open. Silence proves little: the
//! datagram may have been lost, or the host may not speak HTTP/3.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::net::{UdpSocket, lookup_host};

/// Time for an answer; it is asked twice.
const PATIENCE: Duration = Duration::from_millis(700);
/// Servers answer no smaller datagram (RFC 9000, section 14.1).
const DATAGRAM: usize = 1200;
/// A version that is reserved for being answered like this (section 15).
const NO_VERSION: [u8; 4] = [0x1a, 0x2a, 0x3a, 0x4a];

/// What a look at a host's UDP port found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// No answer came.
    Silence,
    /// The host answered.
    Open,
}

/// Asks a host's port 443, at each of its addresses.
pub async fn look(host: &str) -> Result<Found> {
    let addresses: Vec<SocketAddr> = match lookup_host((host, 443)).await {
        Ok(addresses) => addresses.collect(),
        // Where names outside are not resolved, nobody finds the way past the proxy either.
        Err(_) => return Ok(Found::Silence),
    };
    for address in addresses {
        if ask(address).await? == Found::Open {
            return Ok(Found::Open);
        }
    }
    Ok(Found::Silence)
}

/// The check, as the report shows it.
pub async fn check(host: &str) -> Result<()> {
    match look(host).await? {
        Found::Silence => Ok(()),
        Found::Open => bail!(
            "it answers, so a browser can go round the proxy by HTTP/3; block UDP port 443 to the outside (docs/certificates.md)"
        ),
    }
}

async fn ask(address: SocketAddr) -> Result<Found> {
    let any: SocketAddr = if address.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0_u16; 8], 0).into()
    };
    let socket = UdpSocket::bind(any)
        .await
        .context("no UDP socket can be opened")?;
    // A family without a route, or a firewall that says no, is silence as well.
    if socket.connect(address).await.is_err() {
        return Ok(Found::Silence);
    }
    let mut own = [0; 8];
    getrandom::fill(&mut own).map_err(|error| anyhow::anyhow!("no random bytes: {error}"))?;
    for _ in 0..2 {
        if socket.send(&initial(own)).await.is_err() {
            return Ok(Found::Silence);
        }
        let mut answer = [0; 1500];
        if let Ok(Ok(count)) = tokio::time::timeout(PATIENCE, socket.recv(&mut answer)).await
            && is_version_negotiation(answer.get(..count).unwrap_or_default(), own)
        {
            return Ok(Found::Open);
        }
    }
    Ok(Found::Silence)
}

/// The first datagram of a connection that nobody wants.
fn initial(own: [u8; 8]) -> Vec<u8> {
    let mut datagram = vec![0xc0];
    datagram.extend(NO_VERSION);
    datagram.push(8);
    datagram.extend(own.map(|byte| !byte));
    datagram.push(8);
    datagram.extend(own);
    datagram.resize(DATAGRAM, 0);
    datagram
}

/// Whether it is the answer to [`initial`]: a long header of version 0 that names our connection.
fn is_version_negotiation(datagram: &[u8], own: [u8; 8]) -> bool {
    matches!(datagram, [first, 0, 0, 0, 0, 8, rest @ ..] if first & 0x80 != 0 && rest.starts_with(&own))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host that answers, or takes datagrams and says nothing.
    async fn host(answers: bool) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut datagram = [0; 1500];
            while let Ok((count, from)) = socket.recv_from(&mut datagram).await {
                assert_eq!(count, DATAGRAM);
                let (theirs, own) = (&datagram[6..14], &datagram[15..23]);
                let answer = [&[0x80, 0, 0, 0, 0, 8], own, &[8], theirs, &[0, 0, 0, 1]].concat();
                if answers {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn an_answer_is_told_from_silence() {
        assert_eq!(ask(host(true).await).await.unwrap(), Found::Open);
        assert_eq!(ask(host(false).await).await.unwrap(), Found::Silence);
        // A closed port answers by ICMP.
        assert_eq!(ask("127.0.0.1:9".parse().unwrap()).await.unwrap(), Found::Silence);
        assert_eq!(look("no-such-name.invalid").await.unwrap(), Found::Silence);
    }

    #[test]
    fn an_answer_to_somebody_else_is_none() {
        let own = [7; 8];
        let answer = |own: [u8; 8]| [&[0x80, 0, 0, 0, 0, 8], &own[..], &[0]].concat();
        assert!(is_version_negotiation(&answer(own), own));
        assert!(!is_version_negotiation(&answer([8; 8]), own));
        assert!(!is_version_negotiation(&initial(own), own));
        assert!(!is_version_negotiation(b"", own));
    }
}
