-- +goose Up
-- The bytes of a user's answers up to this one, by which the oldest are forgotten.
ALTER TABLE repeats ADD COLUMN kept BIGINT NOT NULL DEFAULT 0;
CREATE INDEX repeats_by_kept ON repeats (owner, kept);
