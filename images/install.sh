#!/bin/sh
# Runs in the build stage of every image: a virtual environment of exactly the pinned
# packages, trimmed, with the bytecode of what is imported, and its SBOM.
# Usage: install.sh ROLE. Files come as mounts; see the Dockerfiles.
set -eu
role=$1
environment=/opt/venv

if [ -s /run/secrets/ca ]; then # only where a proxy has a certificate of its own
    export PIP_CERT=/run/secrets/ca SSL_CERT_FILE=/run/secrets/ca
fi
from=""
if [ -n "$(find /wheels -name '*.whl' -print -quit)" ]; then
    from="--no-index --find-links /wheels"
elif [ -n "${EXTRA_INDEX:-}" ]; then
    from="--extra-index-url $EXTRA_INDEX"
fi
pip="/opt/tools/bin/python -m pip --disable-pip-version-check"

python3 -m venv /opt/tools
# shellcheck disable=SC2086 # words on purpose
$pip install --quiet --no-cache-dir $from -r /src/requirements-build.txt
python3 -m venv --without-pip "$environment"
# The subset is complete, so no resolver runs and nothing unpinned can come in.
# shellcheck disable=SC2086
$pip --python "$environment/bin/python" install --quiet --no-cache-dir --no-compile --no-deps \
    --only-binary=:all: $from -r /src/requirements.txt

/opt/tools/bin/cyclonedx-py environment --output-reproducible --of JSON -o /opt/sbom.json \
    "$environment/bin/python"

site=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo /app >"$site/relrec.pth"

# What only building against, testing or looking at a package needs. Steps write TensorBoard
# logs but do not show them.
rm -rf "$site"/torch/test "$site"/torch/include "$site"/torch/share "$site"/pyarrow/include \
    "$site"/pyarrow/src "$site"/pyarrow/*flight* "$site"/onnx/backend/test/data \
    "$site"/onnxruntime/tools "$site"/onnxruntime/transformers "$site"/onnxruntime/quantization \
    "$site"/tensorboard/webfiles.zip "$site"/tensorboard_data_server/bin
find "$site" -type d -name tests -prune -exec rm -rf {} +
find "$site" -type f \
    \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.a' -o -name '*.h' \) -delete
if [ -d "$site/botocore/data" ]; then # one folder for each of Amazon's services
    find "$site/botocore/data" -mindepth 1 -maxdepth 1 -type d \
        ! -name s3 ! -name sts ! -name sso ! -name sso-oidc -exec rm -rf {} +
fi
if [ -d "$site/torch/bin" ]; then # torch starts this one to share memory between workers
    find "$site/torch/bin" -type f ! -name torch_shm_manager -delete
fi
case $role in # pip takes whichever build of torch the index offers; each role wants one of them
cpu) "$environment/bin/python" -c 'import sys, torch; sys.exit(torch.version.cuda is not None)' || {
    echo "the cpu image wants a CPU build of torch: see EXTRA_INDEX in the Dockerfile" >&2
    exit 1
} ;;
gpu) "$environment/bin/python" -c 'import sys, torch; sys.exit(torch.version.cuda is None)' || {
    echo "the gpu image wants a CUDA build of torch, as the public index has" >&2
    exit 1
} ;;
esac

find "$site" -name __pycache__ -prune -exec rm -rf {} +
"$environment/bin/python" - "$role" /src/roles.toml <<'PY'
import importlib, sys, tomllib

tables = tomllib.load(open(sys.argv[2], "rb"))
role = tables[sys.argv[1]]
for name in role.get("warm", tables.get(role.get("like"), {}).get("warm", ())):
    importlib.import_module(name)
PY
rm -rf "$environment"/bin/[Aa]ctivate* "$environment"/include
