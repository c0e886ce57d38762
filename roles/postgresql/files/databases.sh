# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
#
# Brings databases and their users to what is declared. Where no administrator is given (MLOPS_DATABASE_ADMIN), they are the
# site's: each user is tried, and whoever owns the tables gives the others their rights. Passwords stay in files and in memory.
#
# A line of MLOPS_DATABASES: database, user, name of the secret with the user's password, and owner, writer or reader.
set -eu
scripts=$(dirname "$0")
die() { echo "databases: $*" >&2; exit 1; }

# as USER SECRET [psql's arguments]
as() (
  [ -s "/run/secrets/$2" ] || die "/run/secrets/$2 is missing or empty"
  PGUSER=$1
  PGPASSWORD=$(cat "/run/secrets/$2")
  export PGUSER PGPASSWORD
  shift 2
  exec psql -X -q -v ON_ERROR_STOP=1 "$@"
)
admin() { as "$MLOPS_DATABASE_ADMIN" postgresql_admin_password "$@"; }
lines() { printf '%s\n' "$MLOPS_DATABASES" | grep .; }
# psql makes the hash itself: the server never sees the password, nor does its log.
twice() { cat "/run/secrets/$1"; echo; cat "/run/secrets/$1"; echo; }

lines | while read -r database user secret rights; do
  set -- -v "database=$database" -v "user=$user"
  if [ -n "$MLOPS_DATABASE_ADMIN" ]; then
    admin "$@" -v "mark=$MLOPS_DATABASE_MARK" -f "$scripts/role.sql" </dev/null
    twice "$secret" | admin -c "SET password_encryption = 'scram-sha-256'" -c "\\password \"$user\"" >/tmp/messages 2>&1 \
      || die "$(cat /tmp/messages)"
  fi
  case $rights in
    owner)
      [ -z "$MLOPS_DATABASE_ADMIN" ] || admin "$@" -f "$scripts/owner.sql" </dev/null
      ;;
    writer | reader)
      lines | while read -r of owner owners_secret kind; do
        [ "$of $kind" = "$database owner" ] || continue
        as "$owner" "$owners_secret" -d "$database" "$@" -f "$scripts/$rights.sql" </dev/null
      done
      ;;
    *) die "$database: rights are owner, writer or reader, not '$rights'" ;;
  esac
  as "$user" "$secret" -d "$database" -c "SELECT" </dev/null >/dev/null
  echo "databases: $user is $rights of $database"
done
