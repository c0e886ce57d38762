-- SPDX-FileCopyrightText: The mlops.onprem authors
-- SPDX-License-Identifier: Apache-2.0
SELECT format('CREATE ROLE %I LOGIN', :'user')
  WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'user') \gexec
COMMENT ON ROLE :"user" IS :'mark';
SELECT rolsuper FROM pg_roles WHERE rolname = current_user \gset
\if :rolsuper
  ALTER ROLE :"user" WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
\else
  -- Who is no superuser gives databases only to those whose member it is.
  SELECT format('GRANT %I TO CURRENT_USER', :'user') WHERE NOT pg_has_role(:'user', 'MEMBER') \gexec
\endif
