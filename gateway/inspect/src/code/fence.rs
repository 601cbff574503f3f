//! What the tag of a fence promises, and whether a line is JSON.

use super::languages::{LANGUAGES, Sort};

/// What a fence holds by its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Code(Option<&'static str>),
    Configuration(Option<&'static str>),
    Data,
    /// No tag, or one that nobody knows.
    Unknown,
}

/// Tags, with the language's name after `language: `, or nothing for data.
const TAGS: &[(&str, &str)] = &[
    ("c h cpp c++ cc cxx hpp objc++ arduino", "C or C++"),
    ("cuda cu", "CUDA"),
    ("cs csharp c#", "C#"),
    ("java", "Java"),
    ("kotlin kt kts", "Kotlin"),
    ("scala sbt", "Scala"),
    ("go golang", "Go"),
    ("rust rs", "Rust"),
    ("swift", "Swift"),
    ("objc objective-c objectivec", "Objective-C"),
    ("py python python3 py3 ipython cython", "Python"),
    (
        "js jsx javascript ts tsx typescript mjs node vue svelte",
        "JavaScript or TypeScript",
    ),
    ("php", "PHP"),
    ("ruby rb", "Ruby"),
    ("perl pl", "Perl"),
    ("lua", "Lua"),
    ("r", "R"),
    ("julia jl", "Julia"),
    ("matlab octave m", "MATLAB"),
    ("fortran f90 f95", "Fortran"),
    ("cobol cbl", "COBOL"),
    ("haskell hs", "Haskell"),
    ("ocaml ml fsharp f#", "OCaml or F#"),
    ("elixir ex exs erlang erl", "Elixir or Erlang"),
    ("dart", "Dart"),
    ("lisp clojure clj scheme elisp racket", "Lisp or Clojure"),
    ("vb vba vbnet vb.net vbscript", "Visual Basic"),
    ("pascal delphi ada", "Pascal or Ada"),
    ("abap", "ABAP"),
    ("sql mysql postgresql pgsql sqlite hive", "SQL"),
    ("plsql tsql t-sql", "PL/SQL or T-SQL"),
    ("sh bash shell zsh fish ksh", "shell"),
    ("powershell ps1 pwsh", "PowerShell"),
    ("bat batch cmd", "Batch"),
    ("verilog systemverilog sv v", "Verilog"),
    ("vhdl vhd", "VHDL"),
    ("tcl sdc xdc", "Tcl or SDC"),
    ("spice ngspice hspice", "SPICE netlist"),
    ("gcode nc g-code", "G-code"),
    ("st iecst scl structured-text iec", "IEC 61131-3"),
    ("asm nasm assembly armasm x86asm", "assembly"),
    ("stil wgl atp", "STIL, WGL or other test pattern"),
    ("html htm xhtml", "HTML"),
    ("css scss less sass", "CSS"),
    ("hcl tf terraform", "Terraform"),
    ("dockerfile docker containerfile", "Dockerfile"),
    ("makefile make mk cmake", "Makefile"),
    ("nginx apache apacheconf", "nginx or Apache configuration"),
    ("yaml yml", "YAML"),
    (
        "ini toml properties cfg conf env dotenv systemd",
        "INI or properties",
    ),
    (
        "json jsonl json5 csv tsv text txt plain plaintext xml md markdown log diff console output http svg",
        "",
    ),
];

/// What a tag says. `diff` and `console` are data: what is in them has signs before it, or is output.
pub(super) fn tag(tag: &str) -> Tag {
    let end = tag.find([' ', '{', ',', ':']).unwrap_or(tag.len());
    let name = &tag[..end];
    if name.is_empty() || name.len() > 20 {
        return Tag::Unknown;
    }
    let found = TAGS
        .iter()
        .find(|(names, _)| names.split(' ').any(|known| known.eq_ignore_ascii_case(name)));
    match found {
        None => Tag::Unknown,
        Some((_, "")) => Tag::Data,
        Some((_, language)) => {
            let known = LANGUAGES
                .iter()
                .find(|known| known.evidence.strip_prefix("language: ") == Some(language));
            match known.map(|known| known.sort) {
                Some(Sort::Configuration) => Tag::Configuration(known.map(|known| known.evidence)),
                _ => Tag::Code(known.map(|known| known.evidence)),
            }
        }
    }
}

/// Whether most of a line are members of objects in JSON.
pub(super) fn is_json(line: &[u8]) -> bool {
    let members = line.windows(2).filter(|pair| *pair == b"\":").count();
    members >= 2 && members * 120 >= line.len() && !line.contains(&b';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_names_a_language_of_the_list() {
        for (names, language) in TAGS.iter().filter(|(_, language)| !language.is_empty()) {
            let name = names.split(' ').next().unwrap_or_default();
            let (Tag::Code(known) | Tag::Configuration(known)) = tag(name) else {
                panic!("{name}")
            };
            assert!(known.is_some_and(|known| known.ends_with(language)), "{name}");
        }
        assert_eq!(tag("JSON"), Tag::Data);
        assert_eq!(tag(""), Tag::Unknown);
        assert_eq!(tag("python title=x"), Tag::Code(Some("language: Python")));
    }
}
