-- Images came again under the same UIDs as those of another patient: a person says which count.

-- Since when that is asked of a series.
ALTER TABLE series ADD COLUMN correction_at timestamptz;
-- Whether images of a case were replaced since: routing lets another take its place.
ALTER TABLE contour_case ADD COLUMN outdated boolean NOT NULL DEFAULT false;
