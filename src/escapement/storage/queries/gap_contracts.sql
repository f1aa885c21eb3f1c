-- Which contracts have gaps.
SELECT DISTINCT contract_id FROM data_gaps ORDER BY 1
