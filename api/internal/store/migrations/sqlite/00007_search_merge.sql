-- +goose Up
-- How many parts of the index are merged by TidyIndex, at least.
INSERT INTO search_text (search_text, rank) VALUES ('usermerge', 2);
