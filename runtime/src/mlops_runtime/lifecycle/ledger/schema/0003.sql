-- SPDX-FileCopyrightText: The mlops.onprem authors
-- SPDX-License-Identifier: Apache-2.0

-- How often a run that crashed was begun again.
ALTER TABLE runs ADD COLUMN resumed integer NOT NULL DEFAULT 0;

-- How many models the registry has, with a declaration or without: one that shows none at all is not believed.
ALTER TABLE registry_readings ADD COLUMN registered integer NOT NULL DEFAULT 0;
