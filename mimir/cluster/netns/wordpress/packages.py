"""What the real WordPress needs on this machine, and whether it is there."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from mimir.cluster.base import Requirement
from mimir.cluster.netns.requirements import tool
from mimir.cluster.netns.wordpress.galera import PROVIDER

WORDPRESS, CONFIG = Path("/usr/share/wordpress"), Path("/etc/wordpress")
_PROGRAMS = {
    "mariadbd": "mariadb-server", "mariadb-install-db": "mariadb-server", "mariadb": "mariadb-client", "rsync": "rsync",
    "ss": "iproute2", "nginx": "nginx-light", "php": "php-cli", "openssl": "openssl",
}  # fmt: skip
_HOW = (
    "install them without starting services: printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; "
    "apt-get install {}; or run the generic services: cluster.real_stores=false"
)


@cache
def missing() -> tuple[str, ...]:
    """Debian packages that are not installed."""
    found = {package for program, package in _PROGRAMS.items() if tool(program) is None}
    if not PROVIDER.exists():
        found.add("galera-4")
    if fpm() is None:
        found |= {"php-fpm", "php-mysql"}
    if not (WORDPRESS / "wp-load.php").exists() or not CONFIG.is_dir():
        found.add("wordpress")
    if theme() is None:
        found.add("wordpress-theme-twentytwentythree")
    return tuple(sorted(found))


def requirement() -> Requirement:
    """All packages."""
    packages = " ".join(missing())
    return Requirement("the packages of WordPress and MariaDB Galera", not missing(), _HOW.format(packages))


def fpm() -> str | None:
    """PHP's FastCGI server; its name holds the version of PHP."""
    found = sorted(Path("/usr/sbin").glob("php-fpm[0-9]*"))
    return str(found[-1]) if found else None


def theme() -> str | None:
    """The newest block theme that is installed."""
    folder = WORDPRESS / "wp-content" / "themes"
    known = [name for name in ("twentytwentythree", "twentytwentytwo") if (folder / name / "style.css").exists()]
    return known[0] if known else None
