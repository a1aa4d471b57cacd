#!/usr/bin/env bash
# Resolves the extras of pyproject.toml into locks/*.txt: exact versions with hashes, no download addresses.
# Usage: setup/lock.sh [--upgrade]. Every runtime takes the versions of locks/dev.txt, so they cannot drift apart.
set -euo pipefail
cd "$(dirname "$0")/.."
export UV_CUSTOM_COMPILE_COMMAND="make lock"

compile() {
  .venv/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --python-version "${PYTHON_VERSION:-3.11}" "$@"
}

compile pyproject.toml --all-extras --group dev "$@" --output-file locks/dev.txt
compile --group bench --output-file locks/bench.txt
echo "uv" | compile - --constraint locks/dev.txt --output-file locks/bootstrap.txt
lock() {
  local runtime=$1
  shift
  compile pyproject.toml "${@/#/--extra=}" --constraint locks/dev.txt --output-file "locks/$runtime.txt"
}
for runtime in worker sts-cpu functions agent relay; do
  lock "$runtime" "$runtime"
done
lock media-cache media-cache media-cache-client cli
lock media-host relay agent cli
lock worker-host worker agent cli
# The image of the local stack: no development tools, also on arm64.
compile pyproject.toml --extra cli --extra sts-cpu --extra runpod --extra models --extra library --extra library-api \
  --extra library-worker --extra media-cache --extra media-cache-client --group local-aws --group infra \
  --constraint locks/dev.txt --output-file locks/local.txt
compile pyproject.toml --extra media-cache-functions --python-platform x86_64-manylinux2014 --constraint locks/dev.txt --output-file locks/media-cache-functions.txt
# Lambda's glibc 2.26 loads no PyAV after 14.2; hosts take the same one, so that both write the same bytes.
constraints=build/library-constraints.txt
mkdir -p build
{ sed -n 's/^\([a-z0-9][^ ]*==[^ ]*\).*/\1/p' locks/dev.txt | grep -v '^av=='; echo "av==14.2.0"; } >"$constraints"
compile pyproject.toml --extra library-functions --python-platform x86_64-manylinux2014 --constraint "$constraints" --output-file locks/library-functions.txt
compile pyproject.toml --extra library --extra library-worker --extra cli --constraint "$constraints" --output-file locks/library-worker.txt
# coqui-tts and transformers 4 need older ones of these three; torch itself, its CUDA libraries: setup/torch_environment.sh.
constraints=build/torch-constraints.txt
sed -n 's/^\([a-z0-9][^ ]*==[^ ]*\).*/\1/p' locks/dev.txt | grep -vE '^(hf-xet|huggingface-hub|tokenizers)==' >"$constraints"
cuda_packages=$(sed -n 's/^\(\(nvidia\|cuda\)-[a-z0-9-]*\|triton\|torch\)==.*/--no-emit-package \1/p' <(compile setup/sts-torch.in --no-annotate --no-header))
# shellcheck disable=SC2086 # one word per option is meant
compile pyproject.toml setup/sts-torch.in --extra sts-cpu --extra runpod --extra cli --constraint "$constraints" $cuda_packages --output-file locks/sts-torch.txt
# The images take the versions of locks/sts-torch.txt. torch's CPU build (+cpu) lies on no common index: UV_FIND_LINKS or
# PIP_FIND_LINKS must name a place that has it, or the CPU image's lock is left as it is.
constraints=build/image-constraints.txt
sed -n 's/^\([a-z0-9][^ ]*==[^ ]*\).*/\1/p' locks/sts-torch.txt | grep -vE '^(torchaudio|torchcodec|onnxruntime)==' >"$constraints"
image() {
  local target=$1
  shift
  compile pyproject.toml setup/sts-image.in "setup/sts-image-$target.in" --extra sts-cpu --extra runpod --extra cli --extra models \
    --python-platform x86_64-manylinux_2_28 --constraint "$constraints" --override "setup/sts-image-$target.override" \
    "$@" --output-file "locks/sts-image-$target.txt"
}
image gpu
image cpu ${PIP_FIND_LINKS:+--find-links "$PIP_FIND_LINKS"} || echo "lock: no CPU build of torch at hand; locks/sts-image-cpu.txt is unchanged" >&2
# Kept resolvable, not shipped: docs/adr/0006 says why.
PYTHON_VERSION=3.10 compile pyproject.toml setup/sts-image-py310.in --extra sts-cpu --extra runpod --extra cli --extra models \
  --python-platform x86_64-manylinux_2_28 --output-file locks/sts-image-py310.txt
echo "aws-sam-cli==1.170.0" | compile --no-deps - --output-file locks/lambda-emulator.txt
.venv/bin/npm install --prefix infra --package-lock-only --omit-lockfile-registry-resolved --silent
