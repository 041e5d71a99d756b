-- +goose Up
CREATE TABLE users (
    id           INTEGER PRIMARY KEY,
    tenant       TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    epoch        INTEGER NOT NULL DEFAULT 1,
    clock        INTEGER NOT NULL DEFAULT 0, -- update time of the last write, in Unix milliseconds
    created      INTEGER NOT NULL,
    last_wipe    INTEGER NOT NULL DEFAULT 0,
    last_wipe_by TEXT    NOT NULL DEFAULT '',
    UNIQUE (tenant, subject)
);

CREATE TABLE items (
    owner   INTEGER NOT NULL REFERENCES users (id),
    kind    TEXT    NOT NULL,
    uid     TEXT    NOT NULL,
    version INTEGER NOT NULL,
    updated INTEGER NOT NULL,           -- Unix milliseconds
    deleted INTEGER NOT NULL DEFAULT 0, -- the same, 0 while it lives
    payload TEXT    NOT NULL
);
CREATE UNIQUE INDEX items_by_uid ON items (owner, kind, uid);
CREATE INDEX items_by_time ON items (owner, kind, updated, uid);
-- Pages leave tombstones out, and must not read past thousands of them to do so.
CREATE INDEX items_live_by_time ON items (owner, kind, updated, uid) WHERE deleted = 0;
