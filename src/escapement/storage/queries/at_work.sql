-- How many connections of this program there are to the database.
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'escapement' AND pid <> pg_backend_pid()
