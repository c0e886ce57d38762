-- SPDX-FileCopyrightText: The mlops.onprem authors
-- SPDX-License-Identifier: Apache-2.0
--
-- Run by who makes the tables: the user may read all of them, now and later, and nothing else.
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', :'database', :'user')
  WHERE NOT has_database_privilege(:'user', :'database', 'CONNECT') \gexec
SELECT format('GRANT USAGE ON SCHEMA public TO %I', :'user')
  WHERE NOT has_schema_privilege(:'user', 'public', 'USAGE') \gexec
GRANT SELECT ON ALL TABLES IN SCHEMA public TO :"user";
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO :"user";
