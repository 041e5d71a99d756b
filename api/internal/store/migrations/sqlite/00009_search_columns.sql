-- +goose Up
-- Stems have a column of their own, so that they can be the same terms as words: search.Version.
-- Everything is indexed again in the background.
DROP TABLE search_text;
DELETE FROM search_docs;
CREATE VIRTUAL TABLE search_text USING fts5 (
    words, terms, content = '', contentless_delete = 1, tokenize = "ascii tokenchars ':-_'"
);
-- Parts of the index are merged by TidyIndex where there are four of one size, and within a write
-- where there are eight.
INSERT INTO search_text (search_text, rank) VALUES ('automerge', 8);
INSERT INTO search_text (search_text, rank) VALUES ('usermerge', 4);
