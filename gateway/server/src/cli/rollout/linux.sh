#!/bin/sh
# Lets a Linux machine use language models through Cordon: trust in its CA, and the proxy's address for every
# login. Run as root: `sh cordon-linux.sh`, or with `remove`. DESTDIR prefixes every path, for images.
set -eu

root="${DESTDIR:-}"
proxy='@PROXY@'
hosts_around='localhost,127.0.0.1,::1'

if [ -d "$root/etc/pki/ca-trust/source/anchors" ]; then
  anchors="$root/etc/pki/ca-trust/source/anchors" update=update-ca-trust
  bundle=/etc/pki/tls/certs/ca-bundle.crt
else
  anchors="$root/usr/local/share/ca-certificates" update=update-ca-certificates
  bundle=/etc/ssl/certs/ca-certificates.crt
fi
profile="$root/etc/profile.d/cordon.sh"
systemd="$root/etc/environment.d/60-cordon.conf"

if [ "${1:-}" = remove ]; then
  rm -f "$anchors/cordon.crt" "$profile" "$systemd"
else
  mkdir -p "$anchors" "$root/etc/profile.d" "$root/etc/environment.d"
  cat >"$anchors/cordon.crt" <<'CERTIFICATE'
@CA@
CERTIFICATE
  chmod 0644 "$anchors/cordon.crt"
  {
    for name in HTTPS_PROXY https_proxy; do echo "$name=$proxy"; done
    for name in NO_PROXY no_proxy; do echo "$name=$hosts_around"; done
    for name in SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_CA_BUNDLE GIT_SSL_CAINFO PIP_CERT CARGO_HTTP_CAINFO \
      AWS_CA_BUNDLE GRPC_DEFAULT_SSL_ROOTS_FILE_PATH; do
      echo "$name=$bundle"
    done
    for name in NODE_EXTRA_CA_CERTS CODEX_CA_CERTIFICATE DENO_CERT; do echo "$name=${anchors#"$root"}/cordon.crt"; done
    echo NODE_USE_ENV_PROXY=1
  } >"$systemd"
  sed 's/^\([A-Za-z_]*\)=\(.*\)$/export \1='\''\2'\''/' "$systemd" >"$profile"
  chmod 0644 "$systemd" "$profile"
fi
# In an image there is nothing to refresh before it runs.
[ -n "$root" ] || "$update"
# Java keeps roots of its own.
if [ -z "$root" ] && command -v keytool >/dev/null; then
  keytool -delete -noprompt -cacerts -storepass changeit -alias cordon >/dev/null 2>&1 || true
  [ "${1:-}" = remove ] || keytool -importcert -noprompt -cacerts -storepass changeit -alias cordon -file "$anchors/cordon.crt"
fi
