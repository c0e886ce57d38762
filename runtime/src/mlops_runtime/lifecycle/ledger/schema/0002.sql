-- SPDX-FileCopyrightText: The mlops.onprem authors
-- SPDX-License-Identifier: Apache-2.0

-- What served when, as the agent saw it healthy.
CREATE TABLE served (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model text NOT NULL,
    role text NOT NULL,
    version text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    until timestamptz,
    reason text NOT NULL
);
CREATE UNIQUE INDEX served_now ON served (model, role) WHERE until IS NULL;

-- The last plan of each model that was healthy: what goes on where the registry says something unusable.
CREATE TABLE plans (
    model text PRIMARY KEY,
    spec text NOT NULL,
    roles jsonb NOT NULL
);
