-- What the server does to ohlc_bars by itself, after how many days, and how it went.
SELECT job.job_id, job.proc_name AS name,
       coalesce(
           (job.config ->> 'keep_days')::float8,
           extract(epoch FROM (job.config ->> 'compress_after')::interval)::float8 / 86400,
           extract(epoch FROM (job.config ->> 'drop_after')::interval)::float8 / 86400
       ) AS days,
       job.config ? 'compress_after' AS compresses, job.proc_name = 'drop_old_bars' AS drops,
       stats.last_run_status, stats.last_successful_finish, stats.next_start
FROM timescaledb_information.jobs AS job LEFT JOIN timescaledb_information.job_stats AS stats USING (job_id)
WHERE (job.hypertable_schema = current_schema() AND job.hypertable_name = 'ohlc_bars')
   OR (job.proc_schema = current_schema() AND job.proc_name = 'drop_old_bars')
ORDER BY job.job_id
