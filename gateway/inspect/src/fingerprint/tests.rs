use cordon_domain::Finding;

use super::*;
use crate::Inspector;

const CODE: &str = include_str!("segment.rs");
const PROSE: &str = "Right, the yield of the second line is at 61 percent since Monday. That is four points under what we promised \
    for the quarter, and the etch step is the bottleneck: chamber three drifts after forty wafers, and nobody could say whether the \
    new gas or the old pump is to blame. We would have to move the launch to October, which the board has not heard yet. Until \
    the supplier sends the replacement, every lot is measured twice, so the throughput falls by a third and the night shift stays on.";

fn key() -> Arc<FingerprintKey> {
    Arc::new(FingerprintKey::from_bytes(&[3; 32]))
}

fn add(folder: &Path, set: &str, kind: Kind, files: &[(&str, &str)]) -> Change {
    let key = key();
    let mut writer = DocumentsWriter::open(folder, set, entity_of(set).unwrap(), kind, &key).unwrap();
    for (name, text) in files {
        writer.add(prepare(&key, name, &[text])).unwrap();
    }
    writer.remove_unseen("repo/").unwrap();
    writer.commit().unwrap()
}

fn open(folder: &Path) -> Fingerprints {
    Fingerprints::open(folder, key()).unwrap().unwrap()
}

fn inspector(folder: &Path) -> Inspector {
    Inspector::embedded()
        .ok()
        .unwrap()
        .with_fingerprints(Some(Arc::new(open(folder))))
}

fn known(findings: &[Finding]) -> Vec<(String, String, u8)> {
    findings
        .iter()
        .filter_map(|finding| {
            let source = finding.source.as_deref()?;
            Some((finding.entity.to_string(), source.file.clone(), source.percent))
        })
        .collect()
}

#[test]
fn excerpts_of_files_are_recognised_by_name_and_share() {
    let dir = tempfile::tempdir().unwrap();
    let change = add(
        dir.path(),
        "fab-process",
        Kind::Documents,
        &[
            ("repo/segment.rs", CODE),
            ("repo/minutes.txt", PROSE),
            ("repo/a.txt", "short"),
        ],
    );
    assert_eq!((change.added, change.too_short), (3, 1));
    let inspector = inspector(dir.path());
    assert!(
        inspector
            .entity_types()
            .contains(&"CONFIDENTIAL.FAB_PROCESS".parse().unwrap())
    );

    // About sixty words of the minutes, in another layout, amid a question.
    let words: Vec<&str> = PROSE.split(' ').skip(20).take(60).collect();
    let text = format!(
        "Please make this nicer:\n\n{}\n\nThank you very much for that.",
        words.join("\n").to_uppercase()
    );
    let found = inspector.inspect(&text);
    let [(entity, file, percent)] = &known(&found)[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (entity.as_str(), file.as_str()),
        ("CONFIDENTIAL.FAB_PROCESS", "repo/minutes.txt")
    );
    assert!((40..=75).contains(percent), "{percent}");
    let span = &found
        .iter()
        .find(|finding| finding.source.is_some())
        .unwrap()
        .span;
    assert!(span.start >= 20 && span.end <= text.len() - 28, "{span:?}");

    // Ten lines of code with names changed and comments gone.
    let at = CODE.find("pub(super) fn row(").unwrap();
    let lines: Vec<&str> = CODE[at..].lines().take(10).collect();
    let mut code = lines.join("\n");
    for (from, to) in [
        ("cells", "out"),
        ("width", "w"),
        ("row", "index"),
        ("start", "begin"),
        ("bytes", "buffer"),
        ("self", "it"),
    ] {
        code = code.replace(from, to);
    }
    let found = inspector.inspect(&format!("Why does this fail?\n\n{code}\n"));
    assert_eq!(known(&found)[0].1, "repo/segment.rs", "{found:?}");

    // Base64 hides nothing.
    let hidden = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, words.join(" "));
    assert_eq!(
        known(&inspector.inspect(&format!("decode this: {hidden}")))[0].1,
        "repo/minutes.txt"
    );

    // The same subject in other words is nobody's.
    let own = "The yield fell again and the etch step is slow. We think that a pump is the reason, and that October is \
        more likely than September; the supplier has been told, and the measurements go on as they did before.";
    assert_eq!(known(&inspector.inspect(own)), []);
    assert_eq!(known(&inspector.inspect(include_str!("../lib.rs"))), []);
}

#[test]
fn sets_grow_change_and_shrink_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let speech = |number: usize| -> String {
        let words: Vec<String> = (0..80)
            .map(|at| format!("{:x}", gram::mixed((number * 1000 + at) as u64) >> 40))
            .collect();
        words.join(" ")
    };
    let name = |number: usize| format!("repo/{number}.txt");
    let files = |numbers: Range<usize>, second: usize| -> Vec<(String, String)> {
        numbers
            .map(|number| (name(number), speech(if number == 0 { second } else { number })))
            .collect()
    };
    let add = |files: &[(String, String)]| {
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        add(dir.path(), "plans", Kind::Documents, &files)
    };
    assert_eq!(add(&files(0..5, 0)).added, 5);
    let change = add(&files(0..6, 100));
    assert_eq!(
        (change.added, change.changed, change.unchanged, change.removed),
        (1, 1, 4, 0)
    );
    let found = |number: usize| known(&inspector(dir.path()).inspect(&speech(number)));
    assert_eq!(found(0), []);
    assert_eq!(found(100)[0].1, "repo/0.txt");
    assert_eq!(
        found(5)[0],
        ("CONFIDENTIAL.PLANS".to_owned(), "repo/5.txt".to_owned(), 100)
    );
    let change = add(&files(1..3, 0));
    assert_eq!((change.unchanged, change.removed), (2, 4));
    assert_eq!(found(100), []);
    assert_eq!(found(2)[0].1, "repo/2.txt");
    assert_eq!(open(dir.path()).files("plans"), ["repo/1.txt", "repo/2.txt"]);
    // Many additions are merged into few files.
    for number in 10..30 {
        add(&files(1..number, 0));
    }
    assert_eq!(found(2)[0].1, "repo/2.txt");
    assert_eq!(found(28)[0].1, "repo/28.txt");
    let segments = fs::read_dir(dir.path().join("plans")).unwrap().count() - 2;
    assert!(segments <= 9, "{segments}");
    open(dir.path()).verify().unwrap();
}

#[test]
fn what_is_public_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    add(
        dir.path(),
        "ours",
        Kind::Documents,
        &[("repo/minutes.txt", PROSE)],
    );
    assert_eq!(known(&inspector(dir.path()).inspect(PROSE)).len(), 1);
    add(dir.path(), "public", Kind::Background, &[("press.txt", PROSE)]);
    let inspector = inspector(dir.path());
    assert_eq!(known(&inspector.inspect(PROSE)), []);
    assert!(
        !inspector
            .entity_types()
            .iter()
            .any(|entity| entity.as_str() == "CONFIDENTIAL.PUBLIC")
    );
}

const CUSTOMERS: &str = "\u{FEFF}id;first;last;iban;born;city\n\
    1;Ana;Jansson;SE35 5000 0000 0549 1000 0003;1980-05-03;Uppsala\n\
    2;Björn;Öberg;SE4550000000058398257466;1975-11-30;Uppsala\n\
    3;Chi;Tran;;2001-01-09;Lund\n\
    4;;;;;Lund\n";

fn records(
    folder: &Path,
    table: &str,
    columns: &[&str],
    needed: usize,
) -> Result<RecordsSummary, FingerprintError> {
    let options = RecordsOptions {
        columns: columns.iter().map(|&name| name.to_owned()).collect(),
        needed,
        window: 400,
        delimiter: None,
    };
    let entity = entity_of("customers").unwrap();
    add_records(
        folder,
        "customers",
        entity,
        &key(),
        &options,
        "customers.csv",
        table.as_bytes(),
    )
}

#[test]
fn several_cells_of_one_row_are_a_finding() {
    let dir = tempfile::tempdir().unwrap();
    let columns = ["first", "last", "iban", "born", "city"];
    let summary = records(dir.path(), CUSTOMERS, &columns, 2).unwrap();
    assert_eq!((summary.rows, summary.too_few), (3, 1));
    let inspector = inspector(dir.path());
    let found = |text: &str| -> Vec<String> {
        let findings = inspector.inspect(text);
        let ours = findings.iter().filter(|finding| finding.source.is_some());
        ours.map(|finding| text[finding.span.clone()].to_owned())
            .collect()
    };
    assert_eq!(found("Please write to BJORN Oberg about it"), ["BJORN", "Oberg"]);
    assert_eq!(
        found("Jansson, account SE355000 0000054910000003."),
        ["Jansson", "SE355000 0000054910000003"]
    );
    assert_eq!(found("Tran was born on 9.1.2001"), ["Tran", "9.1.2001"]);
    assert_eq!(found("Tran was born on 01/09/2001"), ["Tran", "01/09/2001"]);
    // One cell, and cells of different rows, tell nothing.
    assert_eq!(found("Björn has been to Lund"), Vec::<String>::new());
    assert_eq!(
        found(&format!("Björn {} Öberg", "goes on and on ".repeat(60))),
        Vec::<String>::new()
    );
    let source = inspector
        .inspect("Ana Jansson")
        .into_iter()
        .find_map(|finding| finding.source)
        .unwrap();
    assert_eq!((source.file.as_str(), source.percent), ("customers.csv", 40));
}

#[test]
fn values_that_many_rows_have_count_together() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = "first,last,city,code\n".to_owned();
    for row in 0..20_000 {
        table.push_str(&format!(
            "First{},Last{},City{},{}\n",
            row % 100,
            row / 100,
            row % 7,
            70_000_000 + row
        ));
    }
    let summary = records(dir.path(), &table, &["first", "last", "city"], 3).unwrap();
    assert_eq!(summary.rows, 20_000);
    let inspector = inspector(dir.path());
    let count = |text: &str| {
        inspector
            .inspect(text)
            .iter()
            .filter(|finding| finding.source.is_some())
            .count()
    };
    // 100 rows have either name, two thirds of them leads to 64 at most; together they are one row.
    assert_eq!(
        count("First42 Last17 lives in City3"),
        if 1742 % 7 == 3 { 3 } else { 0 }
    );
    assert_eq!(count(&format!("First42 Last17 lives in City{}", 1742 % 7)), 3);
    assert_eq!(count("First42 Last17 lives in Rome"), 0);
}

#[test]
fn tables_are_replaced_and_wrong_ones_told() {
    let dir = tempfile::tempdir().unwrap();
    records(dir.path(), CUSTOMERS, &["first", "last"], 2).unwrap();
    records(dir.path(), "first,last\nEva,Lind\n", &["first", "last"], 2).unwrap();
    let inspector = inspector(dir.path());
    let count = |text: &str| {
        inspector
            .inspect(text)
            .iter()
            .filter(|finding| finding.source.is_some())
            .count()
    };
    assert_eq!((count("Ana Jansson"), count("Eva Lind")), (0, 2));
    let told = |table, columns: &[&str], needed| {
        records(dir.path(), table, columns, needed)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        told("first,last\n", &["name"], 1),
        "customers.csv:1: there is no column `name`; there are: first, last"
    );
    assert_eq!(
        told("first,last\n", &[], 3),
        "customers.csv:1: 3 of 2 columns cannot be wanted"
    );
    // A set is of one kind.
    let key = key();
    let other = DocumentsWriter::open(
        dir.path(),
        "customers",
        entity_of("customers").unwrap(),
        Kind::Documents,
        &key,
    );
    assert_eq!(
        other.err().unwrap().to_string(),
        "the set holds records already, and a set is of one kind; name another"
    );
}

#[test]
fn canaries_are_found_wherever_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let canaries = [
        "cdn-7f3q-m2xk-9p".to_owned(),
        "Project Heliotrope Nine".to_owned(),
    ];
    let entity = entity_of("planted").unwrap();
    let added = add_canaries(
        dir.path(),
        "planted",
        entity.clone(),
        &key(),
        "canaries",
        &canaries,
    )
    .unwrap();
    assert_eq!(added.rows, 2);
    let inspector = inspector(dir.path());
    for text in ["see CDN 7F3Q M2XK 9P there", "about project\nHeliotrope nine."] {
        assert_eq!(
            known(&inspector.inspect(text)),
            [("CONFIDENTIAL.PLANTED".to_owned(), "canaries".to_owned(), 100)]
        );
    }
    assert_eq!(known(&inspector.inspect("Project Heliotrope Ten")), []);
    let short = add_canaries(dir.path(), "planted", entity, &key(), "more", &["abc".to_owned()]);
    assert!(short.unwrap_err().to_string().starts_with("canary 1 is no use"));
}

#[test]
fn names_and_damage_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["", "A", "../x", "a/b", &"a".repeat(41)] {
        assert!(entity_of(name).is_err(), "{name}");
    }
    assert!(
        Fingerprints::open(&dir.path().join("absent"), key())
            .unwrap()
            .is_none()
    );
    assert!(Fingerprints::open(dir.path(), key()).unwrap().is_none());
    add(
        dir.path(),
        "ours",
        Kind::Documents,
        &[("repo/minutes.txt", PROSE)],
    );
    let other = Arc::new(FingerprintKey::from_bytes(&[4; 32]));
    assert!(Fingerprints::open(dir.path(), other).is_err());
    fs::write(dir.path().join("ours/set.yaml"), b"{}").unwrap();
    assert!(Fingerprints::open(dir.path(), key()).is_err());
    remove_set(dir.path(), "ours").unwrap();
    assert!(matches!(
        remove_set(dir.path(), "ours"),
        Err(FingerprintError::NoSet(_))
    ));
    assert!(Fingerprints::open(dir.path(), key()).unwrap().is_none());
}

#[test]
fn long_texts_are_read_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    records(dir.path(), CUSTOMERS, &["first", "last", "city"], 3).unwrap();
    add(
        dir.path(),
        "ours",
        Kind::Documents,
        &[("repo/minutes.txt", PROSE)],
    );
    let prints = open(dir.path());
    let filler = "nothing of note was said that day ".repeat(1000);
    // One row lies across the end of a piece, and a passage stands after it.
    let before = (1 << 20) - filler.len() * 30 - 12;
    let mut text = filler.repeat(30);
    text.push_str(&" ".repeat(before));
    text.push_str("Ana Jansson of Uppsala, ");
    text.push_str(&filler.repeat(40));
    text.push_str(PROSE);
    let hits = prints.find(&text);
    let found: Vec<&str> = hits
        .iter()
        .filter(|hit| !hit.region)
        .map(|hit| &text[hit.span.clone()])
        .collect();
    assert_eq!(found, ["Ana", "Jansson", "Uppsala"]);
    assert_eq!(hits.iter().filter(|hit| hit.region).count(), 1);
}

#[test]
fn pieces_hold_all_and_overlap() {
    let text = "Größe ".repeat(40);
    let mut end = 0;
    for (start, piece) in pieces(&text, 50, 10) {
        assert_eq!(&text[start..start + piece.len()], piece);
        assert!(start <= end && piece.len() <= 50);
        assert!(end == 0 || end - start >= 10);
        end = start + piece.len();
    }
    assert_eq!(end, text.len());
    assert_eq!(pieces("", 50, 10).collect::<Vec<_>>(), [(0, "")]);
}

#[test]
fn what_is_past_the_limit_is_covered() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<String> = (1..=MOST_HITS)
        .map(|row| {
            let name = |salt: u64| format!("n{:x}", gram::mixed(row as u64 * 2 + salt) >> 24);
            format!("{},{}", name(0), name(1))
        })
        .collect();
    let table = format!("first,last\n{}\n", rows.join("\n"));
    records(dir.path(), &table, &["first", "last"], 2).unwrap();
    let text = rows.join("\n");
    let prints = open(dir.path());
    let hits = prints.find(&text);
    assert_eq!(hits.len(), MOST_HITS + 1);
    for value in text.split([',', '\n']) {
        let at = text.find(value).unwrap();
        let covers = |hit: &Hit<'_>| hit.span.start <= at && at + value.len() <= hit.span.end;
        assert!(hits.iter().any(covers), "{value}");
    }
}

#[test]
fn numbers_may_be_grouped_in_another_way() {
    let dir = tempfile::tempdir().unwrap();
    let table =
        "name,iban,vat\nJansson,SE3550000000054910000003,DE123456789\nTran,GB29 NWBK 6016 1331 9268 19,x\n";
    records(dir.path(), table, &["iban", "vat"], 1).unwrap();
    let prints = open(dir.path());
    for value in [
        "SE35 5000 0000 0549 1000 0003",
        "SE3550000000054910000003",
        "se35-5000-0000-0549-1000-0003",
        "DE 123 456 789",
        "GB29NWBK60161331926819",
        "GB29 NWBK 60161331 926819",
    ] {
        let text = format!("Pay to {value} in May.");
        let hits = prints.find(&text);
        assert!(
            hits.iter().any(|hit| &text[hit.span.clone()] == value),
            "{value}: {hits:?}"
        );
    }
}

#[test]
fn a_canary_across_two_pieces_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let entity = entity_of("planted").unwrap();
    add_canaries(
        dir.path(),
        "planted",
        entity,
        &key(),
        "canaries",
        &["cdn-7f3q-m2xk-9p".to_owned()],
    )
    .unwrap();
    let prints = open(dir.path());
    for before in (1 << 20) - 18..(1 << 20) + 2 {
        let text = format!("{} cdn-7f3q-m2xk-9p end", " ".repeat(before));
        let hits = prints.find(&text);
        assert!(
            hits.iter()
                .any(|hit| &text[hit.span.clone()] == "cdn-7f3q-m2xk-9p"),
            "{before}"
        );
    }
}

#[test]
fn one_number_of_columns_holds_for_all_tables_of_a_set() {
    let dir = tempfile::tempdir().unwrap();
    let add = |name: &str, needed: usize| {
        let options = RecordsOptions {
            columns: Vec::new(),
            needed,
            window: 400,
            delimiter: None,
        };
        let entity = entity_of("customers").unwrap();
        let table = &b"first,last,city\nEva,Lind,Uppsala\n"[..];
        add_records(dir.path(), "customers", entity, &key(), &options, name, table)
    };
    add("one.csv", 2).unwrap();
    add("one.csv", 3).unwrap();
    let told = add("other.csv", 2).unwrap_err().to_string();
    assert!(
        told.starts_with("the set wants 3 columns within 400 bytes already"),
        "{told}"
    );
    add("other.csv", 3).unwrap();
}

#[test]
fn a_quote_that_is_never_closed_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let table = format!(
        "first,last\nEva,Lind\n\"Ana,Jansson\n{}",
        "Chi,Tran\n".repeat(1 << 17)
    );
    let told = records(dir.path(), &table, &["first", "last"], 2).unwrap_err();
    assert!(told.to_string().starts_with("customers.csv:3: "), "{told}");
}

#[test]
fn who_has_no_key_cannot_alter_a_set() {
    let dir = tempfile::tempdir().unwrap();
    add(
        dir.path(),
        "ours",
        Kind::Documents,
        &[("repo/minutes.txt", PROSE)],
    );
    let manifest = dir.path().join("ours/set.yaml");
    let whole = fs::read_to_string(&manifest).unwrap();
    for (from, to) in [
        ("kind: documents", "kind: background"),
        ("CONFIDENTIAL.OURS", "EMAIL"),
        ("000001.seg", "000002.seg"),
        ("check:", "other:"),
    ] {
        assert!(whole.contains(from), "{from}");
        fs::write(&manifest, whole.replace(from, to)).unwrap();
        assert!(Fingerprints::open(dir.path(), key()).is_err(), "{to}");
    }
    fs::write(&manifest, &whole).unwrap();
    assert!(Fingerprints::open(dir.path(), key()).is_ok());
}

#[test]
fn a_set_that_cannot_be_looked_at_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for (name, is_set) in [("lost+found", false), ("ours", true)] {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        // A link to itself stands for a folder that only its owner may enter, which holds nobody off who runs tests as root.
        std::os::unix::fs::symlink("set.yaml", folder.join("set.yaml")).unwrap();
        assert_eq!(set_names(dir.path()).is_err(), is_set, "{name}");
    }
}

#[test]
fn another_folder_of_the_same_name_takes_nothing_away() {
    let dir = tempfile::tempdir().unwrap();
    add(
        dir.path(),
        "ours",
        Kind::Documents,
        &[("repo/minutes.txt", PROSE)],
    );
    let key = key();
    let entity = entity_of("ours").unwrap();
    let mut writer = DocumentsWriter::open(dir.path(), "ours", entity, Kind::Documents, &key).unwrap();
    writer.add(prepare(&key, "repo/other.txt", &[CODE])).unwrap();
    let told = writer.remove_unseen("repo/").unwrap_err().to_string();
    assert!(told.contains("another folder called `repo`"), "{told}");
    drop(writer);
    assert_eq!(known(&inspector(dir.path()).inspect(PROSE)).len(), 1);
}

#[test]
fn rows_with_the_same_cells_do_not_show_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = "first,last,town\n".to_owned();
    for row in 0..500 {
        table.push_str(&format!("First{row},Last{row},Uppsala\n"));
    }
    records(dir.path(), &table, &["first", "last", "town"], 2).unwrap();
    let bytes = fs::read(dir.path().join("customers/000001.seg")).unwrap();
    // Behind the header and the postings, whose number it holds, are the rows: six bytes a cell.
    let postings = u64::from_le_bytes(bytes[40..48].try_into().unwrap()) as usize;
    let rows = &bytes[80 + postings * 8..][..500 * 3 * 6];
    let different: std::collections::HashSet<&[u8]> = rows.chunks_exact(6).collect();
    assert_eq!(different.len(), 1500);
}
