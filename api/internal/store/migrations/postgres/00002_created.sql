-- +goose Up
-- What was written before this has its values from the migration in Go that follows.
ALTER TABLE items ADD COLUMN created BIGINT NOT NULL DEFAULT 0; -- Unix milliseconds
-- Of the item that this one belongs to.
ALTER TABLE items ADD COLUMN parent UUID;
CREATE INDEX items_by_parent ON items (owner, kind, parent, created, uid) WHERE parent IS NOT NULL;
CREATE INDEX items_live_by_parent ON items (owner, kind, parent, created, uid)
    WHERE parent IS NOT NULL AND deleted = 0;
