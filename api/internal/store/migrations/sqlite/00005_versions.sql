-- +goose Up
-- The operation that made this version; '' = not known.
ALTER TABLE items ADD COLUMN operation TEXT NOT NULL DEFAULT '';
-- Bytes of all versions that were ever kept of it.
ALTER TABLE items ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;

-- The states that items had before. Each is described by the one that followed it: docs/adr/0013.
CREATE TABLE versions (
    owner     INTEGER NOT NULL,
    kind      TEXT    NOT NULL,
    uid       TEXT    NOT NULL,
    version   INTEGER NOT NULL,
    updated   INTEGER NOT NULL, -- when it was made, in Unix milliseconds
    replaced  INTEGER NOT NULL, -- when the next one was
    deleted   INTEGER NOT NULL, -- as in items
    operation TEXT    NOT NULL,
    kept      INTEGER NOT NULL, -- as in items, before this version was kept
    delta     BLOB    NOT NULL
);
CREATE UNIQUE INDEX versions_by_item ON versions (owner, kind, uid, version);
CREATE INDEX versions_by_age ON versions (replaced);
