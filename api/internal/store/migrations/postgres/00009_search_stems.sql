-- +goose Up
-- What is indexed of hyphenated words and of titles has changed: search.Version. Everything is
-- indexed again in the background.
TRUNCATE search_docs;
