-- How often each step ran and how long in all: it only grows, whatever retention deletes of the story.

CREATE TABLE step_total (
    step    text NOT NULL,
    -- A run counts in the row of the smallest bound that it does not exceed.
    within_s double precision NOT NULL,
    count   bigint NOT NULL,
    seconds double precision NOT NULL,
    PRIMARY KEY (step, within_s)
);

-- What ran before. "receive" was the time from the first image to the last, however late that came.
INSERT INTO step_total
    SELECT step, bound, count(*), sum(seconds)
    FROM event, LATERAL (
        SELECT coalesce(min(b), 'Infinity') AS bound
        FROM unnest(ARRAY[0.1, 0.3, 1, 3, 10, 30, 100, 300, 900, 3600]::double precision[]) AS b WHERE seconds <= b
    ) AS bounds
    WHERE step NOT IN ('', 'receive') AND seconds IS NOT NULL
    GROUP BY step, bound;
