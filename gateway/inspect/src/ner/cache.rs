//! What texts were found to mention, by their digests.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::Mention;

/// Mentions that the cache holds in all.
const CACHED_MENTIONS: usize = 200_000;
/// Texts that the cache holds.
const CACHED_TEXTS: usize = 20_000;

/// The mentions of texts that were read before, oldest out first. It holds digests and places, no text.
#[derive(Default)]
pub(super) struct Cache {
    known: HashMap<[u8; 32], Arc<[Mention]>>,
    order: VecDeque<[u8; 32]>,
    mentions: usize,
}

impl Cache {
    pub(super) fn get(&self, key: &[u8; 32]) -> Option<Arc<[Mention]>> {
        self.known.get(key).cloned()
    }

    pub(super) fn put(&mut self, key: [u8; 32], mentions: Arc<[Mention]>) {
        self.mentions += mentions.len();
        if let Some(old) = self.known.insert(key, mentions) {
            self.mentions -= old.len();
        } else {
            self.order.push_back(key);
        }
        while self.mentions > CACHED_MENTIONS || self.order.len() > CACHED_TEXTS {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            if let Some(old) = self.known.remove(&oldest) {
                self.mentions -= old.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_cache_forgets_the_oldest() {
        let mut cache = Cache::default();
        let key = |n: usize| <[u8; 32]>::from(Sha256::digest(n.to_string()));
        for n in 0..=CACHED_TEXTS {
            cache.put(key(n), Arc::new([]));
        }
        assert!(cache.get(&key(0)).is_none());
        assert!(cache.get(&key(CACHED_TEXTS)).is_some());
    }
}
