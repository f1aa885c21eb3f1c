-- How the services of each process of escapement run are: state is starting, running, waiting (to be started again),
-- stopping, stopped or failed. A process that is gone without a word stops renewing heartbeat_at.
CREATE TABLE service_health (
    process      text NOT NULL,
    service      text NOT NULL,
    state        text NOT NULL,
    since        timestamptz NOT NULL,
    restarts     integer NOT NULL,
    error        text NOT NULL,
    heartbeat_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (process, service)
);
