"""What the package says of itself: its control data, and the documents that Debian wants."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from debian.private_directory import python_version

from twistedproxy import __version__

CONTROL = """\
Package: twistedproxy
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {size}
Depends: python3 (>= {major}.{minor}), python3 (<< {major}.{next_minor}), libc6 (>= {libc}), adduser, procps
Suggests: logrotate
Section: net
Priority: optional
Description: forward proxy for HTTP/1.1 and HTTPS
 One daemon that forwards HTTP/1.1 and tunnels HTTPS by CONNECT. It is strict
 on the wire, bounded in memory, takes new settings without dropping a
 connection, and has a reason in its log for everything that went wrong.
 .
 The libraries that it needs are in its own directory and meet no others.
"""

CHANGELOG = """\
twistedproxy ({version}) unstable; urgency=medium

  * The changes are described in the project's own changelog.

 -- {maintainer}  {date}
"""

COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: twistedproxy
Comment: The libraries in /usr/lib/twistedproxy have their licences beside them,
 in the directories whose names end in .dist-info.

Files: *
Copyright: {copyright}
License: MIT
{licence}
"""

SCRIPTS = ("postinst", "prerm", "postrm")


@dataclass(frozen=True)
class Build:
    """What is particular about one build. ``epoch`` is its time, in seconds since 1970."""

    architecture: str
    epoch: int
    maintainer: str
    version: str = __version__


def documents(build: Build, licence: str) -> dict[str, bytes]:
    """What belongs in the directory of documents, by name."""
    changelog = CHANGELOG.format(
        version=build.version, maintainer=build.maintainer, date=formatdate(build.epoch, localtime=False)
    )
    _, notice, *conditions = licence.strip().split("\n\n")
    indented = "\n".join(f" {line}" if line else " ." for line in "\n\n".join(conditions).splitlines())
    described = COPYRIGHT.format(copyright=notice.removeprefix("Copyright "), licence=indented)
    return {
        "changelog.gz": gzip.compress(changelog.encode(), 9, mtime=0),
        "copyright": described.encode(),
    }


def write_control_data(tree: Path, build: Build, configuration: Sequence[str], scripts: Path) -> None:
    """Describe what is in ``tree``, for dpkg."""
    files = [path for path in sorted(tree.rglob("*")) if path.is_file() and not path.is_symlink()]
    major, minor = python_version()
    control = CONTROL.format(
        version=build.version,
        architecture=build.architecture,
        maintainer=build.maintainer,
        # In KiB, each file in whole ones, and one for whatever has no length.
        size=sum(-(-path.lstat().st_size // 1024) if path in set(files) else 1 for path in tree.rglob("*")),
        major=major,
        minor=minor,
        next_minor=minor + 1,
        # The libraries were chosen for this one, such as "glibc 2.36".
        libc=(os.confstr("CS_GNU_LIBC_VERSION") or "").split()[-1],
    )
    sums = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(tree)}\n" for path in files]
    ours = [line for line in sums if f"/{line.split('  ', 1)[1].strip()}" not in configuration]
    directory = tree / "DEBIAN"
    directory.mkdir()
    (directory / "control").write_text(control)
    (directory / "conffiles").write_text("".join(f"{name}\n" for name in configuration))
    (directory / "md5sums").write_text("".join(ours))
    for name in SCRIPTS:
        shutil.copy(scripts / name, directory / name)
