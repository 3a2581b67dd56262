-- Other names a model answers to, for clients that only ask for names of one vendor. No alias is the name of a model: the
-- store looks before it writes, and a name wins over an alias.
CREATE TABLE model_aliases (
    alias     TEXT PRIMARY KEY,
    model_id  UUID NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    position  BIGINT NOT NULL
);
CREATE INDEX model_aliases_model ON model_aliases (model_id, position);
