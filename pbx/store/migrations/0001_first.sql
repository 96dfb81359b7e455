-- The bindings of one address of record are read and written as a whole.
CREATE TABLE bindings (
    aor TEXT PRIMARY KEY,
    bindings TEXT NOT NULL
) WITHOUT ROWID;

-- finished: 0 from the answer to the end of the call; what is still 0 at a start was cut by a crash.
CREATE TABLE records (
    id INTEGER PRIMARY KEY,
    call_id TEXT NOT NULL UNIQUE,
    finished INTEGER NOT NULL,
    record TEXT NOT NULL
);

CREATE TABLE kept (
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (namespace, key)
) WITHOUT ROWID;
