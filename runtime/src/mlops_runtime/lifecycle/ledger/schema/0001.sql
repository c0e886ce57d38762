-- SPDX-FileCopyrightText: The mlops.onprem authors
-- SPDX-License-Identifier: Apache-2.0

-- What the registry said last, so that a restart without it still knows the models.
CREATE TABLE models (
    name text PRIMARY KEY,
    spec text NOT NULL,
    aliases jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE registry_readings (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    read_at timestamptz NOT NULL
);

-- Which version an alias named, and since when; what serves follows it.
CREATE TABLE aliases (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model text NOT NULL,
    alias text NOT NULL,
    version text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    until timestamptz
);
CREATE UNIQUE INDEX aliases_now ON aliases (model, alias) WHERE until IS NULL;

CREATE TABLE episodes (
    id uuid PRIMARY KEY,
    model text NOT NULL,
    version text NOT NULL,
    state text NOT NULL CHECK (state IN ('held', 'asked', 'notified', 'refused', 'accepted')),
    cause text NOT NULL,
    reason text NOT NULL,
    began_at timestamptz NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    calm_since timestamptz,
    closed_at timestamptz,
    answer text CHECK (answer IN ('approved', 'refused')),
    answered_by text,
    answer_reason text
);
-- The first half of "exactly one": a version has one open episode at most.
CREATE UNIQUE INDEX episodes_open ON episodes (model, version) WHERE closed_at IS NULL;
CREATE INDEX episodes_newest ON episodes (opened_at DESC);

CREATE TABLE alerts (
    episode uuid NOT NULL REFERENCES episodes ON DELETE CASCADE,
    fingerprint text NOT NULL,
    name text NOT NULL,
    summary text NOT NULL,
    labels jsonb NOT NULL,
    began_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now(),
    ended text CHECK (ended IN ('resolved', 'silent')),
    times bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (episode, fingerprint)
);
CREATE INDEX alerts_occurrence ON alerts (fingerprint, began_at);

CREATE TABLE decisions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    model text NOT NULL,
    version text NOT NULL,
    episode uuid REFERENCES episodes ON DELETE SET NULL,
    decision text NOT NULL,
    reason text NOT NULL
);
CREATE INDEX decisions_of_model ON decisions (model, id DESC);

-- The outbox, and what became of each run. The second half of "exactly one": an episode has one run at most.
CREATE TABLE runs (
    episode uuid PRIMARY KEY REFERENCES episodes,
    model text NOT NULL,
    version text NOT NULL,
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'started', 'completed', 'failed', 'crashed', 'cancelled', 'lost')),
    reason text NOT NULL DEFAULT '',
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    queued_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz,
    flow_run uuid UNIQUE,
    flow_run_name text,
    flow_state text,
    began_at timestamptz,
    ended_at timestamptz
);
CREATE INDEX runs_open ON runs (next_attempt_at) WHERE state IN ('queued', 'started');
CREATE INDEX runs_of_model ON runs (model, queued_at DESC);

CREATE TABLE stages (
    episode uuid NOT NULL REFERENCES episodes ON DELETE CASCADE,
    stage text NOT NULL,
    seconds double precision NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (episode, stage)
);

CREATE TABLE refusals (
    kind text NOT NULL,
    detail text NOT NULL,
    times bigint NOT NULL,
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, detail)
);
