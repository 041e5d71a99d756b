-- +goose Up
-- Answers to batches that a caller may ask for again.
CREATE TABLE repeats (
    owner   BIGINT NOT NULL,
    key     TEXT   NOT NULL,
    created BIGINT NOT NULL, -- Unix milliseconds
    body    BYTEA  NOT NULL, -- hash of the request's body
    answer  BYTEA  NOT NULL, -- compressed
    PRIMARY KEY (owner, key)
);
CREATE INDEX repeats_by_age ON repeats (created);
