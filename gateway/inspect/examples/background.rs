//! Writes the background that is part of the program; `scripts/background.py` runs it.
//!
//! Standard input: lines `whole|shared TAB package TAB path`. Of `whole` files every print counts, of `shared` ones those
//! that at least two packages have.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    error::Error,
    fs,
    io::stdin,
};

use cordon_inspect::{fingerprint::public_prints, normalise};

/// Packages that must share a print.
const SHARED_BY: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let out = std::env::args().nth(1).ok_or("name the file to write")?;
    let mut public: BTreeSet<u32> = BTreeSet::new();
    let mut packages: HashMap<u32, HashSet<String>> = HashMap::new();
    for line in stdin().lines() {
        let line = line?;
        let mut parts = line.splitn(3, '\t');
        let (Some(kind), Some(package), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
        for print in public_prints(normalise(&text).text()) {
            if kind == "whole" {
                public.insert(print);
            } else {
                packages.entry(print).or_default().insert(package.to_owned());
            }
        }
    }
    let shared = packages
        .into_iter()
        .filter(|(_, packages)| packages.len() >= SHARED_BY);
    public.extend(shared.map(|(print, _)| print));
    let bytes: Vec<u8> = public.iter().flat_map(|print| print.to_le_bytes()).collect();
    fs::write(out, bytes)?;
    Ok(())
}
