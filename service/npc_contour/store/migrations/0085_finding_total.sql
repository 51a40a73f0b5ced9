-- How often each finding was told: it only grows, whatever retention deletes of the structure sets.

CREATE TABLE finding_total (
    code     text NOT NULL,
    severity text NOT NULL,
    count    bigint NOT NULL,
    PRIMARY KEY (code, severity)
);

INSERT INTO finding_total
    SELECT finding->>'code', finding->>'severity', count(*)
    FROM structure_set, jsonb_array_elements(report->'findings') AS finding
    GROUP BY 1, 2;
