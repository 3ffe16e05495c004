#!/bin/bash
# Check what is released, as far as this machine can: RELEASING.md.
#
#     packaging/check.sh [FOLDER] [--tests]
#
# Builds the wheel and the source distribution of the last commit twice and compares them, checks their metadata, installs
# them, lists the licences and components of what is installed, upgrades from the wheel of 0.1.0, builds the container
# image and runs it. FOLDER (default: dist) gets the wheel, the source distribution, sbom.json and licences.csv.
# --tests: also `make test-fast` in the unpacked source distribution. What this machine cannot do is said, line by line.
set -euo pipefail
cd "$(dirname "$0")/.."

OLD=b78fa3e  # of 0.1.0
LIMIT=400    # MB of the image for processors
EXTRAS=postgres,mysql,review
PYTHON=${PYTHON:-python3}
out=dist tests=
for argument in "$@"; do
    if [ "$argument" = --tests ]; then tests=yes; else out=$argument; fi
done
mkdir -p "$out"
out=$(realpath "$out")
root=$PWD
work=$(mktemp -d)
store=()  # the command that has the images
trap '[ ${#store[@]} = 0 ] || "${store[@]}" umount --all >/dev/null 2>&1; rm -rf "$work"' EXIT

ok() { printf 'ok       %s\n' "$*"; }
untested() { printf 'untested %s\n' "$*"; }
fail() { printf 'failed   %s\n' "$*"; exit 1; }

unpack() {  # REVISION FOLDER
    mkdir -p "$2"
    git archive "$1" | tar -x -C "$2"
}

environment() {  # FOLDER PYTHON REQUIREMENT
    "$2" -m venv "$1"
    "$1/bin/python" -m pip install -qq --constraint "$root/constraints.txt" "$3"
}

build_twice() {
    local time
    time=$(git log -1 --format=%ct)
    for turn in 1 2; do
        unpack HEAD "$work/turn$turn/source"
        (cd "$work/turn$turn/source" && SOURCE_DATE_EPOCH=$time "$work/tools/bin/python" -m build --quiet --outdir "$work/turn$turn/dist" .) \
            >"$work/build.log" 2>&1 || { tail -20 "$work/build.log"; fail "the wheel cannot be built"; }
    done
    wheel=$(basename "$work"/turn1/dist/*.whl) sdist=$(basename "$work"/turn1/dist/*.tar.gz)
    cmp "$work/turn1/dist/$wheel" "$work/turn2/dist/$wheel" || fail "two builds give two wheels"
    cp "$work/turn1/dist/$wheel" "$work/turn1/dist/$sdist" "$out/"
    ok "$wheel, the same from two builds ($(du -m "$out/$wheel" | cut -f1) MB), and $sdist"
}

check_metadata() {
    "$work/tools/bin/twine" check --strict "$out/$wheel" "$out/$sdist" >"$work/twine.log" || { cat "$work/twine.log"; fail metadata; }
    ok "metadata and the page of the package index (twine check --strict)"
}

list_components() {
    "$work/tools/bin/cyclonedx-py" environment "$work/new/bin/python" --output-reproducible --validate \
        --output-file "$out/sbom.json" 2>"$work/sbom.log" || { cat "$work/sbom.log"; fail "list of components"; }
    "$work/tools/bin/pip-licenses" --python "$work/new/bin/python" --from mixed --format csv \
        --ignore-packages fashion-cataloger pip setuptools --output-file "$out/licences.csv" >/dev/null
    if grep -i unknown "$out/licences.csv"; then fail "packages without a licence"; fi
    ok "sbom.json (CycloneDX) and licences.csv: $(($(wc -l <"$out/licences.csv") - 1)) packages, each with a licence"
}

check_sdist() {
    environment "$work/sdist" "$PYTHON" "$out/$sdist"
    (cd "$work" && "$work/sdist/bin/cataloger" doctor >/dev/null) || fail "the source distribution does not run"
    ok "the source distribution installs and runs"
    if [ -z "$tests" ]; then
        untested "make test-fast in the source distribution: --tests"
        return
    fi
    mkdir "$work/unpacked"
    tar -x -C "$work/unpacked" --strip-components 1 -f "$out/$sdist"
    (cd "$work/unpacked" && make test-fast) >"$work/tests.log" 2>&1 || { tail -40 "$work/tests.log"; fail "make test-fast"; }
    ok "make test-fast in the source distribution: $(tail -1 "$work/tests.log")"
}

check_pythons() {
    for version in 3.11 3.12 3.13 3.14; do
        # pyenv has commands for versions that are not switched on.
        python=$(PYENV_VERSION=$(ls "$(pyenv root 2>/dev/null)/versions" 2>/dev/null | grep -m1 "^$version") \
            "python$version" -c 'import sys; print(sys.executable)' 2>/dev/null) ||
            { untested "Python $version: this machine has none"; continue; }
        environment "$work/python$version" "$python" "$out/$wheel"
        "$work/python$version/bin/cataloger" tag examples/images --db "sqlite:///$work/$version.db" --quiet ||
            fail "tagging on Python $version"
        ok "Python $version: installed, imported, 20 images tagged"
    done
}

check_upgrade() {
    if ! git cat-file -e "$OLD" 2>/dev/null; then
        untested "upgrading from 0.1.0: the history does not reach back to $OLD"
        return
    fi
    unpack "$OLD" "$work/old-source"
    environment "$work/old" "$PYTHON" "$work/old-source"
    cp -r examples/images "$work/photos"
    printf '%s\n' "db = \"sqlite:///$work/old.db\"" >"$work/cataloger.toml"
    (
        cd "$work"
        old/bin/cataloger --config cataloger.toml tag photos --quiet
        old/bin/cataloger --config cataloger.toml report --output old.html >/dev/null
        new/bin/cataloger --config cataloger.toml db upgrade >/dev/null
        new/bin/cataloger --config cataloger.toml tag photos --model fashion-39@0.3 --json >second.json 2>/dev/null
        new/bin/cataloger --config cataloger.toml runs list --json >runs.json
        new/bin/cataloger --config cataloger.toml models verify "$(old/bin/python -c \
            'from cataloger.bundle import default_bundle_path; print(default_bundle_path())')" >/dev/null
    ) || fail "the upgrade from 0.1.0"
    "$PYTHON" - "$work" <<'PYTHON' || fail "the upgrade from 0.1.0 tags again"
import json, sys
from pathlib import Path

second = json.loads((Path(sys.argv[1]) / "second.json").read_text())
sys.exit(0 if (second["done"], second["skipped"]) == (0, 20) else f"{second}")
PYTHON
    ok "0.1.0 -> ${wheel#*-}: database, configuration and bundle go on, no image is tagged again"
}

check_image() {
    if [ "$(id -u)" != 0 ] || ! command -v buildah >/dev/null || ! command -v debootstrap >/dev/null; then
        untested "the container image: needs root, buildah and debootstrap"
        return
    fi
    local mirror suite=bookworm
    mirror=${MIRROR:-$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/debian.sources)}
    debootstrap --variant=minbase "$suite" "$work/base" "$mirror" >"$work/image.log" 2>&1 || { tail "$work/image.log"; fail base; }
    # As the images of Debian that are called slim.
    rm -rf "$work"/base/usr/share/{doc,info,locale,man}/* "$work"/base/var/cache/apt/* "$work"/base/var/lib/apt/lists/*
    "$PYTHON" -m pip wheel -qq --constraint constraints.txt --wheel-dir "$work/wheels" "$out/$wheel[$EXTRAS]" 'setuptools>=77'
    export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot
    store=(buildah --root "$work/store" --runroot "$work/runroot")
    {
        base=$("${store[@]}" from scratch)
        "${store[@]}" copy --quiet "$base" "$work/base" /
        "${store[@]}" commit --quiet "$base" localhost/base
        unpack HEAD "$work/context"
        "${store[@]}" build --layers=false --build-arg BASE=localhost/base --build-arg PIP_NO_INDEX=1 \
            --build-arg PIP_FIND_LINKS=/wheels --volume "$work/wheels:/wheels:ro" --tag cataloger "$work/context"
    } >>"$work/image.log" 2>&1 || { tail -20 "$work/image.log"; fail "the image cannot be built"; }
    run_image
}

run_image() {
    local container size
    container=$("${store[@]}" from localhost/cataloger)
    size=$(du -s --apparent-size --block-size=1MB "$("${store[@]}" mount "$container")" | cut -f1)
    [ "$size" -lt "$LIMIT" ] || fail "the image has $size MB, more than $LIMIT"
    install -d -o 10001 -g 10001 "$work/data"
    chmod 711 "$work"
    in_image() { "${store[@]}" run --volume "$root/examples/images:/photos:ro" --volume "$work/data:/data" "$container" -- "$@"; }
    in_image cataloger doctor >"$work/doctor.log" 2>&1 || { cat "$work/doctor.log"; fail "doctor in the image"; }
    in_image cataloger tag /photos --db sqlite:////data/catalog.db --quiet 2>"$work/tag.log" || { cat "$work/tag.log"; fail "tag in the image"; }
    [ ! -s "$work/tag.log" ] || { cat "$work/tag.log"; fail "tag in the image is not quiet"; }
    [ "$(stat -c %u "$work/data/catalog.db")" = 10001 ] || fail "the image runs as another user"
    ok "the image for processors: $size MB with $EXTRAS; doctor and tag run in it as uid 10001"
    untested "the image for graphics cards (--target gpu): 6 GB, built by hand"
}

"$PYTHON" -m venv "$work/tools"
"$work/tools/bin/python" -m pip install -qq build cyclonedx-bom pip-licenses twine
build_twice
check_metadata
environment "$work/new" "$PYTHON" "$out/$wheel[$EXTRAS]"
list_components
check_sdist
check_pythons
check_upgrade
check_image
