-- +goose Up
-- Answers to batches that a caller may ask for again.
CREATE TABLE repeats (
    owner   INTEGER NOT NULL,
    key     TEXT   NOT NULL,
    created INTEGER NOT NULL, -- Unix milliseconds
    body    BLOB  NOT NULL, -- hash of the request's body
    answer  BLOB  NOT NULL, -- compressed
    PRIMARY KEY (owner, key)
);
CREATE INDEX repeats_by_age ON repeats (created);
