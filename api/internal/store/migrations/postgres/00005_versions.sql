-- +goose Up
-- The operation that made this version; '' = not known.
ALTER TABLE items ADD COLUMN operation TEXT NOT NULL DEFAULT '';
-- Bytes of all versions that were ever kept of it.
ALTER TABLE items ADD COLUMN kept BIGINT NOT NULL DEFAULT 0;

-- The states that items had before. Each is described by the one that followed it: docs/adr/0013.
CREATE TABLE versions (
    owner     BIGINT NOT NULL,
    kind      TEXT   NOT NULL,
    uid       UUID   NOT NULL,
    version   BIGINT NOT NULL,
    updated   BIGINT NOT NULL, -- when it was made, in Unix milliseconds
    replaced  BIGINT NOT NULL, -- when the next one was
    deleted   BIGINT NOT NULL, -- as in items
    operation TEXT   NOT NULL,
    kept      BIGINT NOT NULL, -- as in items, before this version was kept
    delta     BYTEA  NOT NULL
);
-- A delta is compressed where that helps.
ALTER TABLE versions ALTER COLUMN delta SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX versions_by_item ON versions (owner, kind, uid, version);
CREATE INDEX versions_by_age ON versions (replaced);
