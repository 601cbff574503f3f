//! The tree against the vectors of RFC 6962's own implementation, and against two implementations by others.

use ct_merkle::{ConsistencyProof, InclusionProof, RootHash, mem_backed_tree::MemoryBackedTree};
use proptest::prelude::*;
use sha2::Sha256;
use tlog_tiles::tlog;

use super::*;

/// The leaves of Certificate Transparency's reference tests.
const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// A whole tree of ours, kept as a store keeps it: the leaves' hashes, and those of complete blocks.
#[derive(Default)]
struct Kept {
    frontier: Frontier,
    leaves: Vec<Hash>,
    blocks: Vec<Hash>,
}

impl Kept {
    fn of(leaves: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut kept = Self::default();
        for leaf in leaves {
            kept.push(&leaf);
        }
        kept
    }

    fn push(&mut self, leaf: &[u8]) {
        let hash = leaf_hash(leaf);
        self.leaves.push(hash);
        self.blocks.extend(self.frontier.append(hash));
    }

    /// As a store answers: from blocks where the subtree is as large as one.
    fn hash_of(&self, subtree: Subtree) -> Result<Hash, TreeError> {
        let (from, range) = match subtree.blocks() {
            Some(blocks) => (&self.blocks, blocks),
            None => (&self.leaves, subtree.leaves()),
        };
        complete_root(&from[range.start as usize..range.end as usize]).ok_or(TreeError::NotAHash)
    }

    fn inclusion(&self, index: u64, size: u64) -> Vec<Hash> {
        let plan = Plan::inclusion(index, size).unwrap();
        plan.path(|subtree| self.hash_of(subtree)).unwrap()
    }

    fn consistency(&self, old: u64, size: u64) -> Vec<Hash> {
        let plan = Plan::consistency(old, size).unwrap();
        plan.path(|subtree| self.hash_of(subtree)).unwrap()
    }

    fn root(&self, size: u64) -> Hash {
        let (blocks, rest) = (size / BLOCK, size / BLOCK * BLOCK);
        Frontier::resume(
            self.blocks[..blocks as usize].iter().copied(),
            self.leaves[rest as usize..size as usize].iter().copied(),
        )
        .root()
    }
}

/// The same tree by Cloudflare's `tlog_tiles`.
#[derive(Default)]
struct Tiles(Vec<tlog::Hash>);

impl tlog::HashReader for &Tiles {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
    }
}

impl Tiles {
    fn push(&mut self, index: u64, leaf: &[u8]) {
        let hashes = tlog::stored_hashes(index, leaf, &&*self).unwrap();
        self.0.extend(hashes);
    }
}

fn theirs(hash: Hash) -> tlog::Hash {
    tlog::Hash(*hash.as_bytes())
}

fn ours(hashes: &[tlog::Hash]) -> Vec<Hash> {
    hashes.iter().map(|hash| Hash::from_bytes(hash.0)).collect()
}

fn bytes(path: &[Hash]) -> Vec<u8> {
    path.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

fn leaf(index: u64) -> Vec<u8> {
    format!("leaf {index}").into_bytes()
}

fn ct_root(root: Hash, size: u64) -> RootHash<Sha256> {
    RootHash::new((*root.as_bytes()).into(), size)
}

#[test]
fn the_vectors_of_certificate_transparency() {
    assert_eq!(
        empty_root().to_string(),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    let kept = Kept::of(LEAVES.iter().map(|leaf| hex::decode(leaf).unwrap()));
    for (size, root) in (1..).zip(ROOTS) {
        assert_eq!(kept.root(size).to_string(), root);
    }
    let path = |hashes: &[&str]| -> Vec<Hash> {
        let bytes = |hash: &&str| hex::decode(hash).unwrap();
        hashes
            .iter()
            .map(|hash| bytes(hash).as_slice().try_into().unwrap())
            .collect()
    };
    assert_eq!(
        kept.inclusion(5, 8),
        path(&[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ])
    );
    assert_eq!(
        kept.consistency(2, 5),
        path(&[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ])
    );
    assert_eq!(
        kept.consistency(6, 8),
        path(&[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ])
    );
}

/// Roots of every size, and proofs from and to some, are those of both others, and each takes the other's.
#[test]
fn every_size_to_600_agrees_with_two_other_implementations() {
    let (mut kept, mut tiles) = (Kept::default(), Tiles::default());
    let mut tree: MemoryBackedTree<Sha256, Vec<u8>> = MemoryBackedTree::new();
    for size in 1..=600u64 {
        let index = size - 1;
        kept.push(&leaf(index));
        tiles.push(index, &leaf(index));
        tree.push(leaf(index));
        let root = kept.frontier.root();
        assert_eq!(kept.root(size), root);
        assert_eq!(tlog::tree_hash(size, &&tiles).unwrap(), theirs(root));
        assert_eq!(tree.root().as_bytes().as_slice(), root.as_bytes());
        let step = if size < 80 { 1 } else { 41 };
        for other in (0..size)
            .step_by(step)
            .chain([size - 1, 255.min(size - 1), 256.min(size - 1)])
        {
            let path = kept.inclusion(other, size);
            assert_eq!(path, ours(&tlog::prove_record(size, other, &&tiles).unwrap()));
            assert_eq!(bytes(&path), tree.prove_inclusion(other as usize).as_bytes());
            verify_inclusion(leaf_hash(&leaf(other)), other, size, &path, root).unwrap();
            let their_path: Vec<_> = path.iter().map(|hash| theirs(*hash)).collect();
            tlog::check_record(
                &their_path,
                size,
                theirs(root),
                other,
                tlog::record_hash(&leaf(other)),
            )
            .unwrap();
            let proof = InclusionProof::<Sha256>::from_bytes(bytes(&path));
            ct_root(root, size)
                .verify_inclusion(&leaf(other), other, &proof)
                .unwrap();

            let (old, old_root) = (other + 1, kept.root(other + 1));
            let path = kept.consistency(old, size);
            assert_eq!(path, ours(&tlog::prove_tree(size, old, &&tiles).unwrap()));
            verify_consistency(old, old_root, size, root, &path).unwrap();
            let their_path: Vec<_> = path.iter().map(|hash| theirs(*hash)).collect();
            tlog::check_tree(&their_path, size, theirs(root), old, theirs(old_root)).unwrap();
            let proof = ConsistencyProof::<Sha256>::try_from_bytes(bytes(&path)).unwrap();
            ct_root(root, size)
                .verify_consistency(&ct_root(old_root, old), &proof)
                .unwrap();
        }
    }
}

/// A path that leads anywhere: for the sizes alone, which no tree of a test can have.
fn any_path() -> impl Strategy<Value = Vec<Hash>> {
    prop::collection::vec(any::<[u8; 32]>().prop_map(Hash::from_bytes), 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn trees_of_any_size_agree_with_another_implementation(size in 1u64..5000, one in any::<u64>(), other in any::<u64>()) {
        let kept = Kept::of((0..size).map(leaf));
        let mut tiles = Tiles::default();
        (0..size).for_each(|index| tiles.push(index, &leaf(index)));
        let root = kept.frontier.root();
        prop_assert_eq!(tlog::tree_hash(size, &&tiles).unwrap(), theirs(root));
        let (index, old) = (one % size, other % size + 1);
        prop_assert_eq!(kept.inclusion(index, size), ours(&tlog::prove_record(size, index, &&tiles).unwrap()));
        prop_assert_eq!(kept.consistency(old, size), ours(&tlog::prove_tree(size, old, &&tiles).unwrap()));
    }

    #[test]
    fn no_single_bit_of_a_proof_can_change(size in 2u64..700, one in any::<u64>(), other in any::<u64>()) {
        let kept = Kept::of((0..size).map(leaf));
        let root = kept.frontier.root();
        let (index, old) = (one % size, other % (size - 1) + 1);
        let flipped = |path: &[Hash], bit: usize| {
            let mut bytes = bytes(path);
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes.chunks(32).map(|hash| hash.try_into().unwrap()).collect::<Vec<Hash>>()
        };
        let path = kept.inclusion(index, size);
        let hash = leaf_hash(&leaf(index));
        for bit in 0..path.len() * 256 {
            prop_assert!(verify_inclusion(hash, index, size, &flipped(&path, bit), root).is_err());
        }
        let (mut short, mut long) = (path.clone(), path.clone());
        short.pop();
        long.push(hash);
        prop_assert!(verify_inclusion(hash, index, size, &short, root).is_err());
        prop_assert!(verify_inclusion(hash, index, size, &long, root).is_err());
        prop_assert!(verify_inclusion(hash, (index + 1) % size, size, &path, root).is_err());
        let path = kept.consistency(old, size);
        let old_root = kept.root(old);
        for bit in 0..path.len() * 256 {
            prop_assert!(verify_consistency(old, old_root, size, root, &flipped(&path, bit)).is_err());
        }
        long = path.clone();
        long.push(hash);
        prop_assert!(verify_consistency(old, old_root, size, root, &long).is_err());
        prop_assert!(verify_consistency(old, root, size, root, &path).is_err());
        if let Some((_, short)) = path.split_last() {
            prop_assert!(verify_consistency(old, old_root, size, root, short).is_err());
        }
    }

    #[test]
    fn no_numbers_make_it_panic(index in any::<u64>(), size in any::<u64>(), path in any_path(), root in any::<[u8; 32]>()) {
        let root = Hash::from_bytes(root);
        prop_assert!(verify_inclusion(root, index, size, &path, empty_root()).is_err());
        let _ = verify_consistency(index, root, size, empty_root(), &path);
        for size in [size, size >> 11] {
            if let Ok(plan) = Plan::inclusion(index % size.max(1), size) {
                prop_assert!(plan.path(|_| Ok::<_, TreeError>(root)).unwrap().len() <= MAX_PATH);
                prop_assert!(plan.subtrees().count() < 110);
            }
            if let Ok(plan) = Plan::consistency(index % size.max(1), size) {
                prop_assert!(plan.path(|_| Ok::<_, TreeError>(root)).unwrap().len() <= MAX_PATH);
                prop_assert!(plan.subtrees().count() < 110);
            }
        }
    }
}

#[test]
fn the_ends_of_what_trees_can_be() {
    let root = Hash::from_bytes([7; 32]);
    assert_eq!(verify_consistency(0, empty_root(), 5, root, &[]), Ok(()));
    assert_eq!(
        verify_consistency(0, root, 5, root, &[]),
        Err(TreeError::WrongOldRoot)
    );
    assert_eq!(
        verify_consistency(0, empty_root(), 0, root, &[]),
        Err(TreeError::WrongRoot)
    );
    assert_eq!(verify_consistency(5, root, 5, root, &[]), Ok(()));
    assert_eq!(
        verify_consistency(5, empty_root(), 5, root, &[]),
        Err(TreeError::WrongOldRoot)
    );
    assert_eq!(
        verify_consistency(6, root, 5, root, &[]),
        Err(TreeError::Shrunk { old: 6, size: 5 })
    );
    assert_eq!(
        Plan::inclusion(5, 5),
        Err(TreeError::NoSuchLeaf { index: 5, size: 5 })
    );
    assert_eq!(Plan::inclusion(0, u64::MAX), Err(TreeError::TooLarge(u64::MAX)));
    for size in [MAX_SIZE, MAX_SIZE - 1, 1 << 52] {
        let longest = Plan::inclusion(0, size)
            .unwrap()
            .path(|_| Ok::<_, TreeError>(root))
            .unwrap();
        assert!(longest.len() <= MAX_PATH);
    }
    assert_eq!(complete_root(&[]), None);
    assert_eq!(complete_root(&[root; 3]), None);
    assert_eq!(complete_root(&[root; 2]), Some(node_hash(root, root)));
}

#[test]
fn hashes_have_one_spelling() {
    let hash = leaf_hash(b"");
    assert_eq!(Hash::from_base64(&hash.to_base64()), Ok(hash));
    let text = hash.to_base64();
    // The last character has two bits to spare; setting one must not read as the same hash.
    let stray = text.replace("B0=", "B1=");
    for wrong in [
        "",
        &text[..43],
        &format!("{text}\n"),
        &format!("{text}{text}"),
        stray.as_str(),
    ] {
        assert_eq!(Hash::from_base64(wrong), Err(TreeError::NotAHash), "{wrong}");
    }
    assert_ne!(stray, text);
    assert_eq!(format!("{hash:?}"), "Hash(6e340b9c)");
}
