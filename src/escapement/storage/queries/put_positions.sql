-- Take note of what is held.
-- $1 account $2 contract_id[] $3 net[] $4 foreign_net[] $5 average_price[] $6 protected[] $7 made[] $8 tick_size[]
-- $9 tick_value[]
INSERT INTO positions (account, contract_id, net, foreign_net, average_price, protected, made, tick_size, tick_value)
SELECT $1, * FROM unnest($2::text[], $3::int[], $4::int[], $5::float8[], $6::int[], $7::numeric[], $8::numeric[],
                         $9::numeric[])
ON CONFLICT (account, contract_id) DO UPDATE
    SET net = excluded.net, foreign_net = excluded.foreign_net, average_price = excluded.average_price,
        protected = excluded.protected, made = excluded.made, tick_size = excluded.tick_size,
        tick_value = excluded.tick_value, updated_at = clock_timestamp()
