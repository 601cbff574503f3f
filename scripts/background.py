"""Makes policies/fingerprints/background.bin: prints of public text that no set of fingerprints should hold.

    scripts/background.py DIR

Takes packages by their names (pip, npm, apt-get) into DIR. Every licence text counts, whole popular libraries that
companies copy into their repositories, and of the other packages what at least two of them share: idioms,
generated code, boilerplate.
"""

import pathlib
import subprocess
import sys

# Companies copy these into their own repositories, so they are public word by word.
WHOLE_NPM = ["jquery@3.7.1", "lodash@4.17.21", "underscore@1.13.7", "moment@2.30.1", "backbone@1.6.1", "bootstrap@5.3.7", "react@18.3.1", "vue@2.7.16", "axios@1.11.0", "core-js@3.45.0"]
WHOLE_PIP = ["six==1.17.0", "requests==2.32.4", "attrs==25.3.0", "click==8.2.1", "jinja2==3.1.6", "pyyaml==6.0.2", "versioneer==0.29", "appdirs==1.4.4", "toml==0.10.2"]
# What several of these share is an idiom.
SHARED_NPM = ["express@4.21.2", "commander@14.0.0", "yargs@17.7.2", "webpack@5.101.0", "typescript@5.9.2", "eslint@9.33.0", "socket.io@4.8.1", "mongoose@8.17.0", "sequelize@6.37.7", "vite@7.1.0"]
SHARED_PIP = ["django==5.2.5", "flask==3.1.1", "sqlalchemy==2.0.43", "numpy==2.3.2", "setuptools==80.9.0", "pip==25.2", "boto3==1.40.0", "tornado==6.5.2", "cffi==1.17.1", "grpcio==1.74.0", "protobuf==6.31.1", "pytest==8.4.1"]
SHARED_DEB = """golang-golang-x-sys-dev golang-golang-x-text-dev golang-golang-x-crypto-dev golang-golang-x-tools-dev golang-golang-x-sync-dev
    golang-github-prometheus-common-dev golang-github-prometheus-client-golang-dev golang-github-sirupsen-logrus-dev golang-github-stretchr-testify-dev
    golang-github-pkg-errors-dev golang-github-google-uuid-dev golang-github-gin-gonic-gin-dev golang-gopkg-yaml.v3-dev golang-go.uber-zap-dev
    ruby-rack ruby-i18n ruby-activesupport ruby-thor ruby-mime-types ruby-json ruby-builder php-symfony-http-kernel php-symfony-yaml php-doctrine-common
    php-monolog php-guzzlehttp-psr7 libdancer-perl libmojolicious-perl libwww-perl libtest-simple-perl octave-control octave-image octave-struct octave-io
    libglib2.0-dev libx11-dev linux-libc-dev libboost1.74-dev libssl-dev libcurl4-openssl-dev libpng-dev python3-doc node-typescript
    lua-penlight tcl8.6 tk8.6 bwidget r-base-core libopencv-core-dev ghdl-common emacs-common bash-completion systemtap-runtime""".split()
# Texts of licences.
DEBIAN = ["base-files", "python3-spdx-tools", "licensecheck", "libsoftware-license-perl", "python3-license-expression"]

TEXT = {".go", ".rb", ".php", ".pl", ".m", ".lua", ".tcl", ".hpp", ".r", ".R", ".java", ".vhdl", ".v", ".sh", ".el", ".py", ".c", ".h", ".cc", ".cpp", ".js", ".ts", ".mjs", ".cjs", ".css", ".pyx", ".txt", ".md", ".rst", ".pm", ".json", ""}


def unpack(folder, npm, pip):
    folder.mkdir(parents=True, exist_ok=True)
    for name in npm:
        out = folder / name.replace("@", "-")
        if not out.exists():
            packed = subprocess.run(["npm", "pack", "--silent", name], cwd=folder, check=True, capture_output=True, text=True).stdout.split()[-1]
            out.mkdir()
            subprocess.run(["tar", "xzf", folder / packed, "-C", out], check=True)
            (folder / packed).unlink()
    for name in pip:
        out = folder / name.replace("==", "-")
        if not out.exists():
            out.mkdir()
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", out, name]
            subprocess.run(command, check=True)
            for wheel in out.glob("*.whl"):
                subprocess.run(["unzip", "-qo", wheel, "-d", out], check=True)
                wheel.unlink()


def is_licence(path):
    name = path.name.lower()
    return name.startswith(("license", "licence", "copying", "notice")) or "common-licenses" in str(path) or "/license" in str(path).lower()


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    unpack(folder / "whole", WHOLE_NPM, WHOLE_PIP)
    unpack(folder / "shared", SHARED_NPM, SHARED_PIP)
    for kind, names in (("licences", DEBIAN), ("shared", SHARED_DEB)):
        for name in names:
            if not (folder / kind / name).exists():
                (folder / kind).mkdir(exist_ok=True)
                subprocess.run(["apt-get", "download", "--quiet", name], cwd=folder / kind, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for package in (folder / kind).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, folder / kind / package.name.split("_")[0]], check=True)
            package.unlink()
    lines = []
    for path in sorted(folder.glob("**/*")):
        if path.is_symlink() or not path.is_file() or path.suffix not in TEXT or path.stat().st_size > 1_500_000:
            continue
        if ".min." in path.name or "/locale" in str(path) or "/esm/" in str(path) or "/test" in str(path):
            continue
        kind, package = path.relative_to(folder).parts[:2]
        if is_licence(path) or kind == "whole":
            lines.append(f"whole\t{package}\t{path}")
        elif kind == "shared":
            lines.append(f"shared\t{package}\t{path}")
    root = pathlib.Path(__file__).resolve().parent.parent
    out = root / "policies" / "fingerprints" / "background.bin"
    command = ["cargo", "run", "--release", "--quiet", "-p", "cordon-inspect", "--example", "background", "--", out]
    subprocess.run(command, input="\n".join(lines), text=True, check=True, cwd=root)
    print(f"{out.stat().st_size} bytes of {len(lines)} files")


main()
