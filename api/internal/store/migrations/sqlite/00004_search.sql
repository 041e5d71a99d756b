-- +goose Up
-- The version of the index that has all items of this person; 0 while older items are still missing
-- in it.
ALTER TABLE users ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0;

-- What searches filter and count by, beside the words. One row for each item.
CREATE TABLE search_docs (
    id          INTEGER PRIMARY KEY, -- owner and time of the last change in one number: searchID
    owner       INTEGER NOT NULL,
    updated     INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    uid         TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    status      TEXT,
    priority    TEXT,
    due         INTEGER,             -- Unix milliseconds
    tags        TEXT,                -- a JSON list
    parent_kind TEXT,
    parent      TEXT,
    unread      INTEGER NOT NULL
);
-- The words, already normalised and with the owner in front of each: the tokenizer only splits at
-- spaces. The rows are those of search_docs. The text itself is not kept.
CREATE VIRTUAL TABLE search_text USING fts5 (
    text, content = '', contentless_delete = 1, tokenize = "ascii tokenchars ':-_'"
);
CREATE INDEX search_docs_by_due ON search_docs (owner, due) WHERE due IS NOT NULL;
CREATE INDEX search_docs_unread ON search_docs (owner, parent) WHERE unread = 1 AND state = 'l';
