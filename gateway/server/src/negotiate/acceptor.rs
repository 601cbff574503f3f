//! The child's side: tokens in, verdicts out, by MIT's library.
//!
//! It reads one token a line, in base64, and writes one [`Verdict`] a line, as JSON. Keytab and replay cache are named
//! by its environment, which is all of ours that it has.
//!
//! On failure: a verdict. What the library says goes no further: it names services and principals of a token.

use std::io::{BufRead, Read, Write};

use anyhow::Result;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use libgssapi::{
    context::{CtxFlags, SecurityContext, ServerCtx},
    credential::{Cred, CredUsage},
    error::{Error, MajorFlags},
    name::Name,
    oid::{GSS_MECH_KRB5, GSS_MECH_SPNEGO, GSS_NT_KRB5_PRINCIPAL, Oid, OidSet},
};

use super::{Fault, TOKEN_BYTES, Verdict};

/// Accepts tokens for a service until the input ends.
pub fn run(principal: &str, mut input: impl BufRead, mut output: impl Write) -> Result<()> {
    let mut tell = |verdict: &Verdict| -> Result<()> {
        serde_json::to_writer(&mut output, verdict)?;
        output.write_all(b"\n")?;
        Ok(output.flush()?)
    };
    let own = match credentials(principal) {
        Ok(own) => own,
        // Of the keytab, which is ours: nobody has sent anything yet.
        Err(error) => return tell(&Verdict::Unusable(error.to_string())),
    };
    tell(&Verdict::Ready)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        input
            .by_ref()
            .take(TOKEN_BYTES as u64 * 2)
            .read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        let verdict = match BASE64_STANDARD.decode(line.trim_ascii()) {
            Ok(token) => accept(&own, &token),
            Err(_) => Verdict::Refused(Fault::Malformed),
        };
        tell(&verdict)?;
    }
}

/// The service's credentials, of Kerberos bare or within SPNEGO.
fn credentials(principal: &str) -> Result<Cred, Error> {
    let name = Name::new(principal.as_bytes(), Some(GSS_NT_KRB5_PRINCIPAL))?;
    let acquire = |mechanisms: &[Oid<'_>]| {
        let mut set = OidSet::new();
        for mechanism in mechanisms {
            set.add(*mechanism)?;
        }
        Cred::acquire(Some(&name), None, CredUsage::Accept, Some(&set))
    };
    // By itself first: within SPNEGO a missing key is told as if there were no mechanism.
    acquire(&[GSS_MECH_KRB5])?;
    acquire(&[GSS_MECH_SPNEGO, GSS_MECH_KRB5])
}

fn accept(own: &Cred, token: &[u8]) -> Verdict {
    let mut handshake = ServerCtx::new(Some(own.clone()));
    let reply = match handshake.step(token, None) {
        Ok(reply) => reply,
        Err(error) => return Verdict::Refused(fault(&error)),
    };
    // Each CONNECT stands alone, so a handshake that takes more than one token never ends. NTLM's takes three.
    if !handshake.is_complete() {
        return Verdict::Refused(Fault::Mechanism);
    }
    let Ok(told) = handshake.info() else {
        return Verdict::Refused(Fault::Refused);
    };
    if told.mechanism != GSS_MECH_KRB5 {
        return Verdict::Refused(Fault::Mechanism);
    }
    if told.flags.contains(CtxFlags::GSS_C_ANON_FLAG) {
        return Verdict::Refused(Fault::Refused);
    }
    let principal = told.source_name.display_name();
    let Ok(Ok(principal)) = principal.map(|name| String::from_utf8(name.to_vec())) else {
        return Verdict::Refused(Fault::Refused);
    };
    Verdict::Accepted {
        principal,
        reply: reply.map(|reply| BASE64_STANDARD.encode(&*reply)),
    }
}

/// Why a token was refused. SPNEGO gives the numbers of Kerberos' errors others of its own, which change with every
/// run, so they are told by their words; those are English, since the locale is ours.
fn fault(error: &Error) -> Fault {
    // A code, not a set of bits, though the binding has it as one.
    let is = |code: MajorFlags| error.major.bits() & 0x00ff_0000 == code.bits();
    if is(MajorFlags::GSS_S_BAD_MECH) {
        return Fault::Mechanism;
    }
    if is(MajorFlags::GSS_S_DEFECTIVE_TOKEN) {
        return Fault::Malformed;
    }
    let words = error.to_string();
    [
        ("is a replay", Fault::Replayed),
        ("icket expired", Fault::Expired),
        ("skew too great", Fault::Clock),
        ("icket not yet valid", Fault::Clock),
        ("annot decrypt ticket", Fault::Service),
        ("rong principal", Fault::Service),
        ("o key table entry", Fault::Service),
        ("not found in keytab", Fault::Service),
        ("ey version", Fault::Service),
        ("ntegrity check failed", Fault::Service),
    ]
    .into_iter()
    .find_map(|(part, fault)| words.contains(part).then_some(fault))
    .unwrap_or(Fault::Refused)
}
