"""The web pods: nginx with TLS before php-fpm with Debian's WordPress, whose site address is whatever the visitor asked for."""

from __future__ import annotations

from mimir.cluster.netns.wordpress import galera
from mimir.cluster.netns.wordpress.packages import CONFIG, WORDPRESS, fpm, theme

CONTENT = "/run/wp-content"
_CERTIFICATE, _KEY, _PHP = "/run/tls.crt", "/run/tls.key", "/run/php.sock"
_WORKERS = 6  #: PHP processes of a pod at most: requests it works on at a time

_NGINX = f"""daemon off;
pid /run/nginx.pid;
error_log stderr error;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
  include /etc/nginx/mime.types;
  access_log off;
  client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
  client_max_body_size 16m;
  keepalive_timeout %(idle_s)ds;
  fastcgi_buffers 32 16k;
  server {{
    listen %(port)d ssl;
    ssl_certificate {_CERTIFICATE};
    ssl_certificate_key {_KEY};
    ssl_protocols TLSv1.3;
    root {WORDPRESS};
    index index.php;
    location / {{ try_files $uri $uri/ /index.php?$args; }}
    location /wp-json/ {{ rewrite ^/wp-json(/.*)$ /index.php?rest_route=$1 last; }}
    location /wp-content/uploads/ {{ alias {CONTENT}/uploads/; }}
    location ~ \\.php$ {{
      include /etc/nginx/fastcgi_params;
      fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
      fastcgi_pass unix:{_PHP};
    }}
  }}
}}
"""

_FPM = f"""[global]
daemonize = no
error_log = /dev/stderr
[www]
listen = {_PHP}
listen.backlog = 128
pm = dynamic
pm.max_children = {_WORKERS}
pm.start_servers = 2
pm.min_spare_servers = 1
pm.max_spare_servers = 3
catch_workers_output = yes
php_admin_value[upload_max_filesize] = 16M
php_admin_value[post_max_size] = 16M
php_admin_value[opcache.memory_consumption] = 64
"""

_CONFIG = f"""<?php
define('DB_NAME', '{galera.DATABASE}');
define('DB_USER', '{galera.USER}');
define('DB_PASSWORD', '{galera.PASSWORD}');
define('DB_HOST', '%(store)s');
define('DB_CHARSET', 'utf8mb4');
define('WP_HOME', 'https://' . $_SERVER['HTTP_HOST']);
define('WP_SITEURL', WP_HOME);
define('WP_CONTENT_DIR', '{CONTENT}');
define('WP_CONTENT_URL', WP_HOME . '/wp-content');
define('WP_HTTP_BLOCK_EXTERNAL', true);
define('DISABLE_WP_CRON', true);
define('AUTOMATIC_UPDATER_DISABLED', true);
foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $kind) {{
    define($kind . '_KEY', 'mimir synthetic key ' . $kind);
    define($kind . '_SALT', 'mimir synthetic salt ' . $kind);
}}
"""

HIDE = ["/tmp", "/run", str(CONFIG)]  # noqa: S108


def certificate() -> list[str]:
    """The command that makes a pod's key and self-signed certificate; they live as long as the pod."""
    return [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-batch", "-days", "30",
        "-subj", "/CN=wordpress", "-keyout", _KEY, "-out", _CERTIFICATE,
    ]  # fmt: skip


def commands() -> dict[str, list[str]]:
    """Servers of a pod."""
    php = fpm()
    assert php
    return {"php-fpm": [php, "--nodaemonize", "--fpm-config", "/run/php-fpm.conf"], "nginx": ["nginx", "-c", "/run/nginx.conf", "-e", "stderr"]}  # fmt: skip


def files(store: str, port: int, idle_s: float) -> dict[str, str]:
    """Configuration of a pod whose database is the service `store`; idle connections close after `idle_s`."""
    return {
        "/run/nginx.conf": _NGINX % {"port": port, "idle_s": round(idle_s)},
        "/run/php-fpm.conf": _FPM,
        str(CONFIG / "config-default.php"): _CONFIG % {"store": store},
    }


def folders() -> list[str]:
    """Folders of a pod: images that visitors send stay in the pod that got them."""
    return [f"{CONTENT}/uploads", f"{CONTENT}/plugins"]


def links() -> dict[str, str]:
    """Themes come from the package."""
    return {f"{CONTENT}/themes": str(WORDPRESS / "wp-content" / "themes")}


def template() -> str:
    """The theme that the blog uses."""
    name = theme()
    assert name
    return name
