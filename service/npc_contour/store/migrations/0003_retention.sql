-- What has been deleted after its time, what is about to be, and how the disk fills.

-- Files whose rows are gone: they are deleted next, whoever dies in between.
CREATE TABLE expired_file (
    key text PRIMARY KEY
);

ALTER TABLE contour_case ADD COLUMN files_expired_at timestamptz;

CREATE TABLE disk_sample (
    at         timestamptz PRIMARY KEY,
    free_bytes bigint NOT NULL
);
