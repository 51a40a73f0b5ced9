-- Steps that were given up: kept with their reason until something new, or a person, asks for them again.

ALTER TABLE attempt ADD COLUMN parked_at timestamptz;
