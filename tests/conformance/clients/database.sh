# SPDX-FileCopyrightText: The mlops.onprem authors
# SPDX-License-Identifier: Apache-2.0
# Runs inside the cluster: stores a row (VERB store), or finds the one that an earlier run with the same TOKEN has stored
# (VERB read) and removes it.
set -eu
PGPASSWORD=$(cat "$PASSWORD_FILE")
export PGPASSWORD
query() { psql -X -q -A -t -v ON_ERROR_STOP=1 -c "$1"; }
case $VERB in
  store)
    query "CREATE TABLE verify_$TOKEN (number int PRIMARY KEY, content text NOT NULL)"
    query "INSERT INTO verify_$TOKEN SELECT i, md5('$TOKEN' || i) FROM generate_series(1, 1000) AS i"
    ;;
esac
found=$(query "SELECT count(*) FROM verify_$TOKEN WHERE content = md5('$TOKEN' || number)")
echo "$VERB: $found rows of 1000, as they were stored"
[ "$found" = 1000 ]
if [ "$VERB" = read ]; then query "DROP TABLE verify_$TOKEN"; fi
if PGPASSWORD=wrong psql -X -q -c 'SELECT 1' 2>/dev/null; then
  echo "the database takes a wrong password"
  exit 1
fi
