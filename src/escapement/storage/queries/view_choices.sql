-- What decisions can be told apart by. Rules: those that spoke of the newest signals.
SELECT ARRAY(SELECT DISTINCT contract_id FROM coordinator_watermarks ORDER BY 1) AS contracts,
       ARRAY(SELECT DISTINCT coordinator_id FROM coordinator_watermarks ORDER BY 1) AS coordinators,
       ARRAY(
           SELECT DISTINCT verdict ->> 'rule'
           FROM (SELECT verdicts FROM decision_log ORDER BY known_at DESC LIMIT 1000) AS newest,
                jsonb_array_elements(newest.verdicts) AS verdict
           ORDER BY 1
       ) AS rules
