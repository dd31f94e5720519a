#!/bin/sh
# Run by nginx's image before nginx starts: a certificate for localhost, good for a month.
set -e
[ -e /etc/nginx/tls/cert.pem ] || openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -keyout /etc/nginx/tls/key.pem -out /etc/nginx/tls/cert.pem 2>/dev/null
