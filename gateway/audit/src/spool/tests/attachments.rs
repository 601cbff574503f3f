//! What travels beside an entry, and which tree the entry goes into.

use super::*;
use crate::{
    record::TreeName,
    segment::{MAX_ATTACHMENT_BYTES, MAX_ATTACHMENTS},
};

/// Bytes that compress badly, as sealed ones do.
fn sealed(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(next)
        .take(length.div_ceil(8))
        .flatten()
        .collect();
    bytes.truncate(length);
    bytes
}

fn intent_with(exchange: ExchangeId, attachments: &[Vec<u8>]) -> Recording {
    let intent = Recording::of(Body::Intent(samples::intent(exchange)));
    attachments
        .iter()
        .fold(intent, |intent, bytes| intent.attach(bytes.clone()))
}

fn large(dir: &Path) -> SpoolConfig {
    SpoolConfig {
        max_bytes: 256 << 20,
        ..config(dir)
    }
}

#[test]
fn attachments_of_any_size_come_back_with_their_entry() {
    let dir = fast_dir();
    let config = large(dir.path());
    let rig = Rig::open(config.clone()).unwrap();
    let sizes: [&[usize]; 7] = [
        &[],
        &[1],
        &[100, 1, 5000],
        // Larger than a segment, and than what is read at a time.
        &[3 << 20],
        &[1 << 20, 0x000f_ffff, 7],
        &[MAX_ATTACHMENT_BYTES, MAX_ATTACHMENT_BYTES],
        &[1; MAX_ATTACHMENTS],
    ];
    let mut expected = Vec::new();
    for (seed, sizes) in sizes.iter().enumerate() {
        let attachments: Vec<_> = sizes.iter().map(|size| sealed(seed as u64, *size)).collect();
        let id = ExchangeId::new();
        rig.recording(intent_with(id, &attachments)).unwrap();
        expected.push((id, attachments));
        // Small ones around them share segments with them.
        rig.seal(id).unwrap();
        expected.push((id, Vec::new()));
    }
    // Each entry of one write has its own.
    let (id, two) = (ExchangeId::new(), [sealed(1, 9), sealed(2, 9)]);
    let both = intent_with(id, &two[..1])
        .and(Body::Seal(samples::seal(id)))
        .attach(two[1].clone());
    rig.recording(both).unwrap();
    expected.extend(two.map(|bytes| (id, vec![bytes])));
    rig.end();
    let read: Vec<_> = spooled(&config)
        .into_iter()
        .map(|spooled| (spooled.entry.body.exchange().unwrap(), spooled.attachments))
        .collect();
    assert!(read == expected, "{} of {}", read.len(), expected.len());
}

#[test]
fn attachments_outside_of_the_limits_are_refused() {
    let dir = fast_dir();
    let config = large(dir.path());
    let rig = Rig::open(config.clone()).unwrap();
    for attachments in [
        vec![Vec::new()],
        vec![vec![7; MAX_ATTACHMENT_BYTES + 1]],
        vec![vec![7]; MAX_ATTACHMENTS + 1],
    ] {
        let refused = rig.recording(intent_with(ExchangeId::new(), &attachments));
        assert_eq!(refused, Err(AuditUnavailable::Attachments));
    }
    // The exchange of a seal that is refused so gets its final state all the same.
    let id = ExchangeId::new();
    rig.intent(id).unwrap();
    let seal = Recording::of(Body::Seal(samples::seal(id))).attach(Vec::new());
    assert_eq!(rig.recording(seal), Err(AuditUnavailable::Attachments));
    rig.end();
    assert_eq!(outcome_of(&entries(&config), id), [Outcome::Unknown]);
}

#[test]
fn attachments_take_of_the_spools_space() {
    let dir = fast_dir();
    let config = config(dir.path());
    let rig = Rig::open(config.clone()).unwrap();
    let one = [sealed(3, 100 << 10)];
    let mut taken = 0;
    while rig.recording(intent_with(ExchangeId::new(), &one)).is_ok() {
        taken += 1;
    }
    assert!((5..=10).contains(&taken), "{taken}");
    assert!(!rig.shared.healthy());
    assert!(rig.shared.bytes() <= config.max_bytes);
    rig.end();
    let with: Vec<_> = spooled(&config)
        .into_iter()
        .filter(|spooled| !spooled.attachments.is_empty())
        .collect();
    assert_eq!(with.len(), taken);
}

#[test]
fn a_reader_takes_no_more_than_it_is_told_at_a_time() {
    let dir = fast_dir();
    let config = large(dir.path());
    let rig = Rig::open(config).unwrap();
    for seed in 0..8 {
        let one = [sealed(seed, 300 << 10)];
        rig.recording(intent_with(ExchangeId::new(), &one)).unwrap();
    }
    let mut reader = Reader::new(Arc::clone(&rig.shared), Link::START);
    let most = Most {
        entries: 100,
        bytes: 800 << 10,
    };
    let batches: Vec<_> = std::iter::repeat_with(|| reader.read(most).unwrap().len())
        .take(4)
        .collect();
    assert_eq!(batches, [3, 3, 2, 0]);
    rig.end();
}

#[test]
fn a_crash_within_attachments_keeps_whole_entries_only() {
    let dir = fast_dir();
    let config = SpoolConfig {
        segment_bytes: 16 << 10,
        ..config(dir.path())
    };
    let rig = Rig::open(config.clone()).unwrap();
    let place = || usize::try_from(rig.shared.durable.borrow().offset).unwrap();
    rig.intent(ExchangeId::new()).unwrap();
    let start = place();
    let attachments = [sealed(1, 300), sealed(2, 1), sealed(3, 200)];
    rig.recording(intent_with(ExchangeId::new(), &attachments))
        .unwrap();
    let end = place();
    rig.end();
    let file = segments(&config.dir).remove(0);
    let whole = fs::read(&file).unwrap();
    for cut in start..=end {
        for zeros in [false, true] {
            let mut bytes = whole[..cut].to_vec();
            if zeros {
                bytes.resize(whole.len(), 0);
            }
            fs::write(&file, &bytes).unwrap();
            let recovered = recover(&config.dir).unwrap();
            assert_eq!(recovered.head.sequence, if cut == end { 2 } else { 1 }, "{cut}");
        }
    }
    // A byte that was changed is as good as one that never came; before a write that followed it is damage.
    for place in (start..end).step_by(7) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x11;
        fs::write(&file, &bytes).unwrap();
        assert_eq!(recover(&config.dir).unwrap().head.sequence, 1, "{place}");
    }
    fs::write(&file, &whole).unwrap();
    let rig = Rig::open(config.clone()).unwrap();
    rig.end();
    for place in (start..end).step_by(7) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x11;
        fs::write(&file, &bytes).unwrap();
        assert!(recover(&config.dir).is_err(), "{place}");
    }
}

#[test]
fn records_of_an_exchange_lie_in_the_tree_of_its_first() {
    let dir = fast_dir();
    let config = config(dir.path());
    let rig = Rig::open(config.clone()).unwrap();
    let (emea, apac) = (
        TreeName::new("emea", "standard").unwrap(),
        TreeName::new("apac", "six-months").unwrap(),
    );
    let ids: Vec<_> = (0..3).map(|_| ExchangeId::new()).collect();
    let [sealed, left, crashed] = ids[..] else {
        panic!()
    };
    let open = |id, tree: &TreeName| Recording::of(Body::Intent(samples::intent(id))).in_tree(tree.clone());
    rig.recording(open(sealed, &emea)).unwrap();
    // Whatever the caller says by then.
    let seal = Recording::of(Body::Seal(samples::seal(sealed))).in_tree(apac.clone());
    rig.recording(seal).unwrap();
    drop(rig.ask(open(left, &apac)));
    rig.recording(open(crashed, &emea)).unwrap();
    let both = ExchangeId::new();
    rig.recording(open(both, &apac).and(Body::Seal(samples::seal(both))))
        .unwrap();
    let default = ExchangeId::new();
    rig.intent(default).unwrap();
    rig.seal(default).unwrap();
    // The segment that holds the intent is gone by the time of the crash.
    for _ in 0..20 {
        let id = ExchangeId::new();
        rig.intent(id).unwrap();
        rig.seal(id).unwrap();
    }
    rig.end();
    let read = entries(&config);
    let trees_of = |id| -> Vec<TreeName> {
        let of = read.iter().filter(|entry| entry.body.exchange() == Some(id));
        of.map(Entry::tree).collect()
    };
    assert_eq!(trees_of(sealed), [emea.clone(), emea.clone()]);
    assert_eq!(trees_of(both), [apac.clone(), apac.clone()]);
    assert_eq!(trees_of(default), [TreeName::default(), TreeName::default()]);
    assert_eq!(trees_of(crashed), [emea.clone(), emea.clone()]);
    assert_eq!(outcome_of(&read, crashed), [Outcome::Unknown]);
    // It was gone before or after the write; where it was written, it was closed in the same tree.
    assert!([&[][..], &[apac.clone(), apac]].contains(&&trees_of(left)[..]));
}

#[test]
fn a_header_tells_the_trees_of_open_exchanges() {
    let dir = fast_dir();
    let config = config(dir.path());
    let emea = TreeName::new("emea", "standard").unwrap();
    let left = ExchangeId::new();
    let rig = Rig::open(config.clone()).unwrap();
    let opened = Recording::of(Body::Intent(samples::intent(left))).in_tree(emea.clone());
    rig.recording(opened).unwrap();
    for _ in 0..20 {
        let id = ExchangeId::new();
        rig.intent(id).unwrap();
        rig.seal(id).unwrap();
    }
    let cursor = CursorFile {
        writer: rig.shared.writer,
        shipped: rig.shared.durable.borrow().link,
    };
    replace_file(&cursor_path(&config.dir), &serde_json::to_vec(&cursor).unwrap()).unwrap();
    rig.end();
    let files = segments(&config.dir);
    for file in &files[..files.len() - 1] {
        fs::remove_file(file).unwrap();
    }
    assert_eq!(recover(&config.dir).unwrap().open.get(&left), Some(&emea));
    let rig = Rig::open(config).unwrap();
    let mut reader = Reader::new(Arc::clone(&rig.shared), cursor.shipped);
    let most = Most {
        entries: 10,
        bytes: 1 << 20,
    };
    let settled = reader.read(most).unwrap().remove(0).entry;
    assert_eq!((settled.body.closes(), settled.tree()), (Some(left), emea));
    rig.end();
}
