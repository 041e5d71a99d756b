-- +goose Up
-- The version of the index that has all items of this person; 0 while older items are still missing in it.
ALTER TABLE users ADD COLUMN indexed BIGINT NOT NULL DEFAULT 0;

-- What searches look into. One row for each item.
CREATE TABLE search_docs (
    owner       BIGINT   NOT NULL,
    updated     BIGINT   NOT NULL, -- Unix milliseconds; no two items of a person have the same
    kind        TEXT     NOT NULL,
    uid         UUID     NOT NULL,
    state       TEXT     NOT NULL,
    status      TEXT,
    priority    TEXT,
    due         BIGINT,            -- Unix milliseconds
    tags        TEXT[],
    parent_kind TEXT,
    parent      UUID,
    unread      BOOLEAN  NOT NULL,
    terms       TSVECTOR NOT NULL, -- normalised words, with the owner in front of each, without positions
    words       TEXT     NOT NULL, -- the same words in their order: a phrase is a part of this text
    PRIMARY KEY (owner, updated)
);
CREATE INDEX search_docs_by_terms ON search_docs USING gin (terms);
CREATE INDEX search_docs_by_state ON search_docs (owner, state, updated);
