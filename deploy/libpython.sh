#!/bin/sh
# Triton's Python backend needs libpython as a shared library, which Debian's python3 does not bring.
# Finds it, or installs it: as root by apt, else unpacked into the virtual environment.
#
#   deploy/libpython.sh .venv
set -eu
venv=$1
version=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
library=libpython$version.so.1.0
package=libpython$version

for folder in "$venv/lib" $("$venv/bin/python" -c 'import sys, sysconfig; print(sysconfig.get_config_var("LIBDIR"), sys.base_prefix + "/lib")'); do
  [ -e "$folder/$library" ] && exit 0
done
ldconfig -p 2>/dev/null | grep -q "$library" && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$package" >/dev/null && exit 0
elif command -v apt-get >/dev/null; then
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  if (cd "$scratch" && apt-get download -q "$package" >/dev/null 2>&1 && dpkg -x "$package"_*.deb .); then
    find "$scratch" -name "libpython*.so*" -exec cp -a {} "$venv/lib/" \; && exit 0
  fi
fi
echo "$library is missing, Triton's Python backend needs it. As root: apt-get install $package" >&2
exit 1
