-- +goose Up
-- The version of the index that has all items of this person; 0 while older items are still missing
-- in it.
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
    -- Normalised words, with the owner in front of each, without positions.
    terms       TSVECTOR NOT NULL,
    words       TEXT     NOT NULL, -- the same words in their order: a phrase is a part of this text
    -- Makes every row long enough for PostgreSQL to keep its wide columns apart (below 2 kB it does
    -- not, whatever the target below is), since counting a common word reads every row. Compressed
    -- it takes some 40 bytes.
    filler      TEXT     NOT NULL DEFAULT repeat(' ', 2100),
    PRIMARY KEY (owner, updated)
) WITH (toast_tuple_target = 128);
ALTER TABLE search_docs ALTER COLUMN terms SET STORAGE EXTERNAL,
    ALTER COLUMN tags SET STORAGE MAIN, -- stays in the row: groups read it
    ALTER COLUMN filler SET STORAGE MAIN;
CREATE INDEX search_docs_by_terms ON search_docs USING gin (terms);
CREATE INDEX search_docs_by_state ON search_docs (owner, state, updated);
CREATE INDEX search_docs_by_due ON search_docs (owner, due) WHERE due IS NOT NULL;
CREATE INDEX search_docs_unread ON search_docs (owner, parent) WHERE unread AND state = 'l';
