#!/usr/bin/env bash
# Why can this consumer not use the media cache? Looks at it as the consumer does (bundle, certificate, name, token,
# disk), with openssl and curl alone, and ends with one verdict line and its remedy.
#
#   check-tts-media-cache-tls.sh                      with the TTS_MEDIA_CACHE_* variables of this shell
#   check-tts-media-cache-tls.sh --docker CONTAINER   with those of a running container
#
# Exit status: 0 all is well, 1 a fault was found, 2 the check could not be made.
# `livedub media check-tls` is the same for hosts with Python.
set -euo pipefail

readonly TIMEOUT_S=10

die() {
  echo "check-tts-media-cache-tls: $1" >&2
  exit 2
}

# verdict WORD DETAIL: prints the line and ends.
verdict() {
  local remedy
  case $1 in
    ok) remedy='nothing to do' ;;
    not-configured) remedy='set TTS_MEDIA_CACHE_BASE_URL, such as https://10.0.1.30:8443, and start the consumer again' ;;
    unreachable) remedy='see that Caddy runs on the host, and that its security group lets the consumer in' ;;
    missing-bundle) remedy='set TTS_MEDIA_CACHE_CA_BUNDLE to: base64 -w0 ca-for-clients.pem (of the host), and start the consumer again' ;;
    corrupt-bundle) remedy='set TTS_MEDIA_CACHE_CA_BUNDLE anew, one line: base64 -w0 ca-for-clients.pem; check it where it is stored, then start the consumer again' ;;
    stale-bundle) remedy='the certificate was changed: start the consumer again with the bundle that is published now' ;;
    name-mismatch) remedy='use a name or address that the certificate is for in TTS_MEDIA_CACHE_BASE_URL, or set PRIVATE_IP and MEDIA_TLS_SAN_DNS on the host and: livedub media rotate --renew' ;;
    expired) remedy='on the host: livedub media rotate (--renew where it makes its own), and see why its timer did not' ;;
    token-drift) remedy="give the consumer one of the host's tokens: TTS_MEDIA_CACHE_UPLOAD_TOKEN in <NAMESPACE>/voice/secrets, and livedub media host-env on the host" ;;
    disk-full) remedy='see why MediaCacheCleanup does not run (its log, its schedule), then: livedub media cleanup' ;;
    *) remedy="see the upload service's log on the host" ;;
  esac
  echo "VERDICT $1: ${address:+$address: }$2. Remedy: $remedy."
  [[ $1 == ok ]] && exit 0
  exit 1
}

# variable NAME: its value in this shell, or in the container.
variable() {
  if [[ -n $container ]]; then
    docker exec "$container" printenv "$1" || true
  else
    printenv "$1" || true
  fi
}

# decode TEXT: the PEM that a bundle stands for, as the consumer got it.
decode() {
  if [[ $1 == *-----* ]]; then
    printf '%s\n' "$1"
  else
    printf '%s' "$1" | tr -d '[:space:]' | base64 -d 2>/dev/null
  fi
}

# rewrap FILE: every certificate with its line breaks put back, 64 characters a line (RFC 7468).
rewrap() {
  tr -d '[:space:]' <"$1" |
    sed -e 's/-----BEGINCERTIFICATE-----/\n-----BEGIN CERTIFICATE-----\n/g' \
      -e 's/-----ENDCERTIFICATE-----/\n-----END CERTIFICATE-----\n/g' | sed '/^$/d' | fold -w 64
}

count() {
  grep -c -- "$1" "$2" || true
}

# readable FILE: how many certificates openssl finds in it as it is.
readable() {
  openssl crl2pkcs7 -nocrl -certfile "$1" 2>/dev/null | openssl pkcs7 -print_certs 2>/dev/null | grep -c -- '-----BEGIN' || true
}

check_bundle() {
  decode "$bundle" >"$work/given.pem" || verdict corrupt-bundle 'the bundle is neither PEM nor base64 of PEM'
  rewrap "$work/given.pem" >"$work/ca.pem"
  local begins ends found
  begins=$(count '^-----BEGIN CERTIFICATE-----$' "$work/ca.pem")
  ends=$(count '^-----END CERTIFICATE-----$' "$work/ca.pem")
  found=$(readable "$work/ca.pem")
  echo "bundle: $(wc -c <"$work/given.pem") bytes of PEM, $begins certificates"
  if [[ $begins == 0 ]]; then
    verdict corrupt-bundle 'the bundle holds no certificate'
  elif ! [[ $begins == "$ends" && $begins == "$found" ]]; then
    verdict corrupt-bundle 'a certificate in the bundle is damaged or cut off (bad end line)'
  elif [[ $(readable "$work/given.pem") != "$found" ]]; then
    verdict corrupt-bundle 'the bundle lost line breaks on its way (bad end line): rewrapped it can be read, as it is Node and curl cannot'
  fi
}

# handshake [OPTION...]: what openssl s_client says; every option but the bundle's is the same.
handshake() {
  timeout "$TIMEOUT_S" openssl s_client -connect "$host:$port" "${name_check[@]}" "$@" </dev/null 2>&1 || true
}

check_certificate() {
  local said code
  said=$(handshake "${trust[@]}")
  if ! grep -q -- '-----BEGIN CERTIFICATE-----' <<<"$said"; then
    verdict unreachable "no TLS with $host port $port: $(grep -v '^ *$' <<<"$said" | head -n 1)"
  fi
  openssl x509 -noout -fingerprint -sha256 -enddate -ext subjectAltName <<<"$said" 2>/dev/null | sed 's/^/served: /'
  code=$(sed -n 's/^ *Verify return code: \([0-9]*\).*/\1/p' <<<"$said" | head -n 1)
  echo "openssl s_client: $(sed -n 's/^ *\(Verify return code: .*\)/\1/p' <<<"$said" | head -n 1)"
  [[ $code == 0 ]] && return
  if [[ $code == 10 ]] || ! openssl x509 -noout -checkend 0 <<<"$said" >/dev/null 2>&1; then
    verdict expired 'the served certificate has expired'
  elif [[ $code == 62 || $code == 64 ]]; then
    verdict name-mismatch 'the served certificate is for other names'
  elif [[ -z $bundle ]]; then
    verdict missing-bundle 'no bundle is set (Node: DEPTH_ZERO_SELF_SIGNED_CERT)'
  fi
  verdict stale-bundle "the bundle does not vouch for the served certificate (openssl: $code)"
}

# ask METHOD PATH [OPTION...]: status and, in $work/body, what came with it.
ask() {
  local method=$1 path=$2
  shift 2
  curl -sS -o "$work/body" -w '%{http_code}' --max-time "$TIMEOUT_S" -X "$method" "${curl_trust[@]}" "$@" "$address$path"
}

check_answers() {
  local status
  status=$(ask GET /health) || verdict unreachable 'curl gets no answer'
  echo "curl: HTTP $status"
  [[ $status == 200 ]] || verdict unreachable "/health answers $status: that is no media cache"
  if [[ -n $token ]]; then
    # A key that nobody has: the token is judged, and nothing is deleted. In a file, for a process list shows arguments.
    local key
    key=$(openssl rand -hex 32)
    printf 'Authorization: Bearer %s\n' "$token" >"$work/headers"
    status=$(ask DELETE "/media/${key:0:2}/$key.pcm" -H "@$work/headers") || verdict unreachable 'curl gets no answer'
    [[ $status == 401 ]] && verdict token-drift "the host answers 401 to the consumer's token"
  fi
  status=$(ask GET /ready) || verdict unreachable 'curl gets no answer'
  if [[ $status == 503 ]]; then
    grep -q full "$work/body" && verdict disk-full "$(tr -d '\n' <"$work/body")"
    verdict not-ready "$(tr -d '\n' <"$work/body")"
  fi
}

container=''
address=''
case ${1:-} in
  '') ;;
  --docker)
    [[ -n ${2:-} ]] || die '--docker needs the name of a container'
    container=$2
    docker exec "$container" true || die "docker exec $container failed; see docker ps"
    ;;
  *)
    sed -n 's/^# \{0,1\}//; 2,10p' "$0"
    [[ $1 == -h || $1 == --help ]] && exit 0
    exit 2
    ;;
esac
for program in openssl curl base64 timeout; do
  command -v "$program" >/dev/null || die "$program is not installed"
done

umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

bundle=$(variable TTS_MEDIA_CACHE_CA_BUNDLE)
token=$(variable TTS_MEDIA_CACHE_UPLOAD_TOKEN)
addresses=$(variable TTS_MEDIA_CACHE_BASE_URL)
[[ -n ${addresses//[, ]/} ]] || verdict not-configured 'TTS_MEDIA_CACHE_BASE_URL is not set, so the consumer uses no cache'

trust=()
curl_trust=()
if [[ -n ${bundle//[[:space:]]/} ]]; then
  check_bundle
  # No other authorities beside it: so it is in the consumer.
  trust=(-CAfile "$work/ca.pem" -no-CApath -no-CAstore)
  curl_trust=(--cacert "$work/ca.pem")
else
  bundle=''
fi

IFS=', ' read -r -a list <<<"$addresses"
for address in "${list[@]}"; do
  [[ -n $address ]] || continue
  address=${address%/}
  [[ $address =~ ^https://(\[[0-9A-Fa-f:.]+\]|[^:/]+)(:([0-9]+))?$ ]] || verdict unreachable 'this is no https:// address'
  host=${BASH_REMATCH[1]}
  port=${BASH_REMATCH[3]:-443}
  bare=${host#[}
  bare=${bare%]}
  if [[ $bare =~ ^[0-9.]+$ || $bare == *:* ]]; then
    name_check=(-verify_ip "$bare")
  else
    name_check=(-verify_hostname "$bare" -servername "$bare")
  fi
  check_certificate
  check_answers
done
address=''
verdict ok 'bundle, certificate, name, token and disk are as they should be'
