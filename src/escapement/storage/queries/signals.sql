-- The newest signals, oldest of them first.
-- $1 contract_id[] $2 timeframe[] $3 analyzer_id[] $4 signal_type[], null for all $5 known from $6 known to, null for
-- all $7 whether superseded ones too $8 at most
SELECT * FROM (
    SELECT signal_id, analyzer_id, analyzer_version, params, contract_id, timeframe, signal_type, timestamp,
           trigger_timestamp, known_at, signal_price, rule, trigger_whole, stored_at, superseded_at, superseded_by
    FROM detected_signals
    WHERE ($1::text[] IS NULL OR contract_id = ANY ($1)) AND ($2::text[] IS NULL OR timeframe = ANY ($2))
      AND ($3::text[] IS NULL OR analyzer_id = ANY ($3)) AND ($4::text[] IS NULL OR signal_type = ANY ($4))
      AND ($5::timestamptz IS NULL OR known_at >= $5) AND ($6::timestamptz IS NULL OR known_at < $6)
      AND ($7 OR superseded_at IS NULL)
    ORDER BY known_at DESC, signal_id DESC LIMIT $8
) AS newest
ORDER BY known_at, signal_id
