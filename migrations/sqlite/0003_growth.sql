-- Keys that nothing needs any more, and checkpoints that others cover, are looked for by their time.
CREATE INDEX audit_key_created ON audit_key (created_at, id);
CREATE INDEX audit_checkpoint_at ON audit_checkpoint (tenant, class, at);
