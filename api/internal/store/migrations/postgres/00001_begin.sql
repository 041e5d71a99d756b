-- +goose Up
CREATE TABLE users (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant       TEXT   NOT NULL,
    subject      TEXT   NOT NULL,
    epoch        BIGINT NOT NULL DEFAULT 1,
    clock        BIGINT NOT NULL DEFAULT 0, -- update time of the last write, in Unix milliseconds
    created      BIGINT NOT NULL,
    last_wipe    BIGINT NOT NULL DEFAULT 0,
    last_wipe_by TEXT   NOT NULL DEFAULT '',
    UNIQUE (tenant, subject)
-- Every write of a person updates their row; room in the page keeps those updates cheap.
) WITH (fillfactor = 70);

CREATE TABLE items (
    owner   BIGINT NOT NULL REFERENCES users (id),
    kind    TEXT   NOT NULL,
    uid     UUID   NOT NULL,
    version BIGINT NOT NULL,
    updated BIGINT NOT NULL,           -- Unix milliseconds
    deleted BIGINT NOT NULL DEFAULT 0, -- the same, 0 while it lives
    -- Not jsonb: it comes back with every digit and in the order it was sent.
    payload TEXT   NOT NULL
);
CREATE UNIQUE INDEX items_by_uid ON items (owner, kind, uid);
CREATE INDEX items_by_time ON items (owner, kind, updated, uid);
-- Pages leave tombstones out, and must not read past thousands of them to do so.
CREATE INDEX items_live_by_time ON items (owner, kind, updated, uid) WHERE deleted = 0;

-- Unlogged: a session is worth less than the disk flush that would keep it over a crash of the
-- database. A caller whose session is gone is told so (428) and opens another.
CREATE UNLOGGED TABLE sessions (
    id      UUID   PRIMARY KEY,
    owner   BIGINT NOT NULL,
    epoch   BIGINT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX sessions_by_owner ON sessions (owner);
CREATE INDEX sessions_by_expiry ON sessions (expires);
