-- A case that is held for its findings is released by a person who names them; some destinations take it all the same.

ALTER TABLE contour_case
    -- Codes of the findings that it is held for.
    ADD COLUMN held_for text[] NOT NULL DEFAULT '{}';

ALTER TABLE delivery
    -- By the site's settings this destination takes the case although it is held for its findings.
    ADD COLUMN while_held boolean NOT NULL DEFAULT false;
