#!/bin/sh
# Install the package of this folder into /opt/cataloger, for an image: Dockerfile.
#
#     sh packaging/install.sh EXTRAS [--slim]
set -eu
python3 -m pip install --no-cache-dir --no-compile --constraint constraints.txt --target /opt/cataloger ".[$1]"
cd /opt/cataloger
if [ "${2:-}" = --slim ]; then
    # What no command without torch loads: tests, headers and types of libraries, SQLAlchemy's symbols, tools for making models.
    find . -depth -type d -name tests -exec rm -r {} +
    find . -type f -regextype egrep -regex '.*\.(pyi|pyx|pxd|h|c|a)' -delete
    find sqlalchemy -name '*.so' -exec strip --strip-unneeded {} +
    rm -r numpy/f2py sqlalchemy/testing
    (cd onnxruntime && rm -r backend datasets quantization tools transformers)
fi
# Once, here: the user of the image may write nothing beside the program.
python3 -m compileall -q --invalidation-mode unchecked-hash .
