//! Code in many languages and many shapes is found amid prose; prose, lists, tables and data are not.
//!
//! The samples beside this file were written for it. Figures on code by others: `scripts/code_corpus.py`.

use cordon_inspect::{Block, BlockKind, Inspector, blocks_of_code};

const CODE: &str = include_str!("code/samples.txt");
const CONFIGURATION: &str = include_str!("code/configuration.txt");
const OTHER: &str = include_str!("code/other.txt");

/// The samples of a file: name and text.
fn samples(file: &'static str) -> Vec<(&'static str, &'static str)> {
    file.split("=== ")
        .filter(|sample| !sample.is_empty())
        .map(|sample| sample.split_once('\n').expect("a sample has a name and a text"))
        .map(|(name, text)| (name, text.trim_end()))
        .collect()
}

/// How much of a stretch the blocks of a kind cover, in percent.
fn covered(blocks: &[Block], kind: BlockKind, stretch: std::ops::Range<usize>) -> usize {
    let covered: usize = blocks
        .iter()
        .filter(|block| block.kind == kind)
        .map(|block| {
            block
                .span
                .end
                .min(stretch.end)
                .saturating_sub(block.span.start.max(stretch.start))
        })
        .sum();
    covered * 100 / stretch.len().max(1)
}

/// What people and programs do to lines on their way.
fn shapes(code: &str) -> Vec<(&'static str, String)> {
    let each = |change: &dyn Fn(usize, &str) -> String| {
        code.lines()
            .enumerate()
            .map(|(number, line)| change(number, line))
            .collect::<Vec<_>>()
            .join("\n")
    };
    vec![
        ("as it is", code.to_owned()),
        ("no indentation", each(&|_, line| line.trim().to_owned())),
        (
            "numbered",
            each(&|number, line| format!("{:3} | {line}", number + 100)),
        ),
        ("diff", each(&|_, line| format!("+{line}"))),
        ("quoted", each(&|_, line| format!("> {line}"))),
        (
            "stamped",
            each(&|number, line| format!("[10:{:02}] {line}", number + 10)),
        ),
        ("windows", code.replace('\n', "\r\n")),
    ]
}

const BEFORE: &str = "Hello, can you tell me why this is so slow on our line?\n\n";
const AFTER: &str = "\n\nThanks a lot for having a look at it today, we are stuck.\n";

#[test]
fn code_of_every_language_is_found_in_every_shape() {
    let mut missed = Vec::new();
    for (language, code) in samples(CODE) {
        for (shape, code) in shapes(code) {
            let text = format!("{BEFORE}{code}{AFTER}");
            let blocks = blocks_of_code(&text);
            let percent = covered(&blocks, BlockKind::Code, BEFORE.len()..BEFORE.len() + code.len());
            if percent < 60 {
                missed.push(format!("{language}, {shape}: {percent} %"));
            }
            let outside = blocks.iter().any(|block| {
                block.span.start < BEFORE.len() - 2 || block.span.end > text.len() - AFTER.len() + 2
            });
            assert!(!outside, "{language}, {shape}: reaches into the prose");
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn the_language_is_named() {
    let mut wrong = Vec::new();
    for (language, code) in samples(CODE) {
        let blocks = blocks_of_code(code);
        let named = blocks
            .iter()
            .flat_map(|block| &block.evidence)
            .any(|evidence| evidence.strip_prefix("language: ") == Some(language));
        if !named {
            wrong.push(format!(
                "{language}: {:?}",
                blocks.iter().map(|b| &b.evidence).collect::<Vec<_>>()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn code_on_one_line_is_found() {
    for language in [
        "C or C++",
        "Java",
        "Rust",
        "JavaScript or TypeScript",
        "C#",
        "PHP",
        "Verilog",
    ] {
        let (_, code) = samples(CODE)
            .into_iter()
            .find(|(name, _)| *name == language)
            .expect("there is such a sample");
        let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = format!("why does this not compile: {code} it worked for me yesterday");
        let blocks = blocks_of_code(&text);
        let start = text.find(&code).expect("it was put there");
        assert!(
            covered(&blocks, BlockKind::Code, start..start + code.len()) >= 50,
            "{language}: {blocks:?}"
        );
    }
}

#[test]
fn configuration_is_told_from_code() {
    for (language, text) in samples(CONFIGURATION) {
        let blocks = blocks_of_code(text);
        assert!(
            covered(&blocks, BlockKind::Configuration, 0..text.len()) >= 60,
            "{language}: {blocks:?}"
        );
        assert!(
            blocks
                .iter()
                .flat_map(|block| &block.evidence)
                .any(|evidence| evidence.strip_prefix("language: ") == Some(language)),
            "{language}: {blocks:?}"
        );
    }
}

#[test]
fn prose_lists_tables_and_data_are_no_code() {
    for (name, text) in samples(OTHER) {
        for (shape, text) in shapes(text) {
            let blocks = blocks_of_code(&text);
            assert!(blocks.is_empty(), "{name}, {shape}: {blocks:?}");
        }
    }
}

#[test]
fn traces_and_logs_are_findings_of_their_own() {
    let inspector = Inspector::embedded().expect("the embedded detectors compile");
    for (entity, text) in [
        (
            "STACK_TRACE",
            "It fails:\nException in thread \"main\" java.lang.IllegalStateException: empty\n\tat fab.Lot.load(Lot.java:41)\n\tat fab.Main.main(Main.java:9)\nAny idea?",
        ),
        (
            "STACK_TRACE",
            "Traceback (most recent call last):\n  File \"app.py\", line 3, in <module>\n    load(path)\n  File \"app.py\", line 9, in load\n    return open(path)\nValueError: gone",
        ),
        (
            "STACK_TRACE",
            "panic: nil map\n\ngoroutine 1 [running]:\nmain.load(0x1)\n\t/srv/main.go:12 +0x1d\nmain.main()\n\t/srv/main.go:20 +0x2a",
        ),
        (
            "STACK_TRACE",
            "#0  0x0000555555555131 in load (n=3) at main.c:12\n#1  0x0000555555555160 in main () at main.c:20",
        ),
        (
            "LOG",
            "2025-03-01T10:00:00Z INFO lots started\n2025-03-01T10:00:01Z WARN slow disk\n2025-03-01T10:00:02Z ERROR gone",
        ),
        (
            "LOG",
            "Mar  3 12:00:01 tool7 sshd[123]: closed\nMar  3 12:00:04 tool7 kernel: oops\n",
        ),
    ] {
        let findings = inspector.inspect(text);
        assert!(
            findings.iter().any(|finding| finding.entity.as_str() == entity),
            "{entity}: {findings:?}"
        );
        assert!(
            !findings
                .iter()
                .any(|finding| finding.entity.as_str() == "SOURCE_CODE"),
            "{entity}: {findings:?}"
        );
    }
}

#[test]
fn the_share_of_code_is_told() {
    let code = samples(CODE)[0].1;
    let long = "We met again and went through the open points, one after the other, until noon.\n".repeat(60);
    for (text, share) in [
        (code.to_owned(), "nearly all of the text is code"),
        (
            format!("{long}\n{code}\n{long}"),
            "a small part of the text is code",
        ),
    ] {
        let blocks = blocks_of_code(&text);
        assert!(
            blocks.iter().any(|block| block.evidence.contains(&share)),
            "{blocks:?}"
        );
    }
}

#[test]
fn fences_are_taken_at_their_word() {
    let text = "see\n```python\nx = 1\ny = compute(x)\nz = y\n```\nok";
    let blocks = blocks_of_code(text);
    assert_eq!(&text[blocks[0].span.clone()], "x = 1\ny = compute(x)\nz = y");
    assert!(blocks_of_code("```json\n{\n\"a\": 1\n}\n```").is_empty());
    let text = "```hcl\nregion = \"north\"\n```";
    assert_eq!(blocks_of_code(text)[0].kind, BlockKind::Configuration);
}

#[test]
fn blocks_are_in_order_and_disjoint_whatever_the_text() {
    let all = format!("{CODE}{CONFIGURATION}{OTHER}").replace('e', "é");
    for step in [1, 7, 31] {
        for start in (0..all.len()).step_by(997 * step) {
            let text = &all[all.floor_char_boundary(start)..];
            let mut end = 0;
            for block in blocks_of_code(text) {
                assert!(block.span.start >= end && block.span.end > block.span.start);
                assert!(text.get(block.span.clone()).is_some());
                end = block.span.end;
            }
        }
    }
}
