-- SPDX-FileCopyrightText: The mlops.onprem authors
-- SPDX-License-Identifier: Apache-2.0

-- How often a run that crashed was begun again.
ALTER TABLE runs ADD COLUMN resumed integer NOT NULL DEFAULT 0;
