-- +goose Up

-- 1: nothing of the topic is delivered.
ALTER TABLE topics ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
