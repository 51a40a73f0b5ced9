-- Images whose keeping a sender was promised (storage commitment), and when.

ALTER TABLE instance ADD COLUMN committed_at timestamptz;
