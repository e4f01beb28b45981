"""The files inside a package: unpacked into a folder, or a few of them read straight from the archive."""

import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unpacked(package: Path, folder: Path) -> Iterator[list[str]]:
    """The sorted paths of a package's files, which lie below `folder` until the block ends; symbolic links are left out."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        _unpack(package, folder)
        yield sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    finally:
        shutil.rmtree(folder)


def _unpack(package: Path, folder: Path) -> None:
    if package.suffix == ".deb":
        subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
    elif package.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(package) as archive:
            archive.extractall(folder)
    else:
        with tarfile.open(package) as archive:
            archive.extractall(folder, filter="data")


def read_members(package: Path, wanted: re.Pattern) -> dict[str, str]:
    """The text of the files whose path matches `wanted`, by path, without unpacking the package."""
    if package.suffix == ".deb":
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as unpacking:
            return _read_tar(tarfile.open(fileobj=unpacking.stdout, mode="r|"), wanted)
    if package.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(package) as archive:
            return {n: archive.read(n).decode("utf-8", "replace") for n in archive.namelist() if wanted.search(n)}
    return _read_tar(tarfile.open(package, mode="r|*"), wanted)


def _read_tar(archive: tarfile.TarFile, wanted: re.Pattern) -> dict[str, str]:
    with archive:
        return {
            member.name.removeprefix("./"): archive.extractfile(member).read().decode("utf-8", "replace")
            for member in archive
            if member.isfile() and wanted.search(member.name)
        }
