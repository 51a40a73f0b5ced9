-- Whether a step was begun and has not ended: found so when it is begun again, its process crashed.

ALTER TABLE attempt ADD COLUMN running boolean NOT NULL DEFAULT false;
UPDATE attempt SET running = true WHERE message = '' AND parked_at IS NULL;
