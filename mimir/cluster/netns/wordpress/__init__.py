"""The real WordPress on a real MariaDB Galera cluster, from Debian's packages, in the pods of `app=wordpress`."""
