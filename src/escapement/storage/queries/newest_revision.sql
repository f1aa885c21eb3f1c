SELECT coalesce(max(revision_id), 0) FROM bar_revisions
