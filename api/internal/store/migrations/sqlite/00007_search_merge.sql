-- +goose Up
-- A write merges parts of the index when there are eight of one size, and not four: most are merged
-- by TidyIndex, which takes them from two on.
INSERT INTO search_text (search_text, rank) VALUES ('automerge', 8);
INSERT INTO search_text (search_text, rank) VALUES ('usermerge', 2);
